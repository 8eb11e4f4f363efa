/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of tokens: a public key, bound to one algorithm for life, so that no token chooses what it is checked with. */
#ifndef MILLRACE_IO_PUBLIC_KEY_H
#define MILLRACE_IO_PUBLIC_KEY_H

#include "base/buf.h"

/* In the order of the choices of CODEAPI_JWT_ALGORITHM. X(SYMBOL, "name in a token") */
#define SIGNATURE_ALGORITHMS(X)                                                                              \
    X(EDDSA, "EdDSA") /* Ed25519 */                                                                          \
    X(RS256, "RS256") /* RSASSA-PKCS1-v1_5 with SHA-256 */

enum signature_algorithm {
#define X(symbol, name) SIGNATURE_##symbol,
    SIGNATURE_ALGORITHMS(X)
#undef X
};
const char *signature_algorithm_name(enum signature_algorithm algorithm);

struct public_key;
/* One PEM block ("-----BEGIN PUBLIC KEY-----"). ERR_INVALID: not one, a private key, a key of another algorithm, or RSA of
   less than 2048 bits. */
MUST_CHECK enum err public_key_read(struct str pem, enum signature_algorithm algorithm,
                                    struct public_key **ret_key, struct errinfo *info);
/* The same from its numbers, big-endian: for EDDSA the 32 bytes in `first`; for RS256 modulus and exponent. */
MUST_CHECK enum err public_key_make(struct str first, struct str second, enum signature_algorithm algorithm,
                                    struct public_key **ret_key, struct errinfo *info);
void public_key_free(struct public_key *key);
bool public_key_verify(const struct public_key *key, struct str data, struct str signature);

#endif
