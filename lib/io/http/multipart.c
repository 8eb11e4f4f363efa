/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/multipart.h"

#include "io/http/multipart_head.h"

#include <stdio.h>
#include <string.h>

enum state {
    MP_START,     /* the first boundary; the delimiter without its CRLF */
    MP_BEHIND,    /* first byte behind a boundary: CR or '-' */
    MP_BEHIND_LF, /* */
    MP_LAST,      /* second '-' */
    MP_HEAD,      /* collecting up to an empty line */
    MP_DATA,
    MP_EPILOGUE, /* only line ends may follow */
};

void multipart_init(struct multipart *m, const char *boundary, unsigned max_parts,
                    const struct multipart_events *events)
{
    *m = (struct multipart){.events = *events, .max_parts = max_parts, .matched = 2};
    int n = snprintf(m->delimiter, sizeof m->delimiter, "\r\n--%s", boundary);
    m->delimiter_len = (size_t)n;
    buf_init(&m->head, MULTIPART_HEAD_MAX);
}

void multipart_free(struct multipart *m)
{
    buf_free(&m->head);
}

static enum err refuse(struct multipart *m, enum err e, const char *why)
{
    snprintf(m->why, sizeof m->why, "part %u: %s", m->part.number, why);
    return e;
}

static enum err begin_part(struct multipart *m)
{
    const char *why = NULL;
    if (!multipart_head_read(buf_str(&m->head), &m->part, &why))
        return refuse(m, ERR_PROTOCOL, why);
    buf_reset(&m->head);
    m->state = MP_DATA;
    m->matched = 0;
    return m->events.begin(m->events.arg, &m->part);
}

/* The header ends with an empty line; it may be only that. */
static enum err head_byte(struct multipart *m, char c)
{
    buf_append_char(&m->head, c);
    if (buf_status(&m->head))
        return refuse(m, ERR_PROTOCOL, "its header is too long");
    struct str head = buf_str(&m->head);
    bool ends = c == '\n' && ((head.n >= 4 && !memcmp(head.p + head.n - 4, "\r\n\r\n", 4)) ||
                              (head.n == 2 && head.p[0] == '\r'));
    return ends ? begin_part(m) : ERR_OK;
}

static enum err next_part(struct multipart *m)
{
    if (m->part.number == m->max_parts)
        return refuse(m, ERR_FULL, "no more parts are allowed");
    m->part = (struct multipart_part){.number = m->part.number + 1};
    m->state = MP_HEAD;
    return ERR_OK;
}

/* A byte of the framing. */
static enum err frame_byte(struct multipart *m, char c)
{
    switch ((enum state)m->state) {
    case MP_START:
        /* An empty line before the first boundary is let pass. */
        if (m->matched == 2 && c == '\r')
            m->matched = 0;
        if (c != m->delimiter[m->matched])
            return refuse(m, ERR_PROTOCOL, "the body does not begin with the boundary of its Content-Type");
        if (++m->matched == m->delimiter_len)
            m->state = MP_BEHIND;
        return ERR_OK;
    case MP_BEHIND:
        m->state = c == '\r' ? MP_BEHIND_LF : MP_LAST;
        return c == '\r' || c == '-' ? ERR_OK : refuse(m, ERR_PROTOCOL, "bytes behind a boundary");
    case MP_BEHIND_LF:
        return c == '\n' ? next_part(m) : refuse(m, ERR_PROTOCOL, "no line end behind a boundary");
    case MP_LAST:
        m->state = MP_EPILOGUE;
        return c == '-' ? ERR_OK : refuse(m, ERR_PROTOCOL, "bytes behind a boundary");
    case MP_HEAD:
        return head_byte(m, c);
    case MP_EPILOGUE:
        return c == '\r' || c == '\n' ? ERR_OK : refuse(m, ERR_PROTOCOL, "bytes behind the last boundary");
    case MP_DATA:
        break;
    }
    return ERR_PROTOCOL;
}

static enum err give(struct multipart *m, const char *p, size_t n)
{
    return n ? m->events.data(m->events.arg, (struct str){.p = p, .n = n}) : ERR_OK;
}

/* What looked like a delimiter and was none was data. A delimiter holds CR only at its beginning, so nothing in what
   was matched can begin another one. */
static enum err mismatch(struct multipart *m)
{
    size_t n = m->matched;
    m->matched = 0;
    return give(m, m->delimiter, n);
}

static enum err match_delimiter(struct multipart *m, struct str in, size_t *at)
{
    while (*at < in.n && m->matched < m->delimiter_len && in.p[*at] == m->delimiter[m->matched]) {
        ++*at;
        m->matched++;
    }
    if (m->matched == m->delimiter_len) {
        m->state = MP_BEHIND;
        return m->events.end(m->events.arg);
    }
    return *at < in.n && m->matched > 0 ? mismatch(m) : ERR_OK;
}

/* Data up to the next delimiter, or to the end of `in`. */
static enum err take_data(struct multipart *m, struct str in, size_t *at)
{
    enum err e = ERR_OK;
    while (!e && *at < in.n && m->state == MP_DATA) {
        if (m->matched == 0) {
            const char *from = in.p + *at, *cr = memchr(from, '\r', in.n - *at);
            size_t n = cr ? (size_t)(cr - from) : in.n - *at;
            *at += n;
            e = give(m, from, n);
        }
        if (!e && *at < in.n)
            e = match_delimiter(m, in, at);
    }
    return e;
}

enum err multipart_feed(struct multipart *m, struct str in)
{
    for (size_t at = 0; !m->failed && at < in.n;) {
        if (m->state == MP_DATA)
            m->failed = take_data(m, in, &at);
        else
            m->failed = frame_byte(m, in.p[at++]);
    }
    return m->failed ? m->failed : m->state == MP_EPILOGUE ? ERR_OK : ERR_AGAIN;
}

enum err multipart_end(struct multipart *m)
{
    if (!m->failed && m->state != MP_EPILOGUE)
        m->failed = refuse(m, ERR_PROTOCOL, "the body ends before its last boundary");
    return m->failed;
}
