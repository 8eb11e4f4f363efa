/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls. Any one valid scheme is enough: a key (in its header, as Bearer, ApiKey or Basic, or in a JSON body), LibreChat's
   token, an address in a trusted network, or no scheme at all where AUTH_ENABLED is false. With several valid ones the
   token says who it is, then the key. Keys are kept and compared as SHA-256 hashes in constant time. */
#ifndef MILLRACE_API_AUTH_H
#define MILLRACE_API_AUTH_H

#include "api/auth_token.h"
#include "base/cidr.h"
#include "io/crypto.h"

struct auth {
    struct auth_key {
        struct sha256 hash;
        struct str tenant; /* view of the configuration */
    } * keys;
    size_t count;
    struct cidr *trusted;
    size_t trusted_count;
    struct auth_tokens *tokens; /* NULL: none are taken */
    bool open;                  /* nothing is asked for */
};

/* ERR_INVALID when nobody could be let in (there is no known default key), or a setting is not usable. `config` must
   stay. */
MUST_CHECK enum err auth_open(struct auth *a, const struct config *config, struct errinfo *info);
void auth_close(struct auth *a);
/* "keys, tokens, trusted networks", for the log. */
void auth_describe(const struct auth *a, struct buf *out);

/* What a request carries, {NULL, 0} where it does not. */
struct auth_request {
    struct str key;           /* of the header API_KEY_HEADER */
    struct str authorization; /* Bearer, ApiKey or Basic */
    struct str peer;          /* the other end of the connection, numeric; never a header */
    int64_t now_ms;           /* by the wall clock */
};

/* True when any one credential is valid. */
bool auth_check(const struct auth *a, const struct auth_request *request, struct auth_identity *ret_who);
/* A key alone, from a place of its own. Always compares with every key. */
bool auth_check_key(const struct auth *a, struct str key, struct auth_identity *ret_who);
/* The key in a JSON body, where early clients put it: LIBRECHAT_CODE_API_KEY, api_key or apiKey. */
bool auth_check_body(const struct auth *a, struct str body, struct auth_identity *ret_who);

#endif
