/* SPDX-License-Identifier: Apache-2.0 */
#include "api/jwk.h"

#include "base/base64.h"
#include "json/json.h"

enum { NUMBER_MAX = 2048 }; /* bytes: RSA of 16384 bits */

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? (struct str){json_string_value(value), json_string_length(value)}
                                 : (struct str){NULL, 0};
}

/* What a key of each algorithm says it is, and the members that it is made of. */
static const struct {
    const char *type, *curve, *first, *second;
} shapes[] = {
    [SIGNATURE_EDDSA] = {"OKP", "Ed25519", "x", NULL},
    [SIGNATURE_RS256] = {"RSA", NULL, "n", "e"},
};

static bool may_verify(const json_t *key)
{
    const json_t *list = json_object_get(key, "key_ops");
    if (list == NULL)
        return true;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) &&
            str_eq(str_of(json_string_value(json_array_get(list, i))), STR("verify")))
            return true;
    return false;
}

/* An absent member is as good as the one that is wanted. */
static bool is_or_absent(const json_t *key, const char *name, const char *wanted)
{
    return json_object_get(key, name) == NULL || str_eq(text_of(key, name), str_of(wanted));
}

static enum err check_kind(const json_t *key, enum signature_algorithm algorithm, struct errinfo *info)
{
    const char *curve = shapes[algorithm].curve;
    if (!str_eq(text_of(key, "kty"), str_of(shapes[algorithm].type)) ||
        (curve != NULL && !str_eq(text_of(key, "crv"), str_of(curve))))
        return errinfo_set(info, ERR_INVALID, 0, "kty: %s needs a key of the type %s%s%s",
                           signature_algorithm_name(algorithm), shapes[algorithm].type,
                           curve != NULL ? " on the curve " : "", curve != NULL ? curve : "");
    if (!is_or_absent(key, "alg", signature_algorithm_name(algorithm)))
        return errinfo_set(info, ERR_INVALID, 0, "alg: must be %s", signature_algorithm_name(algorithm));
    if (!is_or_absent(key, "use", "sig") || !may_verify(key))
        return errinfo_set(info, ERR_INVALID, 0, "use, key_ops: the key is not for verifying");
    return ERR_OK;
}

static enum err add(const json_t *key, enum signature_algorithm algorithm, struct public_key **ret_key,
                    struct errinfo *info)
{
    auto_buf first = BUF_INIT(NUMBER_MAX), second = BUF_INIT(NUMBER_MAX);
    const char *names[] = {shapes[algorithm].first, shapes[algorithm].second};
    struct buf *parts[] = {&first, &second};
    for (size_t i = 0; i < 2 && names[i] != NULL; i++)
        if (text_of(key, names[i]).n == 0 || base64url_decode(parts[i], text_of(key, names[i])) != ERR_OK)
            return errinfo_set(info, ERR_INVALID, 0, "%s: must be base64url without padding", names[i]);
    return public_key_make(buf_str(&first), buf_str(&second), algorithm, ret_key, info);
}

static enum err check_public(const json_t *key, struct errinfo *info)
{
    if (!json_is_object(key))
        return errinfo_set(info, ERR_INVALID, 0, "a key must be an object");
    if (json_object_get(key, "d") != NULL || json_object_get(key, "k") != NULL)
        return errinfo_set(info, ERR_INVALID, 0,
                           "there is a private key (d or k); give the public members only");
    return ERR_OK;
}

static enum err add_set(const json_t *list, enum signature_algorithm algorithm, struct public_key **keys,
                        size_t max, size_t *count, struct errinfo *info)
{
    size_t before = *count;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *key = json_array_get(list, i);
        struct errinfo why;
        if (check_public(key, info) != ERR_OK)
            return ERR_INVALID;
        if (check_kind(key, algorithm, &why) != ERR_OK)
            continue;
        if (*count == max)
            return errinfo_set(info, ERR_INVALID, 0, "more than %zu keys", max);
        if (add(key, algorithm, &keys[*count], info) != ERR_OK)
            return ERR_INVALID;
        ++*count;
    }
    if (*count == before)
        return errinfo_set(info, ERR_INVALID, 0, "the set has no key for %s",
                           signature_algorithm_name(algorithm));
    return ERR_OK;
}

enum err jwk_read(struct str text, enum signature_algorithm algorithm, struct public_key **keys, size_t max,
                  size_t *count, struct errinfo *info)
{
    auto_json root = NULL;
    if (json_parse(text, &root, info) != ERR_OK)
        return ERR_INVALID;
    const json_t *list = json_object_get(root, "keys");
    if (json_is_array(list))
        return add_set(list, algorithm, keys, max, count, info);
    if (check_public(root, info) != ERR_OK || check_kind(root, algorithm, info) != ERR_OK)
        return ERR_INVALID;
    if (*count == max)
        return errinfo_set(info, ERR_INVALID, 0, "more than %zu keys", max);
    enum err e = add(root, algorithm, &keys[*count], info);
    *count += e == ERR_OK;
    return e;
}
