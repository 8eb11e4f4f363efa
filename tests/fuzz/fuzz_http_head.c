/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a head is found at the same place however it comes; what is parsed is made of views of the text,
   and a path that came out has nothing in it that a router could stumble over. */
#include "fuzz.h"
#include "io/http/head.h"

#include <string.h>

static bool within(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_target(struct str text)
{
    auto_arena arena = ARENA_INIT(1 << 20);
    struct http_refusal refusal = {0};
    struct http_target target = {0};
    if (http_target_parse(text, &arena, &target, &refusal) != ERR_OK) {
        MUST(refusal.status >= 400 && refusal.status < 600 && refusal.details != NULL);
        return;
    }
    MUST(target.path.n > 0 && target.path.p[0] == '/' && memchr(target.path.p, '\0', target.path.n) == NULL);
    MUST(memmem(target.path.p, target.path.n, "//", 2) == NULL);
    MUST(memmem(target.path.p, target.path.n, "/../", 4) == NULL);
    MUST(target.query_count <= HTTP_QUERY_MAX);
}

static void check_head(struct str text)
{
    static struct http_head head;
    struct http_refusal refusal = {0};
    if (http_head_parse(text, &head, &refusal) != ERR_OK) {
        MUST(refusal.status >= 400 && refusal.status < 600 && refusal.details != NULL);
        return;
    }
    MUST(head.minor <= 1 && head.header_count <= HTTP_HEADERS_MAX && within(head.method, text));
    for (unsigned i = 0; i < head.header_count; i++)
        MUST(head.headers[i].name.n > 0 && within(head.headers[i].name, text) &&
             within(head.headers[i].value, text));
    check_target(head.target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    struct http_refusal refusal = {0};
    size_t scanned = 0, length = 0;
    enum err whole = http_head_end(in, &scanned, &length, &refusal);
    size_t pieces_scanned = 0, pieces_length = 0;
    enum err pieces = ERR_AGAIN;
    for (size_t n = 1; n <= size && pieces == ERR_AGAIN; n++)
        pieces = http_head_end((struct str){.p = in.p, .n = n}, &pieces_scanned, &pieces_length, &refusal);
    if (whole == ERR_OK) {
        MUST(pieces == ERR_OK && pieces_length == length && length <= size);
        check_head((struct str){.p = in.p, .n = length});
    }
    check_target(in);
    return 0;
}
