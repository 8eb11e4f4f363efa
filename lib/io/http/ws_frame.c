/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/ws_frame.h"

#include "base/utf8.h"

#include <string.h>

void ws_decoder_init(struct ws_decoder *d, size_t max_message)
{
    memset(d, 0, sizeof *d);
    buf_init(&d->message, max_message);
}

void ws_decoder_free(struct ws_decoder *d)
{
    buf_free(&d->message);
}

bool ws_code_valid(unsigned code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

size_t ws_frame_header(unsigned char out[10], enum ws_opcode opcode, uint64_t length)
{
    out[0] = (unsigned char)(0x80U | (unsigned)opcode);
    unsigned extra = length < 126 ? 0 : length <= 0xffff ? 2 : 8;
    out[1] = (unsigned char)(extra == 0 ? length : extra == 2 ? 126 : 127);
    for (unsigned i = 0; i < extra; i++)
        out[2 + i] = (unsigned char)(length >> (8 * (extra - 1 - i)));
    return 2 + extra;
}

/* ---- header ---- */

static struct ws_event fail(unsigned code, const char *why)
{
    return (struct ws_event){.kind = WS_FAIL, .code = code, .why = why};
}

static size_t header_size(const struct ws_decoder *d)
{
    if (d->have < 2)
        return 2;
    unsigned short_length = d->header[1] & 0x7f;
    size_t extra = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    return 2 + extra + (d->from_server ? 0 : 4);
}

/* Rules that the first two bytes show. NULL when they hold. */
static const char *bad_start(const struct ws_decoder *d)
{
    unsigned first = d->header[0], opcode = first & 0x0f, length = d->header[1] & 0x7f;
    if ((first & 0x70) != 0)
        return "an extension bit is set, and no extension was agreed";
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
        return "unknown opcode";
    if (((d->header[1] & 0x80) == 0) != d->from_server)
        return d->from_server ? "a server's frames must not be masked" : "a client's frames must be masked";
    if (opcode >= WS_CLOSE && ((first & 0x80) == 0 || length > WS_CONTROL_MAX))
        return "a control frame must be whole and at most 125 bytes";
    if (opcode == WS_CONTINUE && d->kind == WS_CONTINUE)
        return "a continuation without a beginning";
    if ((opcode == WS_TEXT || opcode == WS_BINARY) && d->kind != WS_CONTINUE)
        return "a new message inside an unfinished one";
    return NULL;
}

/* Reads the whole header. Sets `left`. */
static struct ws_event take_header(struct ws_decoder *d)
{
    unsigned short_length = d->header[1] & 0x7f;
    unsigned extra = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    uint64_t length = extra == 0 ? short_length : 0;
    for (unsigned i = 0; i < extra; i++)
        length = length << 8 | d->header[2 + i];
    if ((extra == 2 && length < 126) || (extra == 8 && (length <= 0xffff || length >> 63)))
        return fail(1002, "the length is not in its shortest form");
    enum ws_opcode opcode = (enum ws_opcode)(d->header[0] & 0x0f);
    if (opcode < WS_CLOSE && length > d->message.max - d->message.len)
        return fail(1009, "the message is too large");
    if (opcode == WS_TEXT || opcode == WS_BINARY)
        d->kind = opcode;
    d->left = length;
    d->mask_at = 0;
    d->control_len = 0;
    d->in_payload = true;
    return (struct ws_event){.kind = WS_MORE};
}

/* ---- payload ---- */

static void unmask(struct ws_decoder *d, char *bytes, size_t n)
{
    if (d->from_server)
        return;
    const unsigned char *mask = d->header + header_size(d) - 4;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)((unsigned char)bytes[i] ^ mask[(d->mask_at + i) & 3]);
    d->mask_at = (unsigned)((d->mask_at + n) & 3);
}

/* What came of a text message so far is UTF-8, but for a character cut by the end. */
static bool text_good(struct ws_decoder *d, bool whole)
{
    while (d->checked < d->message.len) {
        enum utf8_kind kind;
        size_t n = utf8_next((struct str){d->message.data + d->checked, d->message.len - d->checked}, &kind);
        if (kind == UTF8_BAD || (kind == UTF8_SHORT && whole))
            return false;
        if (kind == UTF8_SHORT)
            return true;
        d->checked += n;
    }
    return true;
}

static struct ws_event end_of_close(struct ws_decoder *d)
{
    if (d->control_len == 0)
        return (struct ws_event){.kind = WS_GOT_CLOSE, .code = 1005};
    unsigned code = (unsigned)d->control[0] << 8 | d->control[1];
    if (d->control_len == 1 || !ws_code_valid(code))
        return fail(1002, "a close frame without a valid code");
    struct str reason = {(const char *)d->control + 2, (size_t)d->control_len - 2};
    if (!utf8_valid(reason))
        return fail(1007, "the reason of the close is not UTF-8");
    return (struct ws_event){.kind = WS_GOT_CLOSE, .code = code, .data = reason};
}

static struct ws_event end_of_frame(struct ws_decoder *d)
{
    unsigned opcode = d->header[0] & 0x0f;
    bool final = (d->header[0] & 0x80) != 0;
    d->in_payload = false;
    d->have = 0;
    if (opcode == WS_CLOSE)
        return end_of_close(d);
    if (opcode > WS_CLOSE)
        return (struct ws_event){.kind = opcode == WS_PING ? WS_GOT_PING : WS_GOT_PONG,
                                 .data = {(const char *)d->control, d->control_len}};
    if (!final)
        return (struct ws_event){.kind = WS_MORE};
    bool text = d->kind == WS_TEXT;
    if (text && !text_good(d, true))
        return fail(1007, "the text is not UTF-8");
    d->kind = WS_CONTINUE;
    struct ws_event event = {.kind = WS_MESSAGE, .text = text, .data = buf_str(&d->message)};
    d->checked = 0;
    d->message.len = 0; /* the bytes stay until the next call */
    return event;
}

static struct ws_event take_payload(struct ws_decoder *d, struct str in, size_t *ret_used)
{
    size_t n = in.n < d->left ? in.n : (size_t)d->left;
    *ret_used = n;
    d->left -= n;
    if ((d->header[0] & 0x0f) >= WS_CLOSE) {
        memcpy(d->control + d->control_len, in.p, n);
        unmask(d, (char *)d->control + d->control_len, n);
        d->control_len = (unsigned char)(d->control_len + n);
    } else if (n > 0) {
        size_t from = d->message.len;
        buf_append(&d->message, in.p, n);
        if (buf_status(&d->message) != ERR_OK)
            return fail(1009, "the message is too large");
        unmask(d, d->message.data + from, n);
        if (d->kind == WS_TEXT && !text_good(d, false))
            return fail(1007, "the text is not UTF-8");
    }
    return d->left == 0 ? end_of_frame(d) : (struct ws_event){.kind = WS_MORE};
}

size_t ws_decode(struct ws_decoder *d, struct str in, struct ws_event *ret_event)
{
    size_t at = 0;
    struct ws_event event = {.kind = WS_MORE};
    while (event.kind == WS_MORE && at < in.n) {
        if (d->in_payload) {
            size_t used = 0;
            event = take_payload(d, (struct str){in.p + at, in.n - at}, &used);
            at += used;
            continue;
        }
        d->header[d->have++] = (unsigned char)in.p[at++];
        const char *bad = d->have == 2 ? bad_start(d) : NULL;
        if (bad != NULL)
            event = fail(1002, bad);
        else if (d->have == header_size(d))
            event = take_header(d);
        if (event.kind == WS_MORE && d->in_payload && d->left == 0)
            event = end_of_frame(d);
    }
    *ret_event = event;
    return at;
}
