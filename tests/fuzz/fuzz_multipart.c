/* SPDX-License-Identifier: Apache-2.0 */
/* A Content-Type, NUL, a body: the same answer, parts and data whole and byte by byte. */
#include "fuzz.h"
#include "io/http/multipart.h"

#include <string.h>

struct told {
    struct buf text;
    int open;
};

static enum err on_begin(void *arg, const struct multipart_part *part)
{
    struct told *t = arg;
    MUST(t->open == 0 && part->name[0] != '\0' && strpbrk(part->filename, "\r\n") == NULL);
    t->open = 1;
    buf_printf(&t->text, "(%s|%s|%s)", part->name, part->filename, part->type);
    return ERR_OK;
}

static enum err on_data(void *arg, struct str bytes)
{
    struct told *t = arg;
    MUST(t->open == 1 && bytes.n > 0);
    buf_append_str(&t->text, bytes);
    return ERR_OK;
}

static enum err on_end(void *arg)
{
    struct told *t = arg;
    MUST(t->open == 1);
    t->open = 0;
    return ERR_OK;
}

static enum err read_all(const char *boundary, struct str in, size_t step, struct told *t)
{
    struct multipart_events events = {.begin = on_begin, .data = on_data, .end = on_end, .arg = t};
    struct multipart m;
    enum err e = ERR_AGAIN;
    multipart_init(&m, boundary, 5, &events);
    for (size_t at = 0; (e == ERR_AGAIN || e == ERR_OK) && at < in.n;) {
        size_t n = step < in.n - at ? step : in.n - at;
        e = multipart_feed(&m, (struct str){.p = in.p + at, .n = n});
        at += n;
    }
    if (e == ERR_OK || e == ERR_AGAIN)
        e = multipart_end(&m);
    MUST(e == ERR_OK || m.why[0] != '\0');
    multipart_free(&m);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = {.p = (const char *)data, .n = size};
    struct str type = str_split(&body, '\0');
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    if (multipart_boundary(type, boundary) != ERR_OK)
        return 0;
    struct told whole = {.text = BUF_INIT(1 << 20)}, bytes = {.text = BUF_INIT(1 << 20)};
    enum err first = read_all(boundary, body, SIZE_MAX, &whole), second = read_all(boundary, body, 1, &bytes);
    MUST(first == second);
    if (first == ERR_OK)
        MUST(str_eq(buf_str(&whole.text), buf_str(&bytes.text)));
    buf_free(&whole.text);
    buf_free(&bytes.text);
    return 0;
}
