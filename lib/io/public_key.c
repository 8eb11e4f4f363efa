/* SPDX-License-Identifier: Apache-2.0 */
#include "io/public_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
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

/* Takes `key`. */
static enum err bind(EVP_PKEY *key, enum signature_algorithm algorithm, struct public_key **ret_key,
                     struct errinfo *info)
{
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

enum err public_key_read(struct str pem, enum signature_algorithm algorithm, struct public_key **ret_key,
                         struct errinfo *info)
{
    EVP_PKEY *key = read_pem(pem);
    if (key == NULL)
        return errinfo_set(info, ERR_INVALID, 0, "not a public key in PEM (-----BEGIN PUBLIC KEY-----)");
    return bind(key, algorithm, ret_key, info);
}

static EVP_PKEY *make_rsa(struct str modulus, struct str exponent)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = BN_bin2bn((const unsigned char *)modulus.p, (int)modulus.n, NULL);
    BIGNUM *e = BN_bin2bn((const unsigned char *)exponent.p, (int)exponent.n, NULL);
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    if (n != NULL && e != NULL && parts != NULL &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(parts);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(parts);
    BN_free(e);
    BN_free(n);
    return key;
}

enum err public_key_make(struct str first, struct str second, enum signature_algorithm algorithm,
                         struct public_key **ret_key, struct errinfo *info)
{
    EVP_PKEY *key = NULL;
    if (first.n == 0 || first.n > PEM_MAX || second.n > PEM_MAX)
        return errinfo_set(info, ERR_INVALID, 0, "not a public key");
    if (algorithm == SIGNATURE_RS256)
        key = second.n > 0 ? make_rsa(first, second) : NULL;
    else
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)first.p, first.n);
    ERR_clear_error();
    return key != NULL
               ? bind(key, algorithm, ret_key, info)
               : errinfo_set(info, ERR_INVALID, 0, "not a public key for %s", algorithms[algorithm].name);
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
