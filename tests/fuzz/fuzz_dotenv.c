/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are settings with names that are names, or a sentence. */
#include "base/dotenv.h"
#include "fuzz.h"

static void check(void *arg, unsigned line, struct str name, struct str value)
{
    (void)arg;
    MUST(line > 0 && name.n > 0 && (name.p[0] < '0' || name.p[0] > '9'));
    MUST(value.n == 0 || value.p != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errinfo info = {0};
    if (dotenv_parse((struct str){.p = (const char *)data, .n = size}, check, NULL, &info) != ERR_OK)
        MUST(info.text[0] != '\0');
    return 0;
}
