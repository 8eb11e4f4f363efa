/* SPDX-License-Identifier: Apache-2.0 */
/* LibreChat's signed tokens (CODEAPI_JWT_*): verified, their tenant claim mapped by CODEAPI_JWT_TENANTS. */
#ifndef MILLRACE_API_AUTH_TOKEN_H
#define MILLRACE_API_AUTH_TOKEN_H

#include "api/jwt.h"
#include "schema/config.h"

enum { AUTH_TENANT_MAX = 64, AUTH_USER_MAX = JWT_SUBJECT_MAX };

struct auth_identity {
    struct str tenant;            /* lives as long as the configuration and the tokens */
    char user[AUTH_USER_MAX + 1]; /* "": the credential names none */
};

struct auth_tokens;
/* *ret_tokens is NULL when CODEAPI_JWT_PUBLIC_KEY is not set. ERR_INVALID: a key cannot be used. `config` must stay. */
MUST_CHECK enum err auth_tokens_open(const struct config *config, struct auth_tokens **ret_tokens,
                                     struct errinfo *info);
void auth_tokens_close(struct auth_tokens *t);
/* ERR_INVALID, ERR_DENIED: not a token, or not a valid one; the sentence says which claim, and nothing of the token.
   A token that was verified is remembered by its hash until it expires (bounded). */
MUST_CHECK enum err auth_tokens_check(struct auth_tokens *t, struct str token, int64_t now_ms,
                                      struct auth_identity *ret_who, struct errinfo *info);

#endif
