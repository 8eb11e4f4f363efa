/* SPDX-License-Identifier: Apache-2.0 */
/* The same events whole and byte by byte; a text message is UTF-8, a close code one that may be sent. */
#include "base/utf8.h"
#include "fuzz.h"
#include "io/http/ws_frame.h"

static void tell(const struct ws_event *e, struct buf *told)
{
    if (e->kind == WS_MORE)
        return;
    MUST(e->kind != WS_MESSAGE || !e->text || utf8_valid(e->data));
    MUST(e->kind != WS_GOT_CLOSE || e->code == 1005 || ws_code_valid(e->code));
    MUST(e->kind != WS_FAIL || ws_code_valid(e->code));
    buf_printf(told, "%d %u ", (int)e->kind, e->kind == WS_GOT_CLOSE || e->kind == WS_FAIL ? e->code : 0);
    if (e->kind != WS_FAIL)
        buf_append_str(told, e->data);
}

static void decode(struct str in, size_t step, bool from_server, struct buf *told)
{
    struct ws_decoder d;
    struct ws_event e = {.kind = WS_MORE};
    ws_decoder_init(&d, 4096);
    d.from_server = from_server;
    for (size_t at = 0; at < in.n && e.kind != WS_FAIL && e.kind != WS_GOT_CLOSE;) {
        size_t piece = step < in.n - at ? step : in.n - at;
        size_t used = ws_decode(&d, (struct str){.p = in.p + at, .n = piece}, &e);
        MUST(used <= piece && (used > 0 || e.kind == WS_FAIL));
        at += used;
        tell(&e, told);
    }
    ws_decoder_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str in = {.p = (const char *)data + 1, .n = size - 1};
    auto_buf whole = BUF_INIT(1 << 22);
    auto_buf bytes = BUF_INIT(1 << 22);
    decode(in, SIZE_MAX, (data[0] & 1) != 0, &whole);
    decode(in, 1, (data[0] & 1) != 0, &bytes);
    MUST(str_eq(buf_str(&whole), buf_str(&bytes)));
    return 0;
}
