/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"

#include "base/base64.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static enum err take_keys(struct auth *a, const struct config *config)
{
    struct config_key key;
    while (config_key_at(config, a->count, &key))
        a->count++;
    a->keys = calloc(a->count + 1, sizeof *a->keys);
    if (a->keys == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < a->count && config_key_at(config, i, &key); i++)
        a->keys[i] = (struct auth_key){.hash = sha256_of(key.key), .tenant = key.tenant};
    return ERR_OK;
}

static enum err take_networks(struct auth *a, const struct config_list *list)
{
    a->trusted = calloc(list->count + 1, sizeof *a->trusted);
    if (a->trusted == NULL)
        return ERR_NOMEM;
    enum err e = ERR_OK;
    for (; e == ERR_OK && a->trusted_count < list->count; a->trusted_count++)
        e = cidr_parse(str_of(list->items[a->trusted_count]), &a->trusted[a->trusted_count]);
    return e;
}

static enum err open_all(struct auth *a, const struct config *config, struct errinfo *info)
{
    enum err e = take_keys(a, config);
    if (e == ERR_OK)
        e = take_networks(a, &config->auth_trusted_networks);
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "AUTH_TRUSTED_NETWORKS: %s", err_text(e));
    e = auth_tokens_open(config, &a->tokens, info);
    if (e == ERR_OK && !a->open && a->count == 0 && a->trusted_count == 0 && a->tokens == NULL)
        return errinfo_set(
            info, ERR_INVALID, 0,
            "there is no API key: set API_KEY or API_KEYS (openssl rand -hex 24 makes a good one), or "
            "AUTH_ENABLED=false where the network itself is trusted");
    return e;
}

enum err auth_open(struct auth *a, const struct config *config, struct errinfo *info)
{
    *a = (struct auth){.open = !config->auth_enabled};
    enum err e = open_all(a, config, info);
    if (e != ERR_OK)
        auth_close(a);
    return e;
}

void auth_close(struct auth *a)
{
    auth_tokens_close(a->tokens);
    free(a->trusted);
    free(a->keys);
    *a = (struct auth){.keys = NULL};
}

void auth_describe(const struct auth *a, struct buf *out)
{
    if (a->open)
        buf_append_cstr(out, "off");
    else
        buf_printf(out, "%zu keys%s%s", a->count, a->tokens != NULL ? ", tokens" : "",
                   a->trusted_count > 0 ? ", trusted networks" : "");
}

/* ---- keys ---- */

/* Hashes have one length, and no comparison ends early: the time tells nothing of the keys. */
bool auth_check_key(const struct auth *a, struct str key, struct auth_identity *ret_who)
{
    struct sha256 hash = sha256_of(key);
    bool found = false;
    for (size_t i = 0; i < a->count; i++) {
        struct str mine = {(const char *)a->keys[i].hash.bytes, SHA256_LEN};
        bool same = equal_constant_time((struct str){(const char *)hash.bytes, SHA256_LEN}, mine);
        if (same && !found)
            *ret_who = (struct auth_identity){.tenant = a->keys[i].tenant};
        found |= same;
    }
    return found;
}

/* user:password in base64, the key as either; node-fetch sends it without a colon (CONTRACT 1.3). */
static bool matches_basic(const struct auth *a, struct str text, struct auth_identity *ret_who)
{
    auto_buf decoded = BUF_INIT(1024);
    if (text.n > 1024 || base64_decode(&decoded, text) != ERR_OK)
        return false;
    struct str password = buf_str(&decoded);
    struct str user = str_split(&password, ':');
    bool by_user = user.n > 0 && auth_check_key(a, user, ret_who);
    return by_user || (password.n > 0 && auth_check_key(a, password, ret_who));
}

bool auth_check_body(const struct auth *a, struct str body, struct auth_identity *ret_who)
{
    static const char *const names[] = {"LIBRECHAT_CODE_API_KEY", "api_key", "apiKey"};
    auto_json root = NULL;
    if (json_parse(body, &root, NULL) != ERR_OK || !json_is_object(root))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(root, names[i]);
        struct str key = {json_string_value(value), json_string_length(value)};
        if (json_is_string(value) && auth_check_key(a, key, ret_who))
            return true;
    }
    return false;
}

/* ---- all of them ---- */

struct credential {
    struct str scheme, text;
};

static struct credential split_authorization(struct str value)
{
    struct credential c = {.text = value};
    c.scheme = str_split(&c.text, ' ');
    c.text = str_trim(c.text);
    return c;
}

static bool is_scheme(const struct credential *c, struct str name)
{
    return c->text.n > 0 && str_eq_nocase(c->scheme, name);
}

static bool matches_token(const struct auth *a, const struct credential *c, int64_t now_ms,
                          struct auth_identity *ret_who)
{
    struct errinfo info;
    if (a->tokens == NULL || !is_scheme(c, STR("bearer")) || memchr(c->text.p, '.', c->text.n) == NULL)
        return false;
    if (auth_tokens_check(a->tokens, c->text, now_ms, ret_who, &info) == ERR_OK)
        return true;
    log_limited(LOG_WARN, "a token was refused", F_STR("why", info.text));
    return false;
}

static bool is_trusted(const struct auth *a, struct str peer)
{
    for (size_t i = 0; i < a->trusted_count; i++)
        if (cidr_contains(&a->trusted[i], peer))
            return true;
    return false;
}

bool auth_check(const struct auth *a, const struct auth_request *r, struct auth_identity *ret_who)
{
    struct credential c = split_authorization(r->authorization);
    if (matches_token(a, &c, r->now_ms, ret_who))
        return true;
    if (r->key.n > 0 && auth_check_key(a, r->key, ret_who))
        return true;
    if ((is_scheme(&c, STR("bearer")) || is_scheme(&c, STR("apikey"))) && auth_check_key(a, c.text, ret_who))
        return true;
    if (is_scheme(&c, STR("basic")) && matches_basic(a, c.text, ret_who))
        return true;
    if (!a->open && !is_trusted(a, r->peer))
        return false;
    *ret_who = (struct auth_identity){.tenant = STR(TENANT_DEFAULT)};
    return true;
}
