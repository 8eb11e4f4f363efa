/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lz4.h"

#include <lz4frame.h>
#include <stdlib.h>

enum { PIECE = 64 * 1024 };

struct lz4_writer {
    LZ4F_cctx *context;
};

static const LZ4F_preferences_t preferences = {
    .frameInfo = {.blockSizeID = LZ4F_max64KB, .contentChecksumFlag = LZ4F_contentChecksumEnabled},
};

void lz4_drop(struct lz4_writer *writer)
{
    if (writer == NULL)
        return;
    LZ4F_freeCompressionContext(writer->context);
    free(writer);
}

/* Takes what a call of the library wrote behind out->len. */
static enum err taken(struct buf *out, size_t written)
{
    if (LZ4F_isError(written))
        return ERR_NOMEM;
    out->len += written;
    return ERR_OK;
}

enum err lz4_begin(struct lz4_writer **ret_writer, struct buf *out)
{
    struct lz4_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return ERR_NOMEM;
    char *room = buf_reserve(out, LZ4F_HEADER_SIZE_MAX);
    enum err e = room == NULL ? buf_status(out) : ERR_OK;
    if (e == ERR_OK && LZ4F_isError(LZ4F_createCompressionContext(&writer->context, LZ4F_VERSION)))
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = taken(out, LZ4F_compressBegin(writer->context, room, LZ4F_HEADER_SIZE_MAX, &preferences));
    if (e != ERR_OK)
        lz4_drop(writer);
    else
        *ret_writer = writer;
    return e;
}

enum err lz4_add(struct lz4_writer *writer, struct str data, struct buf *out)
{
    while (data.n > 0) {
        size_t piece = data.n < PIECE ? data.n : PIECE;
        size_t bound = LZ4F_compressBound(piece, &preferences);
        char *room = buf_reserve(out, bound);
        if (room == NULL)
            return buf_status(out);
        enum err e = taken(out, LZ4F_compressUpdate(writer->context, room, bound, data.p, piece, NULL));
        if (e != ERR_OK)
            return e;
        data = (struct str){data.p + piece, data.n - piece};
    }
    return ERR_OK;
}

enum err lz4_end(struct lz4_writer *writer, struct buf *out)
{
    size_t bound = LZ4F_compressBound(0, &preferences);
    char *room = buf_reserve(out, bound);
    enum err e =
        room == NULL ? buf_status(out) : taken(out, LZ4F_compressEnd(writer->context, room, bound, NULL));
    lz4_drop(writer);
    return e;
}

/* Until the frame ends, its input is used up, or the bound is passed. */
static enum err unpack(LZ4F_dctx *context, struct str frame, struct buf *out)
{
    size_t hint = 1;
    while (hint != 0) {
        size_t left = out->max - out->len;
        size_t room = left < PIECE ? left + 1 : PIECE; /* one more shows that there is more */
        char spare[PIECE];
        char *to = left < PIECE ? spare : buf_reserve(out, PIECE);
        if (to == NULL)
            return buf_status(out);
        size_t used = frame.n;
        hint = LZ4F_decompress(context, to, &room, frame.p, &used, NULL);
        if (LZ4F_isError(hint) || (used == 0 && room == 0 && hint != 0))
            return ERR_PROTOCOL;
        if (room > left)
            return ERR_FULL;
        if (to == spare)
            buf_append(out, spare, room);
        else
            out->len += room;
        frame = (struct str){frame.p + used, frame.n - used};
    }
    return frame.n == 0 ? buf_status(out) : ERR_PROTOCOL;
}

enum err lz4_unpack(struct str frame, struct buf *out)
{
    LZ4F_dctx *context;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return ERR_NOMEM;
    enum err e = unpack(context, frame, out);
    LZ4F_freeDecompressionContext(context);
    return e;
}
