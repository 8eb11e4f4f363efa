/* SPDX-License-Identifier: Apache-2.0 */
/* A session's state as bytes: the blob, which clients may download and upload, and the seal that is kept beside it.

   blob   one version byte, then 1: the raw bytes; 2: one LZ4 frame of them. What the raw bytes are is the business of
          the pod that wrote them (a pickle): nothing here or above ever reads them.
   seal   SHA-256 and size of the blob, and an HMAC that binds them to a tenant, a session and a version under a named
          key. A blob is used only when its seal is whole: every cut and every changed bit is refused. */
#ifndef MILLRACE_IO_STATE_BLOB_H
#define MILLRACE_IO_STATE_BLOB_H

#include "base/buf.h"
#include "io/crypto.h"

enum { STATE_RAW = 1, STATE_LZ4 = 2 };

/* ---- packing, in pieces ---- */

struct state_packer;
/* `max_raw`: more raw bytes are ERR_FULL. NULL: no memory. */
struct state_packer *state_pack_begin(size_t max_raw);
MUST_CHECK enum err state_pack_add(struct state_packer *packer, struct str raw);
/* Moves the blob to *ret_blob (to be freed) and frees the packer, always. */
MUST_CHECK enum err state_pack_end(struct state_packer *packer, struct buf *ret_blob,
                                   struct sha256 *ret_hash);
void state_pack_drop(struct state_packer *packer); /* NULL is fine */

/* The raw bytes, at most out->max: ERR_FULL above; ERR_PROTOCOL: no blob of a known version, or damaged. */
MUST_CHECK enum err state_unpack(struct str blob, struct buf *out);
/* The same check without keeping them. `max_raw` bounds what it holds at a time, too. */
MUST_CHECK enum err state_check(struct str blob, size_t max_raw);

/* ---- the seal ---- */

enum { STATE_KEYS_MAX = 8, STATE_KEY_ID_MAX = 16, STATE_SEAL_TEXT_MAX = 256 };

struct state_keys { /* the first one signs, all of them verify */
    size_t count;
    struct {
        char id[STATE_KEY_ID_MAX + 1];
        struct sha256 secret;
    } key[STATE_KEYS_MAX];
};

/* `id` is 1 to STATE_KEY_ID_MAX of [A-Za-z0-9]; any text may be the secret. ERR_INVALID, ERR_FULL, ERR_EXISTS. */
MUST_CHECK enum err state_keys_add(struct state_keys *keys, struct str id, struct str secret);

/* The keys of STATE_KEYS ("id:secret"; one that is none is left out), without any one made of the id of the store. ERR_INVALID: there
   is none of that either. */
MUST_CHECK enum err state_keys_of(struct str store, const char *const *items, size_t count,
                                  struct state_keys *ret_keys);

struct state_scope {
    struct str tenant, session;
    uint64_t version;
};

struct state_seal {
    struct sha256 hash, mac;
    uint64_t size;
    char key_id[STATE_KEY_ID_MAX + 1];
};

/* `keys` has one at least. */
struct state_seal state_seal_make(const struct state_keys *keys, const struct state_scope *scope,
                                  const struct sha256 *hash, uint64_t size);
/* Is this seal ours, for this scope? ERR_DENIED. */
MUST_CHECK enum err state_seal_check(const struct state_keys *keys, const struct state_scope *scope,
                                     const struct state_seal *seal);
/* And is this the blob that it is about? ERR_PROTOCOL. */
MUST_CHECK enum err state_seal_blob(const struct state_seal *seal, struct str blob);

/* As it is kept: "<size> <hash> <key id> <mac>". One spelling only: what parses is written the same. ERR_PROTOCOL. */
void state_seal_write(const struct state_seal *seal, struct buf *out);
MUST_CHECK enum err state_seal_parse(struct str text, struct state_seal *ret_seal);

#endif
