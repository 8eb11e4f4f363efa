/* SPDX-License-Identifier: Apache-2.0 */
#include "io/public_key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

enum { RSA_BITS_MIN = 2048, PEM_MAX = 16 * 1024 };

struct public_key {
    EVP_PKEY *key;
    enum signature_algorithm algorithm;
};

/* What a key of the algorithm is. */
static const struct {
    const char *name, *kind;
    int type, bits_min;
} algorithms[] = {
    [SIGNATURE_EDDSA] = {"EdDSA", "Ed25519", EVP_PKEY_ED25519, 0},
    [SIGNATURE_RS256] = {"RS256", "RSA of 2048 bits or more", EVP_PKEY_RSA, RSA_BITS_MIN},
};

const char *signature_algorithm_name(enum signature_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

static EVP_PKEY *read_pem(struct str pem)
{
    if (pem.n == 0 || pem.n > PEM_MAX)
        return NULL;
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

enum err public_key_read(struct str pem, enum signature_algorithm algorithm, struct public_key **ret_key,
                         struct errinfo *info)
{
    EVP_PKEY *key = read_pem(pem);
    if (key == NULL)
        return errinfo_set(info, ERR_INVALID, 0, "not a public key in PEM (-----BEGIN PUBLIC KEY-----)");
    if (EVP_PKEY_get_base_id(key) != algorithms[algorithm].type ||
        EVP_PKEY_get_bits(key) < algorithms[algorithm].bits_min) {
        EVP_PKEY_free(key);
        return errinfo_set(info, ERR_INVALID, 0, "%s needs a key that is %s", algorithms[algorithm].name,
                           algorithms[algorithm].kind);
    }
    struct public_key *made = malloc(sizeof *made);
    if (made == NULL) {
        EVP_PKEY_free(key);
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    }
    *made = (struct public_key){.key = key, .algorithm = algorithm};
    *ret_key = made;
    return ERR_OK;
}

void public_key_free(struct public_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

bool public_key_verify(const struct public_key *key, struct str data, struct str signature)
{
    const EVP_MD *digest = key->algorithm == SIGNATURE_RS256 ? EVP_sha256() : NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key->key) == 1 &&
                EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n,
                                 (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}
