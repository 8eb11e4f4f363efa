/* SPDX-License-Identifier: Apache-2.0 */
#include "api/jwt.h"

#include "base/base64.h"

#include <math.h>
#include <string.h>

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? (struct str){json_string_value(value), json_string_length(value)}
                                 : (struct str){NULL, 0};
}

/* Visible ASCII: it becomes part of keys, logs and answers. */
static bool plain(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return s.n > 0 && s.n <= max;
}

/* ---- taking it apart ---- */

static json_t *object_of(struct str part)
{
    auto_buf text = BUF_INIT(JWT_MAX);
    json_t *value = NULL;
    if (part.n == 0 || base64url_decode(&text, part) != ERR_OK ||
        json_parse(buf_str(&text), &value, NULL) != ERR_OK)
        return NULL;
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

enum err jwt_read(struct str token, struct jwt *ret_jwt, struct errinfo *info)
{
    if (token.n > JWT_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "the token is longer than %d bytes", JWT_MAX);
    struct str rest = token;
    struct str header = str_split(&rest, '.');
    struct str claims = str_split(&rest, '.');
    struct jwt jwt = {.signed_part = {token.p, header.n + 1 + claims.n}, .signature = BUF_INIT(JWT_MAX)};
    if (rest.p == NULL || memchr(rest.p, '.', rest.n) != NULL || rest.n == 0)
        return errinfo_set(info, ERR_INVALID, 0, "the token has not three parts");
    jwt.header = object_of(header);
    jwt.claims = object_of(claims);
    if (jwt.header == NULL || jwt.claims == NULL || base64url_decode(&jwt.signature, rest) != ERR_OK) {
        jwt_free(&jwt);
        return errinfo_set(info, ERR_INVALID, 0,
                           "a part of the token is not base64url, or not a JSON object");
    }
    *ret_jwt = jwt;
    return ERR_OK;
}

void jwt_free(struct jwt *jwt)
{
    buf_free(&jwt->signature);
    json_decref(jwt->header);
    json_decref(jwt->claims);
    *jwt = (struct jwt){.header = NULL};
}

/* ---- the header ---- */

enum err jwt_check_header(const struct jwt *jwt, const struct jwt_rules *rules, struct errinfo *info)
{
    const json_t *type = json_object_get(jwt->header, "typ");
    if (!str_eq(text_of(jwt->header, "alg"), str_of(rules->algorithm)))
        return errinfo_set(info, ERR_DENIED, 0, "alg: must be %s", rules->algorithm);
    if (type != NULL && !str_eq_nocase(text_of(jwt->header, "typ"), STR("JWT")))
        return errinfo_set(info, ERR_DENIED, 0, "typ: must be JWT");
    if (json_object_get(jwt->header, "crit") != NULL)
        return errinfo_set(info, ERR_DENIED, 0, "crit: extensions are not known here");
    if (rules->key_id[0] != '\0' && !str_eq(text_of(jwt->header, "kid"), str_of(rules->key_id)))
        return errinfo_set(info, ERR_DENIED, 0, "kid: is not that of CODEAPI_JWT_KID");
    return ERR_OK;
}

/* ---- the claims ---- */

/* A NumericDate; absent is an error when `needed`, and leaves *ret_time as it was. */
static enum err take_time(const json_t *claims, const char *name, bool needed, double *ret_time,
                          struct errinfo *info)
{
    const json_t *value = json_object_get(claims, name);
    if (value == NULL && !needed)
        return ERR_OK;
    if (!json_is_number(value) || json_number_value(value) < 0 || json_number_value(value) > 1e12)
        return errinfo_set(info, ERR_DENIED, 0, "%s: must be a time in seconds", name);
    *ret_time = json_number_value(value);
    return ERR_OK;
}

static enum err check_times(const json_t *claims, const struct jwt_rules *rules, int64_t now_s,
                            int64_t *ret_expires_s, struct errinfo *info)
{
    double issued = 0, expires = 0, now = (double)now_s, skew = (double)rules->skew_s;
    if (take_time(claims, "iat", true, &issued, info) != ERR_OK ||
        take_time(claims, "exp", true, &expires, info) != ERR_OK)
        return ERR_DENIED;
    double from = issued;
    if (take_time(claims, "nbf", false, &from, info) != ERR_OK)
        return ERR_DENIED;
    if (expires <= issued || expires - issued > (double)rules->max_ttl_s)
        return errinfo_set(info, ERR_DENIED, 0, "exp: must be at most %lld s after iat",
                           (long long)rules->max_ttl_s);
    if (now >= expires + skew)
        return errinfo_set(info, ERR_DENIED, 0, "exp: the token has expired");
    if (now < from - skew || now < issued - skew)
        return errinfo_set(info, ERR_DENIED, 0, "nbf, iat: the token is not yet valid");
    *ret_expires_s = (int64_t)ceil(expires + skew) - 1;
    return ERR_OK;
}

static bool has_audience(const json_t *claims, struct str wanted)
{
    const json_t *value = json_object_get(claims, "aud");
    if (!json_is_array(value))
        return str_eq(text_of(claims, "aud"), wanted);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (json_is_string(item) &&
            str_eq((struct str){json_string_value(item), json_string_length(item)}, wanted))
            return true;
    }
    return false;
}

enum err jwt_check_claims(const struct jwt *jwt, const struct jwt_rules *rules, int64_t now_s,
                          struct jwt_facts *ret_facts, struct errinfo *info)
{
    const json_t *claims = jwt->claims, *id = json_object_get(claims, "jti");
    struct jwt_facts facts = {.subject = text_of(claims, "sub"), .tenant = text_of(claims, "tenant_id")};
    if (!str_eq(text_of(claims, "iss"), str_of(rules->issuer)))
        return errinfo_set(info, ERR_DENIED, 0, "iss: must be %s", rules->issuer);
    if (!has_audience(claims, str_of(rules->audience)))
        return errinfo_set(info, ERR_DENIED, 0, "aud: must be %s", rules->audience);
    if (!plain(facts.subject, JWT_SUBJECT_MAX))
        return errinfo_set(info, ERR_DENIED, 0, "sub: must be 1 to %d visible characters", JWT_SUBJECT_MAX);
    if (json_object_get(claims, "tenant_id") != NULL && !plain(facts.tenant, JWT_SUBJECT_MAX))
        return errinfo_set(info, ERR_DENIED, 0, "tenant_id: must be 1 to %d visible characters",
                           JWT_SUBJECT_MAX);
    if (id != NULL && (!json_is_string(id) || json_string_length(id) > JWT_ID_MAX))
        return errinfo_set(info, ERR_DENIED, 0, "jti: must be at most %d bytes", JWT_ID_MAX);
    enum err e = check_times(claims, rules, now_s, &facts.expires_s, info);
    if (e == ERR_OK)
        *ret_facts = facts;
    return e;
}
