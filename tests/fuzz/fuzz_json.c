/* SPDX-License-Identifier: Apache-2.0 */
/* What is accepted is written and read again as the same value; what is refused has a sentence in UTF-8. */
#include "base/utf8.h"
#include "fuzz.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {.p = (const char *)data, .n = size};
    struct errinfo info = {0};
    auto_json value = NULL;
    if (json_parse(text, &value, &info) != ERR_OK) {
        MUST(value == NULL && info.text[0] != '\0' && utf8_valid(str_of(info.text)));
        return 0;
    }
    auto_json again = NULL;
    auto_buf out = BUF_INIT(SIZE_MAX / 2);
    MUST(json_write(value, &out) == ERR_OK);
    MUST(json_parse(buf_str(&out), &again, &info) == ERR_OK);
    MUST(json_equal(value, again));
    if (json_is_string(value)) {
        buf_reset(&out);
        json_write_string(&out, (struct str){.p = json_string_value(value), .n = json_string_length(value)});
        auto_json third = NULL;
        MUST(json_parse(buf_str(&out), &third, &info) == ERR_OK && json_equal(value, third));
    }
    return 0;
}
