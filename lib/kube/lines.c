/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lines.h"

#include <string.h>

void kube_lines_init(struct kube_lines *lines, size_t max)
{
    *lines = (struct kube_lines){.rest = BUF_INIT(max)};
}

void kube_lines_free(struct kube_lines *lines)
{
    buf_free(&lines->rest);
}

void kube_lines_reset(struct kube_lines *lines)
{
    buf_reset(&lines->rest);
}

/* What was kept is forgotten with the call after the one that completed it: its end shows that it is complete. */
static void forget_told(struct kube_lines *lines)
{
    if (lines->rest.len && lines->rest.data[lines->rest.len - 1] == '\n')
        buf_reset(&lines->rest);
}

enum err kube_lines_next(struct kube_lines *lines, struct str *piece, bool *ret_found, struct str *ret_line)
{
    *ret_found = false;
    while (!*ret_found && piece->n) {
        forget_told(lines);
        const char *end = memchr(piece->p, '\n', piece->n);
        size_t n = end ? (size_t)(end - piece->p) + 1 : piece->n;
        struct str line = {.p = piece->p, .n = n};
        if (n > lines->rest.max)
            return ERR_FULL;
        if (!end || lines->rest.len) {
            buf_append_str(&lines->rest, line);
            line = buf_str(&lines->rest);
        }
        *piece = (struct str){.p = piece->p + n, .n = piece->n - n};
        if (buf_status(&lines->rest))
            return buf_status(&lines->rest);
        if (!end)
            return ERR_OK;
        *ret_line = (struct str){.p = line.p, .n = line.n - 1};
        *ret_found = line.n > 1;
    }
    return ERR_OK;
}
