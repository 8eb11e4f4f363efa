/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/state_stream.h"

#include "base/utf8.h"
#include "worker/frame.h"
#include "worker/templates/template_proto.h"
#include "json/json.h"

void state_stream_init(struct state_stream *s, size_t max_raw)
{
    *s = (struct state_stream){
        .max_raw = max_raw,
        .pending = BUF_INIT(2 * (FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX)),
        .warnings = BUF_INIT((size_t)STATE_WARNINGS_MAX * STATE_WARNING_TEXT_MAX * 16),
    };
}

void state_stream_free(struct state_stream *s)
{
    state_pack_drop(s->packer);
    s->packer = NULL;
    buf_free(&s->pending);
    buf_free(&s->warnings);
}

/* Whole characters, at most STATE_WARNING_TEXT_MAX bytes before cleaning. */
static void write_text(struct buf *out, struct str text)
{
    auto_buf clean = BUF_INIT(3 * STATE_WARNING_TEXT_MAX + 8);
    if (text.n > STATE_WARNING_TEXT_MAX)
        text.n = STATE_WARNING_TEXT_MAX;
    utf8_sanitize(&clean, text);
    json_write_string(out, buf_str(&clean));
}

void state_stream_warn(struct state_stream *s, struct str name, struct str reason)
{
    if (s->warning_count == STATE_WARNINGS_MAX)
        return;
    buf_append_cstr(&s->warnings, s->warning_count++ ? ",{\"name\":" : "{\"name\":");
    write_text(&s->warnings, name);
    buf_append_cstr(&s->warnings, ",\"reason\":");
    write_text(&s->warnings, reason);
    buf_append_char(&s->warnings, '}');
}

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

static const char *take_warning(struct state_stream *s, struct str payload)
{
    auto_json warning = NULL;
    if (json_parse(payload, &warning, NULL) != ERR_OK || !json_is_object(warning))
        return "a warning that is none";
    state_stream_warn(s, text_of(warning, "name"), text_of(warning, "reason"));
    return NULL;
}

static const char *take_bytes(struct state_stream *s, struct str payload)
{
    if (s->packer == NULL)
        s->packer = state_pack_begin(s->max_raw);
    if (s->packer == NULL)
        return "no memory for it";
    enum err e = state_pack_add(s->packer, payload);
    return e == ERR_OK ? NULL : e == ERR_FULL ? "it is larger than its limit" : "no memory for it";
}

static const char *take_end(struct state_stream *s, struct str payload)
{
    if (payload.n != 1 || (unsigned char)payload.p[0] > 1)
        return "an end that is none";
    s->ended = true;
    s->whole = payload.p[0] == 1 && s->packer != NULL;
    return NULL;
}

static const char *take_record(struct state_stream *s, const struct frame *record)
{
    if (s->ended)
        return "something came behind its end";
    switch (record->type) {
    case STATE_RECORD_BYTES:
        return take_bytes(s, record->payload);
    case STATE_RECORD_WARNING:
        return take_warning(s, record->payload);
    case STATE_RECORD_END:
        return take_end(s, record->payload);
    default:
        return "a record of an unknown kind";
    }
}

static void take_records(struct state_stream *s)
{
    size_t done = 0;
    while (s->broken == NULL) {
        struct frame record;
        size_t used;
        enum err e = frame_take((struct str){s->pending.data + done, s->pending.len - done}, &record, &used);
        if (e == ERR_AGAIN)
            break;
        s->broken = e == ERR_OK ? take_record(s, &record) : "a record that is none";
        done += e == ERR_OK ? used : 0;
    }
    buf_consume(&s->pending, done);
}

void state_stream_add(struct state_stream *s, struct str bytes)
{
    while (bytes.n > 0 && s->broken == NULL) {
        size_t piece = bytes.n < FRAME_PAYLOAD_MAX ? bytes.n : FRAME_PAYLOAD_MAX;
        buf_append(&s->pending, bytes.p, piece);
        if (buf_status(&s->pending) != ERR_OK)
            s->broken = "no memory for it";
        else
            take_records(s);
        bytes = (struct str){bytes.p + piece, bytes.n - piece};
    }
}

enum err state_stream_take(struct state_stream *s, struct buf *ret_blob, struct sha256 *ret_hash)
{
    if (s->broken != NULL || !s->ended || !s->whole || s->packer == NULL)
        return ERR_AGAIN;
    struct state_packer *packer = s->packer;
    s->packer = NULL;
    return state_pack_end(packer, ret_blob, ret_hash);
}
