/* SPDX-License-Identifier: Apache-2.0 */
/* RESP2 as values, bounded; pure. hiredis reads, this makes the tree. */
#ifndef MILLRACE_IO_REDIS_CODEC_H
#define MILLRACE_IO_REDIS_CODEC_H

#include "base/buf.h"
#include "io/redis/redis.h"

struct redis_codec;

/* NULL without memory. At most max_bytes of one reply are held. */
struct redis_codec *redis_codec_new(size_t max_bytes);
void redis_codec_free(struct redis_codec *codec);

MUST_CHECK enum err redis_codec_feed(struct redis_codec *codec, struct str bytes);
/* ERR_OK: *ret_value is a whole reply, to be freed with redis_value_free; ERR_AGAIN: feed more; ERR_PROTOCOL,
   ERR_NOMEM: the stream can not be read any further. */
MUST_CHECK enum err redis_codec_next(struct redis_codec *codec, struct redis_value **ret_value);
void redis_value_free(struct redis_value *value);

void redis_format(struct buf *out, const struct str *args, size_t count);

#endif
