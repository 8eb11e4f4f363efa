/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are flat pairs with different paths, or a sentence. */
#include "fuzz.h"
#include "io/yaml.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_arena memory = ARENA_INIT(8 << 20);
    struct yaml_pairs pairs = {0};
    struct errinfo info = {0};
    if (yaml_parse(&memory, (struct str){.p = (const char *)data, .n = size}, &pairs, &info) != ERR_OK) {
        MUST(pairs.items == NULL && info.text[0] != '\0');
        return 0;
    }
    MUST(pairs.count <= YAML_PAIRS_MAX);
    for (size_t i = 0; i < pairs.count; i++) {
        MUST(pairs.items[i].path[0] != '\0' && pairs.items[i].value != NULL && pairs.items[i].line > 0);
        for (size_t j = 0; j < i; j++)
            MUST(strcmp(pairs.items[i].path, pairs.items[j].path) != 0);
    }
    return 0;
}
