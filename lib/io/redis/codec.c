/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis/codec.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ELEMENTS = 1 << 20 };

struct redis_codec {
    redisReader *reader;
    size_t max_bytes;
};

/* ---- the tree: one allocation for each array and each text, the root besides ---- */

static struct redis_value *slot_of(const redisReadTask *task)
{
    if (!task->parent)
        return calloc(1, sizeof(struct redis_value));
    struct redis_value *parent = task->parent->obj;
    return &parent->items[task->idx];
}

static enum redis_type text_type(int type)
{
    if (type == REDIS_REPLY_ERROR)
        return REDIS_ERROR;
    return type == REDIS_REPLY_STATUS ? REDIS_STATUS : REDIS_STRING;
}

/* A failure inside leaves the slot a nil; only a root of our own is freed, the rest belongs to hiredis' root. */
static void *fail(const redisReadTask *task, struct redis_value *slot)
{
    if (!task->parent)
        free(slot);
    return NULL;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct redis_value *v = slot_of(task);
    char *copy = v ? malloc(len + 1) : NULL;
    if (!copy)
        return fail(task, v);
    memcpy(copy, text, len);
    copy[len] = '\0';
    *v = (struct redis_value){.type = text_type(task->type), .text = {copy, len}};
    return v;
}

static void *create_array(const redisReadTask *task, int count)
{
    struct redis_value *v = slot_of(task);
    if (!v || count < 0 || count > MAX_ELEMENTS)
        return fail(task, v);
    v->items = calloc(count ? (size_t)count : 1, sizeof *v->items);
    if (!v->items)
        return fail(task, v);
    v->type = REDIS_ARRAY;
    v->count = (size_t)count;
    return v;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct redis_value *v = slot_of(task);
    if (v)
        *v = (struct redis_value){.type = REDIS_INTEGER, .integer = value};
    return v;
}

static void *create_nil(const redisReadTask *task)
{
    return slot_of(task);
}

static void release(struct redis_value *v)
{
    for (size_t i = 0; i < v->count; i++)
        release(&v->items[i]); /* depth is bounded by hiredis */
    free(v->items);
    union {
        const char *shared;
        char *own;
    } text = {v->text.p};
    free(text.own);
}

static void free_root(void *v)
{
    redis_value_free(v);
}

void redis_value_free(struct redis_value *value)
{
    if (!value)
        return;
    release(value);
    free(value);
}

/* ---- codec ---- */

struct redis_codec *redis_codec_new(size_t max_bytes)
{
    static redisReplyObjectFunctions functions = {
        .createString = create_string,
        .createArray = create_array,
        .createInteger = create_integer,
        .createNil = create_nil,
        .freeObject = free_root,
    };
    struct redis_codec *codec = calloc(1, sizeof *codec);
    if (!codec)
        return NULL;
    codec->max_bytes = max_bytes;
    codec->reader = redisReaderCreateWithFunctions(&functions);
    if (codec->reader)
        return codec;
    free(codec);
    return NULL;
}

void redis_codec_free(struct redis_codec *codec)
{
    if (!codec)
        return;
    redisReaderFree(codec->reader);
    free(codec);
}

enum err redis_codec_feed(struct redis_codec *codec, struct str bytes)
{
    if (codec->reader->len - codec->reader->pos + bytes.n > codec->max_bytes)
        return ERR_FULL;
    return redisReaderFeed(codec->reader, bytes.p, bytes.n) == REDIS_OK ? ERR_OK : ERR_NOMEM;
}

enum err redis_codec_next(struct redis_codec *codec, struct redis_value **ret_value)
{
    void *value = NULL;
    if (redisReaderGetReply(codec->reader, &value) != REDIS_OK)
        return codec->reader->err == REDIS_ERR_OOM ? ERR_NOMEM : ERR_PROTOCOL;
    if (!value)
        return ERR_AGAIN;
    *ret_value = value;
    return ERR_OK;
}

void redis_format(struct buf *out, const struct str *args, size_t count)
{
    buf_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "$%zu\r\n", args[i].n);
        buf_append_str(out, args[i]);
        buf_append(out, "\r\n", 2);
    }
}

/* ---- accessors ---- */

const struct redis_value *redis_item(const struct redis_value *v, size_t index)
{
    static const struct redis_value nil = {.type = REDIS_NIL};
    return v && v->type == REDIS_ARRAY && index < v->count ? &v->items[index] : &nil;
}

struct str redis_text(const struct redis_value *v)
{
    return v ? v->text : (struct str){0};
}

int64_t redis_integer(const struct redis_value *v)
{
    int64_t value = 0;
    if (v && v->type == REDIS_INTEGER)
        return v->integer;
    if (v && v->type == REDIS_STRING && str_to_i64(v->text, &value) == ERR_OK)
        return value;
    return 0;
}
