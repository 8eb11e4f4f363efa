/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/toolchain.h"
#include "json/json.h"

#include <string.h>
#include <unistd.h>

static const char list[] =
    "Package: python3\nStatus: install ok installed\nPriority: optional\n"
    "Version: 3.11.2-1+b1\nDescription: x\n Version: 9\n\n"
    "Package: python3-numpy\nStatus: install ok installed\nVersion: 1:1.24.2-1+deb12u1\n\n"
    "Package: python3-pandas\nStatus: deinstall ok config-files\nVersion: 1.5.3\n\n"
    "Package: nodejs\nStatus: install ok installed\nVersion: 20.20.2-1nodesource1+repack1\n";

static void versions_are_told_without_debians_marks(void **state)
{
    static const char *const rows[][2] = {
        {"3.11.2-1+b1", "3.11.2"},
        {"1:1.24.2-1+deb12u1", "1.24.2"},
        {"2:1.19~1", "1.19"},
        {"17.0.15+6-1~deb12u1", "17.0.15"},
        {"1.63.0+dfsg1-2", "1.63.0"},
        {"4.2.2.20221110-2", "4.2.2.20221110"},
        {"20.20.2-1nodesource1+repack1", "20.20.2"},
        {"0.0~git2020-1", "0.0"},
        {"5", "5"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(str_eq(toolchain_version(str_of(rows[i][0])), str_of(rows[i][1])));
}

static bool all_but_two(const char *path)
{
    return strcmp(path, "/usr/bin/php") != 0 && strcmp(path, "/usr/include/stdio.h") != 0;
}

static void what_is_missing_is_named(void **state)
{
    char path[] = "/tmp/millrace-packages-XXXXXX";
    struct toolchains t;
    auto_json root = NULL;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, list, sizeof list - 1), sizeof list - 1);
    close(fd);
    assert_int_equal(toolchains_look(all_but_two, path, &t), ERR_OK);
    unlink(path);
    assert_null(t.missing[LANG_PY]);
    assert_string_equal(t.missing[LANG_PHP], "/usr/bin/php");
    assert_string_equal(t.missing[LANG_C], "/usr/include/stdio.h");
    auto_buf said = BUF_INIT(1000);
    toolchains_missing(&t, &said);
    assert_string_equal(buf_cstr(&said),
                        "c: /usr/include/stdio.h; cpp: /usr/include/stdio.h; php: /usr/bin/php");

    assert_int_equal(json_parse(buf_str(&t.offer), &root, NULL), ERR_OK);
    assert_int_equal(json_object_size(root), LANG_COUNT);
    const json_t *py = json_object_get(root, "py");
    assert_string_equal(json_string_value(json_object_get(py, "version")), "3.11.2");
    const json_t *libraries = json_object_get(py, "libraries");
    assert_int_equal(json_object_size(libraries), 1); /* pandas was removed */
    assert_string_equal(json_string_value(json_object_get(libraries, "numpy")), "1.24.2");
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "js"), "version")),
                        "20.20.2");
    assert_true(json_is_null(json_object_get(json_object_get(root, "r"), "version")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "php"), "missing")),
                        "/usr/bin/php");
    toolchains_free(&t);
}

static void without_a_list_no_version_is_known(void **state)
{
    struct toolchains t;
    auto_json root = NULL;
    (void)state;
    assert_int_equal(toolchains_look(all_but_two, "/nonexistent", &t), ERR_OK);
    assert_int_equal(json_parse(buf_str(&t.offer), &root, NULL), ERR_OK);
    assert_true(json_is_null(json_object_get(json_object_get(root, "py"), "version")));
    toolchains_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_told_without_debians_marks),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(without_a_list_no_version_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
