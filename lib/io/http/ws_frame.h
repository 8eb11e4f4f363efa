/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames of RFC 6455 as a server (or, with `from_server`, a client) reads and writes them,
   strictly: masked (or not), no extension bits, minimal lengths, text checked as UTF-8 byte by byte, close
   codes checked. Pure. */
#ifndef MILLRACE_IO_HTTP_WS_FRAME_H
#define MILLRACE_IO_HTTP_WS_FRAME_H

#include "base/buf.h"

enum ws_opcode { WS_CONTINUE = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum { WS_CONTROL_MAX = 125, WS_HEADER_MAX = 14 };

struct ws_decoder {
    struct buf message;  /* its maximum is the largest message */
    size_t checked;      /* of a text message: so much is known to be UTF-8 */
    enum ws_opcode kind; /* of the message under way; WS_CONTINUE: none */
    unsigned char header[WS_HEADER_MAX];
    unsigned char have; /* bytes of the header so far */
    bool in_payload;
    bool from_server; /* set it after ws_decoder_init(): the peer's frames are not masked */
    uint64_t left;    /* of the payload */
    unsigned mask_at;
    unsigned char control[WS_CONTROL_MAX];
    unsigned char control_len;
};

enum ws_event_kind {
    WS_MORE,    /* all was taken, nothing is complete */
    WS_MESSAGE, /* `data`, text or binary */
    WS_GOT_PING,
    WS_GOT_PONG,
    WS_GOT_CLOSE, /* `code` (1005: none given) */
    WS_FAIL,      /* close with `code`; read no more */
};

struct ws_event {
    enum ws_event_kind kind;
    bool text;
    struct str data; /* valid until the next call */
    unsigned code;
    const char *why; /* WS_FAIL: static */
};

void ws_decoder_init(struct ws_decoder *d, size_t max_message);
void ws_decoder_free(struct ws_decoder *d);
/* Takes bytes up to the end of the next event; returns how many it took. */
size_t ws_decode(struct ws_decoder *d, struct str in, struct ws_event *ret_event);

/* The header of an unmasked final frame; returns its length (2 to 10). */
size_t ws_frame_header(unsigned char out[10], enum ws_opcode opcode, uint64_t length);
/* Codes that may come over the wire (RFC 6455 7.4, IANA). */
bool ws_code_valid(unsigned code);

#endif
