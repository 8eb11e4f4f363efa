/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http/head.h"

#include "base/utf8.h"

#include <string.h>

static enum err refuse(struct http_refusal *refusal, int status, const char *details)
{
    *refusal = (struct http_refusal){.status = status, .details = details};
    return ERR_PROTOCOL;
}

/* ---- the end of a head ---- */

/* One byte and its neighbour before it: line ends are CRLF and nothing else. */
static const char *bad_line_byte(unsigned char before, unsigned char c)
{
    if (c == '\n' && before != '\r')
        return "a line of the head ends with LF alone; CRLF is needed";
    if (before == '\r' && c != '\n')
        return "the head has a CR that ends no line";
    if (c == 0)
        return "the head has a NUL byte";
    return NULL;
}

static enum err too_long(struct str in, struct http_refusal *refusal)
{
    size_t look = in.n < HTTP_LINE_MAX ? in.n : HTTP_LINE_MAX;
    if (memchr(in.p, '\n', look) == NULL)
        return refuse(refusal, 414, "the request line is longer than 8 KiB");
    return refuse(refusal, 431, "the head is longer than 16 KiB");
}

static bool token_byte(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

enum err http_head_end(struct str in, size_t *scanned, size_t *ret_length, struct http_refusal *refusal)
{
    for (size_t i = *scanned; i < in.n && i < HTTP_HEAD_MAX; i++) {
        unsigned char before = i > 0 ? (unsigned char)in.p[i - 1] : 0;
        const char *bad = bad_line_byte(before, (unsigned char)in.p[i]);
        if (i == 0 && !token_byte((unsigned char)in.p[0]))
            bad = "this is not an HTTP/1 request";
        if (bad != NULL)
            return refuse(refusal, 400, bad);
        if (i >= 3 && memcmp(in.p + i - 3, "\r\n\r\n", 4) == 0) {
            *ret_length = i + 1;
            return ERR_OK;
        }
        *scanned = i + 1;
    }
    if (in.n >= HTTP_HEAD_MAX || (in.n >= HTTP_LINE_MAX && memchr(in.p, '\n', HTTP_LINE_MAX) == NULL))
        return too_long(in, refusal);
    return ERR_AGAIN;
}

/* ---- request line ---- */

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_byte((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum err parse_version(struct str v, struct http_head *head, struct http_refusal *refusal)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_digit(v.p[5]) || v.p[6] != '.' || !is_digit(v.p[7]))
        return refuse(refusal, 400,
                      "the request line needs a method, a target and HTTP/1.1, one space between");
    if (v.p[5] != '1' || v.p[7] > '1')
        return refuse(refusal, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    head->minor = (unsigned)(v.p[7] - '0');
    return ERR_OK;
}

static enum err parse_request_line(struct str line, struct http_head *head, struct http_refusal *refusal)
{
    struct str rest = line;
    head->method = str_split(&rest, ' ');
    head->target = str_split(&rest, ' ');
    if (rest.p == NULL || !is_token(head->method) || head->method.n > 32 || head->target.n == 0)
        return refuse(refusal, 400,
                      "the request line needs a method, a target and HTTP/1.1, one space between");
    for (size_t i = 0; i < head->target.n; i++) {
        unsigned char c = (unsigned char)head->target.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return refuse(refusal, 400, "the request target has a byte that must be percent-encoded");
    }
    return parse_version(rest, head, refusal);
}

/* ---- headers ---- */

static enum err parse_header(struct str line, struct http_head *head, struct http_refusal *refusal)
{
    struct str rest = line;
    struct str name = str_split(&rest, ':');
    if (rest.p == NULL || !is_token(name))
        return refuse(refusal, 400, "a header needs a name, a colon directly behind it, and no folded lines");
    struct str value = str_trim(rest);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return refuse(refusal, 400, "a header value has a control character");
    }
    if (head->header_count == HTTP_HEADERS_MAX)
        return refuse(refusal, 431, "the head has more than 100 headers");
    head->headers[head->header_count++] = (struct http_pair){.name = name, .value = value};
    return ERR_OK;
}

struct str http_head_find(const struct http_head *head, struct str name, unsigned *ret_count)
{
    struct str found = {NULL, 0};
    unsigned count = 0;
    for (unsigned i = 0; i < head->header_count; i++) {
        if (!str_eq_nocase(head->headers[i].name, name))
            continue;
        if (count++ == 0)
            found = head->headers[i].value;
    }
    if (ret_count != NULL)
        *ret_count = count;
    return found;
}

bool http_list_has(struct str list, struct str token)
{
    struct str rest = list;
    while (rest.p != NULL)
        if (str_eq_nocase(str_trim(str_split(&rest, ',')), token))
            return true;
    return false;
}

/* Over all headers of that name. */
static bool any_list_has(const struct http_head *head, struct str name, struct str token)
{
    for (unsigned i = 0; i < head->header_count; i++)
        if (str_eq_nocase(head->headers[i].name, name) && http_list_has(head->headers[i].value, token))
            return true;
    return false;
}

/* ---- what the headers mean for the connection ---- */

static enum err check_length(struct str text, struct http_head *head, struct http_refusal *refusal)
{
    uint64_t length = 0;
    /* 15 digits are more than any limit here and cannot overflow. */
    if (text.n == 0 || text.n > 15 || !is_digit(text.p[0]) || str_to_u64(text, &length) != ERR_OK)
        return refuse(refusal, 400, "Content-Length must be one plain decimal number");
    head->content_length = length;
    head->framing = length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    return ERR_OK;
}

static enum err check_framing(struct http_head *head, struct http_refusal *refusal)
{
    unsigned lengths = 0, codings = 0;
    struct str length = http_head_find(head, STR("content-length"), &lengths);
    struct str coding = http_head_find(head, STR("transfer-encoding"), &codings);
    if (lengths > 0 && codings > 0)
        return refuse(refusal, 400, "Content-Length and Transfer-Encoding are both present");
    if (lengths > 1 || codings > 1)
        return refuse(refusal, 400, "Content-Length or Transfer-Encoding is given twice");
    if (codings == 1) {
        if (head->minor == 0)
            return refuse(refusal, 400, "HTTP/1.0 has no Transfer-Encoding");
        if (!str_eq_nocase(coding, STR("chunked")))
            return refuse(refusal, 501, "the only Transfer-Encoding understood is chunked");
        head->framing = HTTP_BODY_CHUNKED;
    }
    return lengths == 1 ? check_length(length, head, refusal) : ERR_OK;
}

static enum err check_host(const struct http_head *head, struct http_refusal *refusal)
{
    unsigned count = 0;
    struct str host = http_head_find(head, STR("host"), &count);
    if (count > 1 || (count == 0 && head->minor == 1))
        return refuse(refusal, 400, "exactly one Host header is needed");
    for (size_t i = 0; i < host.n; i++) {
        unsigned char c = (unsigned char)host.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/?#@,\\\"<>", c) != NULL)
            return refuse(refusal, 400, "the Host header is not a host");
    }
    return ERR_OK;
}

static enum err check_connection(struct http_head *head, struct http_refusal *refusal)
{
    bool close = any_list_has(head, STR("connection"), STR("close"));
    bool keep = any_list_has(head, STR("connection"), STR("keep-alive"));
    head->keep_alive = !close && (head->minor == 1 || keep);
    head->connection_upgrade = any_list_has(head, STR("connection"), STR("upgrade"));
    unsigned count = 0;
    struct str expect = http_head_find(head, STR("expect"), &count);
    if (count > 1 || (count == 1 && !str_eq_nocase(expect, STR("100-continue"))))
        return refuse(refusal, 417, "the only Expect understood is 100-continue");
    head->expect_continue = count == 1 && head->minor == 1;
    return ERR_OK;
}

enum err http_head_parse(struct str text, struct http_head *ret_head, struct http_refusal *refusal)
{
    struct http_head *head = ret_head;
    head->header_count = 0;
    head->framing = HTTP_BODY_NONE;
    head->content_length = 0;
    bool first = true;
    enum err e = ERR_OK;
    for (struct str rest = text; e == ERR_OK && rest.p != NULL && rest.n > 0; first = false) {
        struct str line = str_split(&rest, '\n');
        line.n -= line.n > 0; /* the CR, which http_head_end() has seen */
        if (first)
            e = parse_request_line(line, head, refusal);
        else if (line.n > 0)
            e = parse_header(line, head, refusal);
    }
    if (e == ERR_OK)
        e = check_host(head, refusal);
    if (e == ERR_OK)
        e = check_framing(head, refusal);
    return e == ERR_OK ? check_connection(head, refusal) : e;
}

/* ---- target ---- */

/* Percent-decodes once. {NULL, 0} for a bad escape, a control character or bytes that are not UTF-8. */
static struct str decode(struct str s, bool plus_is_space, struct arena *arena)
{
    char *out = arena_alloc(arena, s.n + 1);
    struct str result = {out, 0};
    for (size_t i = 0; out != NULL && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return (struct str){NULL, 0};
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return (struct str){NULL, 0};
        out[result.n++] = (char)c;
    }
    return out != NULL && utf8_valid(result) ? result : (struct str){NULL, 0};
}

static struct str strip_authority(struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < 2; i++) {
        if (target.n <= schemes[i].n || !str_eq_nocase((struct str){target.p, schemes[i].n}, schemes[i]))
            continue;
        const char *from = target.p + schemes[i].n;
        size_t left = target.n - schemes[i].n;
        const char *slash = memchr(from, '/', left);
        return slash == NULL ? STR("/") : (struct str){slash, (size_t)(target.p + target.n - slash)};
    }
    return target;
}

/* In place. False when a segment is "." or "..". */
static bool collapse(struct str *path)
{
    char *out = (char *)(uintptr_t)path->p; /* arena memory of decode() */
    size_t n = 0;
    for (size_t i = 0; i < path->n; i++)
        if (path->p[i] != '/' || n == 0 || out[n - 1] != '/')
            out[n++] = path->p[i];
    path->n = n;
    for (struct str rest = *path; rest.p != NULL;) {
        struct str segment = str_split(&rest, '/');
        if (str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return false;
    }
    return true;
}

static enum err parse_query(struct str query, struct arena *arena, struct http_target *t,
                            struct http_refusal *refusal)
{
    while (query.p != NULL) {
        struct str value = str_split(&query, '&');
        if (value.n == 0)
            continue;
        struct str name = str_split(&value, '=');
        if (t->query_count == HTTP_QUERY_MAX)
            return refuse(refusal, 400, "the query has more than 32 parameters");
        struct http_pair pair = {.name = decode(name, true, arena),
                                 .value = value.p != NULL ? decode(value, true, arena) : STR("")};
        if (pair.name.p == NULL || pair.value.p == NULL)
            return refuse(refusal, 400,
                          "the query has a bad percent-escape, a control character or bad UTF-8");
        t->query[t->query_count++] = pair;
    }
    return ERR_OK;
}

enum err http_target_parse(struct str target, struct arena *arena, struct http_target *ret_target,
                           struct http_refusal *refusal)
{
    struct str query = strip_authority(target);
    struct str raw = str_split(&query, '?');
    if (raw.n == 0 || raw.p[0] != '/')
        return refuse(refusal, 400, "the request target must be a path that begins with a slash");
    struct str path = decode(raw, false, arena);
    if (path.p == NULL)
        return refuse(refusal, 400, "the path has a bad percent-escape, a control character or bad UTF-8");
    if (!collapse(&path))
        return refuse(refusal, 400, "the path has a dot segment");
    ret_target->path = path;
    ret_target->query_count = 0;
    return parse_query(query, arena, ret_target, refusal);
}

/* ---- statuses ---- */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}
