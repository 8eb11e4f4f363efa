/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of a log, whose fields are the lines of the input: an event whose JSON can be read, or an error.
 */
#include "fuzz.h"
#include "schema/event.h"
#include "json/json.h"

#include <string.h>

enum { FIELDS_MAX = 32 };

static bool promised(struct str d)
{
    static const char *const envelope[] = {"id",  "type", "job_id", "attempt",
                                           "seq", "time", "data",   "encoding"};
    auto_json value = NULL;
    if (d.n == 0)
        return true;
    if (json_parse(d, &value, NULL) != ERR_OK || !json_is_object(value))
        return false;
    for (size_t i = 0; i < sizeof envelope / sizeof envelope[0]; i++)
        if (json_object_get(value, envelope[i]) != NULL)
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str fields[FIELDS_MAX] = {0};
    size_t count = 0;
    struct str rest = {.p = (const char *)data, .n = size};
    struct str id = str_split(&rest, '\n');
    while (rest.p != NULL && count < FIELDS_MAX)
        fields[count++] = str_split(&rest, '\n');
    struct id job = {.text = "abcdefghijklmnopqrstu"};
    struct event event;
    uint64_t ms, n;
    memset(&event, 0, sizeof event);
    (void)!event_id_parse(id, &ms, &n); /* any text must be survived; both answers are right */
    if (event_decode(id, job, fields, count / 2, &event) != ERR_OK)
        return 0;
    MUST(event.type < EV_COUNT && event_id_compare(event.id, event.id) == 0);
    auto_buf out = BUF_INIT(1 << 24);
    auto_json value = NULL;
    struct errinfo info = {0};
    event_write_json(&event, &out);
    MUST(buf_status(&out) == ERR_OK);
    if (!promised(event.data))
        return 0;
    MUST(json_parse(buf_str(&out), &value, &info) == ERR_OK && json_is_object(value));
    return 0;
}
