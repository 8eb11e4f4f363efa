/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys as JSON (RFC 7517, RFC 8037): one key, or a set of them. Pure. */
#ifndef MILLRACE_API_JWK_H
#define MILLRACE_API_JWK_H

#include "io/public_key.h"

/* Fills `keys` from *count on, up to `max`. Of a set what is of another kind, algorithm or use is passed over, as the RFC wants it; a
   single key is refused for it, and so is a set with nothing else. ERR_INVALID also for what holds a private or symmetric key, which
   is never passed over: it does not belong here. On failure keys may have been added. */
MUST_CHECK enum err jwk_read(struct str text, enum signature_algorithm algorithm, struct public_key **keys,
                             size_t max, size_t *count, struct errinfo *info);

#endif
