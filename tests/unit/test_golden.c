/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of every release decode for ever, fold to the status that the store gave, and are shown as JSON. */
#include "base/base64.h"
#include "schema/job_machine.h"
#include "json/json.h"

#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, FIELDS_MAX = 32 };

static struct str text_of(const json_t *value, struct buf *bytes)
{
    const json_t *encoded = json_object_get(value, "base64");
    if (!encoded)
        return (struct str){json_string_value(value), json_string_length(value)};
    assert_int_equal(base64_decode(bytes, str_of(json_string_value(encoded))), ERR_OK);
    return buf_str(bytes);
}

static void decode(struct id job, json_t *entry, struct job *folded)
{
    struct str fields[2 * FIELDS_MAX];
    size_t n = 0;
    const char *name;
    json_t *value;
    auto_buf bytes = BUF_INIT(FILE_MAX), shown = BUF_INIT(FILE_MAX);
    json_object_foreach(json_array_get(entry, 1), name, value)
    {
        fields[n++] = str_of(name);
        fields[n++] = text_of(value, &bytes);
    }
    struct event e;
    assert_int_equal(
        event_decode(str_of(json_string_value(json_array_get(entry, 0))), job, fields, n / 2, &e), ERR_OK);
    job_apply(folded, e.type);
    assert_int_equal(e.seq, folded->seq);
    assert_int_equal(e.attempt, folded->attempt);
    event_write_json(&e, &shown);
    struct errinfo info = {0};
    auto_json back = NULL;
    assert_int_equal(json_parse(buf_str(&shown), &back, &info), ERR_OK);
    assert_string_equal(json_string_value(json_object_get(back, "type")), event_type_name(e.type));
}

static void check_file(const char *path)
{
    static char text[FILE_MAX];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    struct errinfo info = {0};
    auto_json log = NULL;
    assert_int_equal(json_parse((struct str){text, n}, &log, &info), ERR_OK);
    struct id job;
    assert_int_equal(id_parse(str_of(json_string_value(json_object_get(log, "job"))), &job), ERR_OK);
    struct job folded = {0};
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(log, "entries"), i, entry) decode(job, entry, &folded);
    assert_int_equal(folded.state, JOB_terminal);
    assert_string_equal(event_type_name(folded.end), json_string_value(json_object_get(log, "status")));
    assert_int_equal(folded.attempt, json_integer_value(json_object_get(log, "attempt")));
}

static void golden_logs_decode(void **state)
{
    (void)state;
    static const char *const versions[] = {"v1"};
    for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
        char dir[512], path[1024];
        unsigned files = 0;
        snprintf(dir, sizeof dir, "%s/%s", GOLDEN_DIR, versions[v]);
        DIR *d = opendir(dir);
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));) {
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            check_file(path);
            files++;
        }
        closedir(d);
        assert_true(files >= 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_logs_decode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
