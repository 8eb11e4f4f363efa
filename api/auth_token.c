/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth_token.h"

#include "api/jwk.h"
#include "base/base64.h"
#include "io/crypto.h"
#include "io/public_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Tenants that only tokens name; beyond so many, tokens of new ones are refused. */
enum { KEYS_MAX = 8, PEM_MAX = 16 * 1024, TENANTS_MAX = 16384, KNOWN_MAX = 256 };

/* A verified token. LibreChat sends one for up to 30 s, and verifying costs more than the rest of a request. */
struct known {
    struct sha256 hash;
    int64_t expires_s;
    struct auth_identity who;
};

struct auth_tokens {
    const struct config *config;
    struct jwt_rules rules;
    struct public_key *keys[KEYS_MAX];
    size_t key_count;
    char **tenants; /* sorted */
    size_t tenant_count;
    struct known known[KNOWN_MAX]; /* by the first byte of the hash */
};

/* ---- the keys ---- */

static enum err read_file(const char *path, struct buf *out, struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room = buf_reserve(out, PEM_MAX);
    ssize_t n = fd >= 0 && room != NULL ? read(fd, room, PEM_MAX) : -1;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return errinfo_set(info, ERR_IO, why, "%s: %s", path, strerror(why));
    out->len += (size_t)n;
    return ERR_OK;
}

/* A path, PEM with real or written line ends ("\n"), JSON, or one of the latter two in base64. */
static enum err key_text(const char *item, struct buf *out, struct errinfo *info)
{
    if (item[0] == '/')
        return read_file(item, out, info);
    if (item[0] == '{') {
        buf_append_cstr(out, item);
        return buf_status(out);
    }
    if (strncmp(item, "-----", 5) != 0)
        return base64_decode(out, str_of(item)) == ERR_OK
                   ? ERR_OK
                   : errinfo_set(info, ERR_INVALID, 0, "neither PEM, nor JSON, nor base64, nor a path");
    for (const char *p = item; *p != '\0'; p++) {
        bool written = p[0] == '\\' && p[1] == 'n';
        buf_append_char(out, written ? '\n' : *p);
        p += written;
    }
    return buf_status(out);
}

static enum err add_key(struct auth_tokens *t, const char *item, struct errinfo *info)
{
    auto_buf text = BUF_INIT(2 * PEM_MAX);
    enum signature_algorithm algorithm = (enum signature_algorithm)t->config->codeapi_jwt_algorithm;
    enum err e = key_text(item, &text, info);
    if (e != ERR_OK)
        return e;
    if (str_starts(str_trim(buf_str(&text)), STR("{")))
        return jwk_read(buf_str(&text), algorithm, t->keys, KEYS_MAX, &t->key_count, info);
    if (t->key_count == KEYS_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "more than %d keys", KEYS_MAX);
    e = public_key_read(buf_str(&text), algorithm, &t->keys[t->key_count], info);
    t->key_count += e == ERR_OK;
    return e;
}

static enum err add_keys(struct auth_tokens *t, struct errinfo *info)
{
    const struct config_list *list = &t->config->codeapi_jwt_public_key;
    const char *jwk = t->config->codeapi_jwt_public_jwk;
    for (size_t i = 0; i < list->count; i++)
        if (add_key(t, list->items[i], info) != ERR_OK)
            return errinfo_wrap(info, "CODEAPI_JWT_PUBLIC_KEY");
    if (jwk[0] != '\0' && add_key(t, jwk, info) != ERR_OK)
        return errinfo_wrap(info, "CODEAPI_JWT_PUBLIC_JWK_JSON");
    return ERR_OK;
}

enum err auth_tokens_open(const struct config *config, struct auth_tokens **ret_tokens, struct errinfo *info)
{
    *ret_tokens = NULL;
    if (config->codeapi_jwt_public_key.count == 0 && config->codeapi_jwt_public_jwk[0] == '\0')
        return ERR_OK;
    struct auth_tokens *t = calloc(1, sizeof *t);
    if (t == NULL || (t->tenants = calloc(TENANTS_MAX, sizeof *t->tenants)) == NULL) {
        free(t);
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    }
    t->config = config;
    t->rules = (struct jwt_rules){
        .algorithm = signature_algorithm_name((enum signature_algorithm)config->codeapi_jwt_algorithm),
        .issuer = config->codeapi_jwt_issuer,
        .audience = config->codeapi_jwt_audience,
        .key_id = config->codeapi_jwt_kid,
        .skew_s = config->codeapi_jwt_skew_ms / 1000,
        .max_ttl_s = config->codeapi_jwt_max_ttl_ms / 1000,
    };
    if (add_keys(t, info) != ERR_OK) {
        auth_tokens_close(t);
        return ERR_INVALID;
    }
    *ret_tokens = t;
    return ERR_OK;
}

void auth_tokens_close(struct auth_tokens *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->key_count; i++)
        public_key_free(t->keys[i]);
    for (size_t i = 0; i < t->tenant_count; i++)
        free(t->tenants[i]);
    free(t->tenants);
    free(t);
}

/* ---- the tenant ---- */

/* The one copy of a name that the configuration has not. Jobs in flight keep views of it, so it is never freed before the
   end. */
static const char *keep_name(struct auth_tokens *t, const char *name)
{
    size_t low = 0, high = t->tenant_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, t->tenants[middle]);
        if (order == 0)
            return t->tenants[middle];
        *(order < 0 ? &high : &low) = order < 0 ? middle : middle + 1;
    }
    char *copy = t->tenant_count < TENANTS_MAX ? strdup(name) : NULL;
    if (copy == NULL)
        return NULL;
    memmove(&t->tenants[low + 1], &t->tenants[low], (t->tenant_count - low) * sizeof *t->tenants);
    t->tenants[low] = copy;
    t->tenant_count++;
    return copy;
}

/* A claim that the table does not name is a tenant of its own, which no key can be given by mistake. */
static struct str own_tenant(struct auth_tokens *t, struct str claim)
{
    char name[AUTH_TENANT_MAX + 1], hex[SHA256_HEX_LEN + 1];
    snprintf(name, sizeof name, CONFIG_TOKEN_TENANT "%.*s", (int)claim.n, claim.p);
    if (claim.n + strlen(CONFIG_TOKEN_TENANT) > AUTH_TENANT_MAX || !config_word_valid(claim)) {
        struct sha256 hash = sha256_of(claim);
        sha256_hex(&hash, hex);
        snprintf(name, sizeof name, CONFIG_TOKEN_TENANT "%.40s", hex);
    }
    return str_of(keep_name(t, name));
}

static struct str tenant_of(struct auth_tokens *t, struct str claim)
{
    struct str found;
    if (claim.p == NULL)
        claim = STR("legacy"); /* what LibreChat sends when it has no tenants */
    return config_token_tenant(t->config, claim, &found) ? found : own_tenant(t, claim);
}

/* ---- the token ---- */

static bool signed_by_us(const struct auth_tokens *t, const struct jwt *jwt)
{
    bool good = false;
    for (size_t i = 0; i < t->key_count; i++)
        good |= public_key_verify(t->keys[i], jwt->signed_part, buf_str(&jwt->signature));
    return good;
}

static enum err judge(struct auth_tokens *t, const struct jwt *jwt, int64_t now_s, struct known *ret_known,
                      struct errinfo *info)
{
    struct jwt_facts facts;
    enum err e = jwt_check_header(jwt, &t->rules, info);
    if (e == ERR_OK && !signed_by_us(t, jwt))
        e = errinfo_set(info, ERR_DENIED, 0, "the signature is by none of our keys");
    if (e == ERR_OK)
        e = jwt_check_claims(jwt, &t->rules, now_s, &facts, info);
    if (e != ERR_OK)
        return e;
    ret_known->expires_s = facts.expires_s;
    ret_known->who.tenant = tenant_of(t, facts.tenant);
    if (ret_known->who.tenant.n == 0)
        return errinfo_set(info, ERR_DENIED, 0, "tenant_id: more than %d tenants", TENANTS_MAX);
    assert(facts.subject.n <= AUTH_USER_MAX);
    memcpy(ret_known->who.user, facts.subject.p, facts.subject.n);
    ret_known->who.user[facts.subject.n] = '\0';
    return ERR_OK;
}

enum err auth_tokens_check(struct auth_tokens *t, struct str token, int64_t now_ms,
                           struct auth_identity *ret_who, struct errinfo *info)
{
    struct known fresh = {.hash = sha256_of(token)};
    struct known *place = &t->known[fresh.hash.bytes[0]];
    int64_t now_s = now_ms / 1000;
    if (now_s <= place->expires_s && memcmp(&place->hash, &fresh.hash, sizeof fresh.hash) == 0) {
        *ret_who = place->who;
        return ERR_OK;
    }
    struct jwt jwt;
    enum err e = jwt_read(token, &jwt, info);
    if (e != ERR_OK)
        return e;
    e = judge(t, &jwt, now_s, &fresh, info);
    jwt_free(&jwt);
    if (e != ERR_OK)
        return e;
    *place = fresh;
    *ret_who = fresh.who;
    return ERR_OK;
}
