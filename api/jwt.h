/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON Web Token as LibreChat mints it (CONTRACT 1.3): taken apart, and its claims judged. Pure; the signature is the
   caller's to check (io/public_key.h), before anything that the token says is used. */
#ifndef MILLRACE_API_JWT_H
#define MILLRACE_API_JWT_H

#include "json/json.h"

enum { JWT_MAX = 8192, JWT_SUBJECT_MAX = 128, JWT_ID_MAX = 256 };

struct jwt {
    struct str signed_part; /* view of the token: what the signature is over */
    struct buf signature;
    json_t *header, *claims;
};

/* What a token has to say. Times in seconds. */
struct jwt_rules {
    const char *algorithm, *issuer, *audience;
    const char *key_id; /* "": any */
    int64_t skew_s, max_ttl_s;
};

struct jwt_facts {
    struct str subject, tenant; /* views of the claims; tenant {NULL, 0} when the token names none */
    int64_t expires_s;          /* the last second in which it is taken, with the skew */
};

/* ERR_INVALID: not three parts of base64url with JSON objects in the first two; `jwt` then holds nothing. */
MUST_CHECK enum err jwt_read(struct str token, struct jwt *ret_jwt, struct errinfo *info);
void jwt_free(struct jwt *jwt);
/* ERR_DENIED with the claim and what is wrong with it. The views live as long as `jwt`. */
MUST_CHECK enum err jwt_check_header(const struct jwt *jwt, const struct jwt_rules *rules,
                                     struct errinfo *info);
MUST_CHECK enum err jwt_check_claims(const struct jwt *jwt, const struct jwt_rules *rules, int64_t now_s,
                                     struct jwt_facts *ret_facts, struct errinfo *info);

#endif
