/* SPDX-License-Identifier: Apache-2.0 */
/* What a store, or a client's upload, may hold: unpacking stays within its bound, and what unpacks packs again to the
   same content. */
#include "fuzz.h"
#include "io/state_blob.h"

#include <string.h>

enum { MAX = 64 * 1024 };

static void seal(struct str text)
{
    struct state_seal seal;
    auto_buf again = BUF_INIT(STATE_SEAL_TEXT_MAX);
    if (state_seal_parse(text, &seal) != ERR_OK)
        return;
    state_seal_write(&seal, &again);
    MUST(str_eq(buf_str(&again), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str blob = {(const char *)data, size};
    auto_buf raw = BUF_INIT(MAX), packed = BUF_INIT(0), again = BUF_INIT(MAX);
    struct sha256 hash;
    seal(blob);
    if (state_unpack(blob, &raw) != ERR_OK)
        return 0;
    MUST(raw.len <= MAX);
    struct state_packer *packer = state_pack_begin(MAX);
    MUST(packer != NULL && state_pack_add(packer, buf_str(&raw)) == ERR_OK);
    MUST(state_pack_end(packer, &packed, &hash) == ERR_OK);
    if (raw.len > 0)
        MUST(state_unpack(buf_str(&packed), &again) == ERR_OK && str_eq(buf_str(&raw), buf_str(&again)));
    return 0;
}
