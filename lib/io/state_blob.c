/* SPDX-License-Identifier: Apache-2.0 */
#include "io/state_blob.h"

#include "base/log.h"
#include "io/lz4.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- packing ---- */

enum { RAW_MAX = 512 }; /* up to here a frame would cost more than it saves */

struct state_packer {
    size_t max_raw, raw;
    struct buf blob;
    struct lz4_writer *frame; /* NULL: raw so far */
    struct sha256_state
        *hash; /* of the first `hashed` bytes of the blob; it grows with it, so that its end takes no time */
    size_t hashed;
};

struct state_packer *state_pack_begin(size_t max_raw)
{
    struct state_packer *packer = calloc(1, sizeof *packer);
    if (packer == NULL)
        return NULL;
    packer->max_raw = max_raw;
    packer->hash = sha256_begin();
    packer->blob = BUF_INIT(max_raw + max_raw / 64 + 128 * 1024); /* what does not compress grows a little */
    buf_append_char(&packer->blob, STATE_RAW);
    return packer;
}

void state_pack_drop(struct state_packer *packer)
{
    if (packer == NULL)
        return;
    lz4_drop(packer->frame);
    sha256_drop(packer->hash);
    buf_free(&packer->blob);
    free(packer);
}

/* What is there so far becomes the beginning of a frame. */
static enum err begin_frame(struct state_packer *packer)
{
    char first[RAW_MAX + 1];
    size_t n = packer->blob.len;
    memcpy(first, packer->blob.data, n);
    buf_reset(&packer->blob);
    buf_append_char(&packer->blob, STATE_LZ4);
    enum err e = lz4_begin(&packer->frame, &packer->blob);
    return e == ERR_OK ? lz4_add(packer->frame, (struct str){first + 1, n - 1}, &packer->blob) : e;
}

static void hash_on(struct state_packer *packer)
{
    struct str blob = buf_str(&packer->blob);
    sha256_add(packer->hash, (struct str){blob.p + packer->hashed, blob.n - packer->hashed});
    packer->hashed = blob.n;
}

enum err state_pack_add(struct state_packer *packer, struct str raw)
{
    if (raw.n > packer->max_raw - packer->raw)
        return ERR_FULL;
    packer->raw += raw.n;
    if (packer->frame == NULL && packer->raw <= RAW_MAX) {
        buf_append_str(&packer->blob, raw);
        return buf_status(&packer->blob);
    }
    enum err e = packer->frame == NULL ? begin_frame(packer) : ERR_OK;
    if (e == ERR_OK)
        e = lz4_add(packer->frame, raw, &packer->blob);
    hash_on(packer);
    return e;
}

enum err state_pack_end(struct state_packer *packer, struct buf *ret_blob, struct sha256 *ret_hash)
{
    enum err e = ERR_OK;
    if (packer->frame != NULL) {
        e = lz4_end(packer->frame, &packer->blob);
        packer->frame = NULL;
    }
    if (e == ERR_OK)
        e = buf_status(&packer->blob);
    if (e == ERR_OK) {
        hash_on(packer);
        *ret_hash = sha256_end(packer->hash);
        packer->hash = NULL;
        *ret_blob = packer->blob;
        packer->blob = BUF_INIT(0);
    }
    state_pack_drop(packer);
    return e;
}

enum err state_unpack(struct str blob, struct buf *out)
{
    if (blob.n < 2)
        return ERR_PROTOCOL;
    struct str body = {blob.p + 1, blob.n - 1};
    if (blob.p[0] == STATE_LZ4)
        return lz4_unpack(body, out);
    if (blob.p[0] != STATE_RAW)
        return ERR_PROTOCOL;
    buf_append_str(out, body);
    return buf_status(out);
}

enum err state_check(struct str blob, size_t max_raw)
{
    auto_buf raw = BUF_INIT(max_raw);
    return state_unpack(blob, &raw);
}

/* ---- keys ---- */

static bool key_id_valid(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return false;
    }
    return id.n > 0 && id.n <= STATE_KEY_ID_MAX;
}

static const struct sha256 *secret_of(const struct state_keys *keys, const char *id)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->key[i].id, id) == 0)
            return &keys->key[i].secret;
    return NULL;
}

enum err state_keys_add(struct state_keys *keys, struct str id, struct str secret)
{
    char name[STATE_KEY_ID_MAX + 1] = "";
    if (!key_id_valid(id) || secret.n == 0)
        return ERR_INVALID;
    memcpy(name, id.p, id.n);
    if (secret_of(keys, name) != NULL)
        return ERR_EXISTS;
    if (keys->count == STATE_KEYS_MAX)
        return ERR_FULL;
    memcpy(keys->key[keys->count].id, name, sizeof name);
    keys->key[keys->count++].secret = hmac_sha256(STR("millrace state key"), secret);
    return ERR_OK;
}

enum err state_keys_of(struct str store, const char *const *items, size_t count, struct state_keys *ret_keys)
{
    struct state_keys keys = {0};
    for (size_t i = 0; i < count; i++) {
        struct str secret = str_of(items[i]);
        struct str id = str_split(&secret, ':');
        if (state_keys_add(&keys, id, secret) != ERR_OK)
            log_error("a key of STATE_KEYS is left out", F_INT("key", (int64_t)i + 1));
    }
    enum err e = keys.count == 0 ? state_keys_add(&keys, STR("store"), store) : ERR_OK;
    if (e == ERR_OK)
        *ret_keys = keys;
    return e;
}

/* ---- the seal ---- */

/* Every field has its length before it, so that no two scopes have the same text. */
static struct sha256 mac_of(const struct sha256 *secret, const struct state_scope *scope,
                            const struct state_seal *seal)
{
    auto_buf text = BUF_INIT(4096);
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(&seal->hash, hex);
    buf_printf(&text, "millrace state 1\n%s\n%s %" PRIu64 "\n%" PRIu64 "\n%zu ", seal->key_id, hex,
               seal->size, scope->version, scope->session.n);
    buf_append_str(&text, scope->session);
    buf_printf(&text, "\n%zu ", scope->tenant.n);
    buf_append_str(&text, scope->tenant);
    if (buf_status(&text) != ERR_OK)
        abort(); /* names are bounded long before */
    return hmac_sha256((struct str){(const char *)secret->bytes, SHA256_LEN}, buf_str(&text));
}

struct state_seal state_seal_make(const struct state_keys *keys, const struct state_scope *scope,
                                  const struct sha256 *hash, uint64_t size)
{
    struct state_seal seal = {.hash = *hash, .size = size};
    if (keys->count == 0)
        abort();
    memcpy(seal.key_id, keys->key[0].id, sizeof seal.key_id);
    seal.mac = mac_of(&keys->key[0].secret, scope, &seal);
    return seal;
}

static bool same(const struct sha256 *a, const struct sha256 *b)
{
    return equal_constant_time((struct str){(const char *)a->bytes, SHA256_LEN},
                               (struct str){(const char *)b->bytes, SHA256_LEN});
}

enum err state_seal_check(const struct state_keys *keys, const struct state_scope *scope,
                          const struct state_seal *seal)
{
    const struct sha256 *secret = secret_of(keys, seal->key_id);
    if (secret == NULL)
        return ERR_DENIED;
    struct sha256 mac = mac_of(secret, scope, seal);
    return same(&mac, &seal->mac) ? ERR_OK : ERR_DENIED;
}

enum err state_seal_blob(const struct state_seal *seal, struct str blob)
{
    struct sha256 hash = sha256_of(blob);
    return blob.n == seal->size && same(&hash, &seal->hash) ? ERR_OK : ERR_PROTOCOL;
}

void state_seal_write(const struct state_seal *seal, struct buf *out)
{
    char hash[SHA256_HEX_LEN + 1], mac[SHA256_HEX_LEN + 1];
    sha256_hex(&seal->hash, hash);
    sha256_hex(&seal->mac, mac);
    buf_printf(out, "%" PRIu64 " %s %s %s", seal->size, hash, seal->key_id, mac);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash(struct str hex, struct sha256 *ret_hash)
{
    if (hex.n != SHA256_HEX_LEN)
        return false;
    for (size_t i = 0; i < SHA256_LEN; i++) {
        int high = digit(hex.p[2 * i]), low = digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_hash->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

enum err state_seal_parse(struct str text, struct state_seal *ret_seal)
{
    struct state_seal seal = {0};
    struct str rest = text;
    struct str size = str_split(&rest, ' '), hash = str_split(&rest, ' '), id = str_split(&rest, ' ');
    if (rest.p == NULL || !key_id_valid(id) || !parse_hash(hash, &seal.hash) ||
        !parse_hash(rest, &seal.mac) || str_to_u64(size, &seal.size) != ERR_OK)
        return ERR_PROTOCOL;
    memcpy(seal.key_id, id.p, id.n);
    auto_buf again = BUF_INIT(STATE_SEAL_TEXT_MAX);
    state_seal_write(&seal, &again);
    if (!str_eq(buf_str(&again), text))
        return ERR_PROTOCOL;
    *ret_seal = seal;
    return ERR_OK;
}
