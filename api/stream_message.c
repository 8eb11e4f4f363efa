/* SPDX-License-Identifier: Apache-2.0 */
#include "api/stream.h"

#include "base/base64.h"
#include "json/fields.h"

#include <string.h>

enum { INPUT_MAX = 48 * 1024 }; /* of one message: below the inbox's 64 KiB */

/* Signals that a client may send; the program's own kill(2) takes the others. */
#define SIGNALS "INT|TERM|HUP|QUIT|KILL|USR1|USR2|CONT|STOP|TSTP|WINCH"

static enum err read_input(const json_t *body, struct stream_message *m, struct api_fault *fault)
{
    struct errinfo info;
    struct str data = {NULL, 0};
    int encoding = 0;
    if (json_field_string(body, "data", JSON_REQUIRED, INPUT_MAX * 2, &data, &info) != ERR_OK ||
        json_field_choice(body, "encoding", JSON_OPTIONAL, "text|base64", &encoding, &info) != ERR_OK)
        return api_fault_from(fault, &info);
    if (encoding == 0)
        buf_append_str(&m->bytes, data);
    else if (base64_decode(&m->bytes, data) != ERR_OK)
        return api_fault_set(fault, CE_INVALID_FIELD, "data: is not base64, or more than %d bytes",
                             INPUT_MAX);
    if (buf_status(&m->bytes) != ERR_OK)
        return api_fault_set(fault, CE_TOO_LARGE, "data: has more than %d bytes; send it in pieces",
                             INPUT_MAX);
    m->type = EV_INPUT;
    return ERR_OK;
}

static enum err read_signal(const json_t *body, struct stream_message *m, struct api_fault *fault)
{
    struct errinfo info;
    int place = 0;
    struct str name = {NULL, 0};
    const json_t *given = json_object_get(body, "signal");
    bool prefixed = json_is_string(given) && strncmp(json_string_value(given), "SIG", 3) == 0;
    auto_json bare = prefixed ? json_pack("{s:s}", "signal", json_string_value(given) + 3) : NULL;
    if (json_field_choice(prefixed ? bare : body, "signal", JSON_REQUIRED, SIGNALS, &place, &info) != ERR_OK)
        return api_fault_from(fault, &info);
    struct str rest = STR(SIGNALS);
    for (int i = 0; i <= place; i++)
        name = str_split(&rest, '|');
    buf_printf(&m->data, "{\"signal\":\"" STR_FMT "\"}", STR_ARG(name));
    m->type = EV_SIGNAL;
    return ERR_OK;
}

static enum err read_eof(const json_t *body, struct stream_message *m, struct api_fault *fault)
{
    (void)body;
    (void)fault;
    m->type = EV_EOF;
    return ERR_OK;
}

static enum err read_cancel(const json_t *body, struct stream_message *m, struct api_fault *fault)
{
    (void)body;
    (void)fault;
    buf_append_cstr(&m->data, "{\"reason\":\"cancelled by the client\"}");
    m->type = EV_CANCEL_REQUESTED;
    return ERR_OK;
}

static enum err read_typed(const json_t *body, struct stream_message *m, struct api_fault *fault)
{
    static enum err (*const readers[])(const json_t *, struct stream_message *,
                                       struct api_fault *) = {read_input, read_eof, read_signal, read_cancel};
    struct errinfo info;
    int type = 0;
    if (json_expect_object(body, "message", &info) != ERR_OK ||
        json_field_choice(body, "type", JSON_REQUIRED, "stdin|eof|signal|cancel", &type, &info) != ERR_OK)
        return api_fault_from(fault, &info);
    return readers[type](body, m, fault);
}

enum err stream_message_parse(struct str text, struct stream_message *ret_message, struct api_fault *fault)
{
    struct errinfo info;
    auto_json body = NULL;
    if (json_parse(text, &body, &info) != ERR_OK)
        return api_fault_set(fault, CE_BAD_JSON, "%s", info.text);
    struct stream_message m = {.bytes = BUF_INIT(INPUT_MAX), .data = BUF_INIT(256)};
    enum err e = read_typed(body, &m, fault);
    if (e == ERR_OK)
        *ret_message = m;
    else
        stream_message_free(&m);
    return e;
}

void stream_message_free(struct stream_message *m)
{
    buf_free(&m->bytes);
    buf_free(&m->data);
}
