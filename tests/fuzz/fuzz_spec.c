/* SPDX-License-Identifier: Apache-2.0 */
/* The run specification: scan (without a change) and parse (in place) agree, and strings end. */
#include "fuzz.h"
#include "worker/spec.h"

#include <string.h>

static void check_list(const struct spec_list *list, const struct spec_list *scanned)
{
    MUST(list->n == scanned->n && list->n <= SPEC_STRINGS_MAX && list->at[list->n] == NULL);
    for (size_t i = 0; i < list->n; i++)
        MUST(strlen(list->at[i]) < SPEC_SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct spec scanned, parsed;
    memset(&scanned, 0, sizeof scanned);
    memset(&parsed, 0, sizeof parsed);
    enum err first = spec_scan((struct str){.p = (const char *)data, .n = size}, &scanned);
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    enum err second = spec_parse(copy, size, &parsed);
    MUST(first == second);
    if (first == ERR_OK) {
        check_list(&parsed.argv, &scanned.argv);
        check_list(&parsed.env, &scanned.env);
        check_list(&parsed.compile_argv, &scanned.compile_argv);
        check_list(&parsed.program_args, &scanned.program_args);
        MUST(parsed.wall_ms == scanned.wall_ms && parsed.source.n == scanned.source.n);
        MUST(parsed.source_name == NULL || strchr(parsed.source_name, '/') == NULL);
    }
    free(copy);
    return 0;
}
