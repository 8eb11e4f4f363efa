/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis/redis.h"

#include <string.h>

static enum err copy_plain(struct str s, char *out, size_t size)
{
    if (s.n >= size || (s.n && memchr(s.p, 0, s.n)))
        return ERR_INVALID;
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return ERR_OK;
}

static enum err copy_decoded(struct str s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++, n++) {
        char c = s.p[i];
        if (c == '%') {
            int high = s.n - i > 2 ? hex_value(s.p[i + 1]) : -1;
            int low = s.n - i > 2 ? hex_value(s.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || n + 1 >= size)
            return ERR_INVALID;
        out[n] = c;
    }
    out[n] = '\0';
    return ERR_OK;
}

static enum err parse_number(struct str s, uint64_t max, uint64_t *ret_value)
{
    return str_to_u64(s, ret_value) == ERR_OK && *ret_value <= max ? ERR_OK : ERR_INVALID;
}

static enum err parse_login(struct str login, struct redis_url *url)
{
    struct str password = login;
    struct str user = str_split(&password, ':');
    if (!password.p) /* "redis://word@": only a user makes no sense, so it is the password */
        return copy_decoded(user, url->password, sizeof url->password);
    enum err e = copy_decoded(user, url->user, sizeof url->user);
    return e ? e : copy_decoded(password, url->password, sizeof url->password);
}

static enum err parse_host(struct str s, struct redis_url *url)
{
    struct str host, port;
    if (s.n && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        if (!end)
            return ERR_INVALID;
        host = (struct str){s.p + 1, (size_t)(end - s.p) - 1};
        port = (struct str){end + 1, s.n - (size_t)(end + 1 - s.p)};
        if (port.n && port.p[0] != ':')
            return ERR_INVALID;
        port = port.n ? (struct str){port.p + 1, port.n - 1} : (struct str){0};
    } else {
        port = s;
        host = str_split(&port, ':');
    }
    uint64_t number = 6379;
    if (host.n == 0 || (port.p && (parse_number(port, 65535, &number) != ERR_OK || number == 0)))
        return ERR_INVALID;
    url->port = (uint16_t)number;
    return copy_plain(host, url->host, sizeof url->host);
}

static enum err parse_network(struct str rest, struct redis_url *url)
{
    struct str db = rest;
    struct str authority = str_split(&db, '/');
    const char *at = authority.n ? memrchr(authority.p, '@', authority.n) : NULL;
    uint64_t number = 0;
    if (at) {
        enum err e = parse_login((struct str){authority.p, (size_t)(at - authority.p)}, url);
        if (e)
            return e;
        authority = (struct str){at + 1, authority.n - (size_t)(at + 1 - authority.p)};
    }
    if (db.p && db.n && parse_number(db, 16383, &number) != ERR_OK)
        return ERR_INVALID;
    url->db = (uint32_t)number;
    return parse_host(authority, url);
}

static enum err parse_local(struct str rest, struct redis_url *url)
{
    struct str query = rest;
    struct str path = str_split(&query, '?');
    uint64_t number = 0;
    if (path.n == 0 || path.p[0] != '/')
        return ERR_INVALID;
    if (query.p && (!str_starts(query, STR("db=")) ||
                    parse_number((struct str){query.p + 3, query.n - 3}, 16383, &number) != ERR_OK))
        return ERR_INVALID;
    url->local = true;
    url->db = (uint32_t)number;
    return copy_plain(path, url->host, 108 /* sun_path */);
}

enum err redis_url_parse(struct str text, struct redis_url *ret_url, struct errinfo *info)
{
    static const struct {
        const char *scheme;
        bool tls;
        enum err (*parse)(struct str rest, struct redis_url *url);
    } schemes[] = {
        {"redis://", false, parse_network},
        {"rediss://", true, parse_network},
        {"unix://", false, parse_local},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct str scheme = str_of(schemes[i].scheme);
        struct redis_url url = {.tls = schemes[i].tls};
        if (!str_starts(text, scheme))
            continue;
        if (schemes[i].parse((struct str){text.p + scheme.n, text.n - scheme.n}, &url) != ERR_OK)
            return errinfo_set(info, ERR_INVALID, 0, "the Redis URL is not of the form %s...",
                               schemes[i].scheme);
        *ret_url = url;
        return ERR_OK;
    }
    return errinfo_set(info, ERR_INVALID, 0, "the Redis URL must begin with redis://, rediss:// or unix://");
}
