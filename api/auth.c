/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"

#include "base/base64.h"

#include <stdlib.h>
#include <string.h>

enum err auth_open(struct auth *a, const struct config *config, struct errinfo *info)
{
    struct config_key key;
    size_t count = 0;
    while (config_key_at(config, count, &key))
        count++;
    if (count == 0 && config->auth_enabled)
        return errinfo_set(
            info, ERR_INVALID, 0,
            "there is no API key: set API_KEY or API_KEYS (openssl rand -hex 24 makes a good one), or "
            "AUTH_ENABLED=false where the network itself is trusted");
    *a = (struct auth){.open = !config->auth_enabled, .count = count};
    a->keys = calloc(count + 1, sizeof *a->keys);
    if (a->keys == NULL)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    for (size_t i = 0; i < count && config_key_at(config, i, &key); i++)
        a->keys[i] = (struct auth_key){.hash = sha256_of(key.key), .tenant = key.tenant};
    return ERR_OK;
}

void auth_close(struct auth *a)
{
    free(a->keys);
    a->keys = NULL;
}

/* Hashes have one length, and no comparison ends early: the time tells nothing of the keys. */
static bool matches(const struct auth *a, struct str key, struct str *ret_tenant)
{
    struct sha256 hash = sha256_of(key);
    bool found = false;
    for (size_t i = 0; i < a->count; i++) {
        struct str mine = {(const char *)a->keys[i].hash.bytes, SHA256_LEN};
        bool same = equal_constant_time((struct str){(const char *)hash.bytes, SHA256_LEN}, mine);
        if (same && !found)
            *ret_tenant = a->keys[i].tenant;
        found |= same;
    }
    return found;
}

/* user:password in base64, the key as either; node-fetch sends it without a colon (CONTRACT 1.3). */
static bool matches_basic(const struct auth *a, struct str text, struct str *ret_tenant)
{
    auto_buf decoded = BUF_INIT(1024);
    if (text.n > 1024 || base64_decode(&decoded, text) != ERR_OK)
        return false;
    struct str password = buf_str(&decoded);
    struct str user = str_split(&password, ':');
    bool by_user = user.n > 0 && matches(a, user, ret_tenant);
    return by_user || (password.n > 0 && matches(a, password, ret_tenant));
}

static bool matches_authorization(const struct auth *a, struct str value, struct str *ret_tenant)
{
    struct str credential = value;
    struct str scheme = str_split(&credential, ' ');
    credential = str_trim(credential);
    if (credential.n == 0)
        return false;
    if (str_eq_nocase(scheme, STR("bearer")) || str_eq_nocase(scheme, STR("apikey")))
        return matches(a, credential, ret_tenant);
    return str_eq_nocase(scheme, STR("basic")) && matches_basic(a, credential, ret_tenant);
}

bool auth_check(const struct auth *a, const struct auth_headers *headers, struct str *ret_tenant)
{
    if (headers->key.n > 0 && matches(a, headers->key, ret_tenant))
        return true;
    if (headers->authorization.n > 0 && matches_authorization(a, headers->authorization, ret_tenant))
        return true;
    if (a->open)
        *ret_tenant = STR(TENANT_DEFAULT);
    return a->open;
}
