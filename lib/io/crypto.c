/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void need(bool ok)
{
    if (!ok)
        abort();
}

struct sha256 sha256_of(struct str data)
{
    struct sha256 hash;
    unsigned len = 0;
    need(EVP_Digest(data.p ? data.p : "", data.n, hash.bytes, &len, EVP_sha256(), NULL) == 1 &&
         len == SHA256_LEN);
    return hash;
}

void sha1_of(struct str data, unsigned char ret_hash[20])
{
    unsigned len = 0;
    need(EVP_Digest(data.p ? data.p : "", data.n, ret_hash, &len, EVP_sha1(), NULL) == 1 && len == 20);
}

struct sha256 hmac_sha256(struct str key, struct str data)
{
    struct sha256 hash;
    unsigned len = 0;
    need(key.n <= INT32_MAX);
    need(HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const unsigned char *)(data.p ? data.p : ""),
              data.n, hash.bytes, &len) &&
         len == SHA256_LEN);
    return hash;
}

static void write_hex(const unsigned char *bytes, size_t count, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        ret_hex[2 * i] = digits[bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_hex[2 * count] = '\0';
}

void sha256_hex(const struct sha256 *hash, char ret_hex[SHA256_HEX_LEN + 1])
{
    write_hex(hash->bytes, SHA256_LEN, ret_hex);
}

void sha1_hex(struct str data, char ret_hex[41])
{
    unsigned char hash[20];
    sha1_of(data, hash);
    write_hex(hash, sizeof hash, ret_hex);
}

struct sha256_state *sha256_begin(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    need(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    return (struct sha256_state *)(void *)ctx;
}

void sha256_add(struct sha256_state *state, struct str data)
{
    need(EVP_DigestUpdate((EVP_MD_CTX *)(void *)state, data.p ? data.p : "", data.n) == 1);
}

struct sha256 sha256_end(struct sha256_state *state)
{
    struct sha256 hash;
    unsigned len = 0;
    need(EVP_DigestFinal_ex((EVP_MD_CTX *)(void *)state, hash.bytes, &len) == 1);
    sha256_drop(state);
    return hash;
}

void sha256_drop(struct sha256_state *state)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)(void *)state);
}

void random_bytes(void *out, size_t len)
{
    char *p = out;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        need(got > 0);
        p += got;
        len -= (size_t)got;
    }
}

bool equal_constant_time(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err sha256_parse(struct str hex, struct sha256 *ret_hash)
{
    struct sha256 hash;
    if (hex.n != SHA256_HEX_LEN)
        return ERR_INVALID;
    for (size_t i = 0; i < SHA256_LEN; i++) {
        int high = hex_digit(hex.p[2 * i]), low = hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        hash.bytes[i] = (unsigned char)(high << 4 | low);
    }
    *ret_hash = hash;
    return ERR_OK;
}
