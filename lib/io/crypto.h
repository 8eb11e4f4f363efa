/* SPDX-License-Identifier: Apache-2.0 */
/* The few primitives we need, from OpenSSL's libcrypto. Failure of one of them is a broken installation: they abort. */
#ifndef MILLRACE_IO_CRYPTO_H
#define MILLRACE_IO_CRYPTO_H

#include "base/str.h"

enum { SHA256_LEN = 32, SHA256_HEX_LEN = 64 };

struct sha256 {
    unsigned char bytes[SHA256_LEN];
};

struct sha256 sha256_of(struct str data);
struct sha256 hmac_sha256(struct str key, struct str data);
/* Lower-case, NUL-terminated. */
void sha256_hex(const struct sha256 *hash, char ret_hex[SHA256_HEX_LEN + 1]);
/* Its reverse, small letters only. ERR_INVALID. */
MUST_CHECK enum err sha256_parse(struct str hex, struct sha256 *ret_hash);

/* A hash over many pieces. */
struct sha256_state;
struct sha256_state *sha256_begin(void);
void sha256_add(struct sha256_state *state, struct str data);
struct sha256 sha256_end(struct sha256_state *state); /* frees it */
void sha256_drop(struct sha256_state *state);         /* frees it; NULL is fine */

/* SHA-1, for the handshake of WebSocket, and to name scripts as Redis does. */
void sha1_of(struct str data, unsigned char ret_hash[20]);
void sha1_hex(struct str data, char ret_hex[41]);

void random_bytes(void *out, size_t len);

/* True when equal; the time taken depends on the lengths only. */
bool equal_constant_time(struct str a, struct str b);

#endif
