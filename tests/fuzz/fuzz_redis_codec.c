/* SPDX-License-Identifier: Apache-2.0 */
/* Replies are trees within their bounds, or the stream ends; the same number whole and byte by byte. */
#include "fuzz.h"
#include "io/redis/codec.h"

static size_t count_values(const struct redis_value *v)
{
    size_t count = 1;
    MUST(v->type <= REDIS_ARRAY && (v->count == 0 || v->type == REDIS_ARRAY));
    for (size_t i = 0; i < v->count; i++)
        count += count_values(redis_item(v, i));
    MUST(redis_text(v).n == 0 || redis_text(v).p[redis_text(v).n] == '\0');
    return count;
}

static enum err read_all(struct redis_codec *codec, size_t *total)
{
    for (;;) {
        struct redis_value *value = NULL;
        enum err e = redis_codec_next(codec, &value);
        if (e != ERR_OK)
            return e;
        *total += count_values(value);
        redis_value_free(value);
    }
}

static size_t decode(struct str in, size_t step, enum err *ret_e)
{
    struct redis_codec *codec = redis_codec_new(1 << 20);
    MUST(codec != NULL);
    size_t total = 0;
    enum err e = ERR_AGAIN;
    for (size_t at = 0; at < in.n && e == ERR_AGAIN; at += step) {
        size_t piece = step < in.n - at ? step : in.n - at;
        e = redis_codec_feed(codec, (struct str){.p = in.p + at, .n = piece});
        if (e == ERR_OK)
            e = read_all(codec, &total);
        if (step == SIZE_MAX)
            break;
    }
    redis_codec_free(codec);
    *ret_e = e;
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    enum err whole, bytes;
    size_t total = decode(in, SIZE_MAX, &whole);
    MUST(total == decode(in, 1, &bytes));
    MUST(whole == bytes);
    return 0;
}
