/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls: keys of the configuration, kept and compared as SHA-256 hashes in constant time. */
#ifndef MILLRACE_API_AUTH_H
#define MILLRACE_API_AUTH_H

#include "io/crypto.h"
#include "schema/config.h"

enum { AUTH_TENANT_MAX = 64 };

struct auth {
    struct auth_key {
        struct sha256 hash;
        struct str tenant; /* view of the configuration */
    } * keys;
    size_t count;
    bool open; /* no keys are asked for */
};

/* ERR_INVALID when there is no key and AUTH_ENABLED is not false: there is no known default. `config` must
 * stay. */
MUST_CHECK enum err auth_open(struct auth *a, const struct config *config, struct errinfo *info);
void auth_close(struct auth *a);

/* What a request carries, {NULL, 0} where it does not. */
struct auth_headers {
    struct str key;           /* of the header API_KEY_HEADER */
    struct str authorization; /* Bearer, ApiKey or Basic */
};
/* True when any one credential is valid; *ret_tenant is whose. Always compares with every key. */
bool auth_check(const struct auth *a, const struct auth_headers *headers, struct str *ret_tenant);

#endif
