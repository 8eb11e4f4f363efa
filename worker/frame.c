/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/frame.h"

#include <assert.h>
#include <string.h>

static void put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static void put_u64(uint8_t *out, uint64_t v)
{
    put_u32(out, (uint32_t)v);
    put_u32(out + 4, (uint32_t)(v >> 32));
}

static uint32_t get_u32(const char *in)
{
    uint32_t v = 0;
    for (int i = 3; i >= 0; i--)
        v = v << 8 | (uint8_t)in[i];
    return v;
}

static uint64_t get_u64(const char *in)
{
    return (uint64_t)get_u32(in + 4) << 32 | get_u32(in);
}

void frame_put_header(uint8_t out[FRAME_HEADER_SIZE], enum frame_type type, size_t length)
{
    assert(length <= FRAME_PAYLOAD_MAX);
    put_u32(out, (uint32_t)length);
    out[4] = (uint8_t)type;
    out[5] = out[6] = out[7] = 0;
}

enum err frame_take(struct str data, struct frame *ret_frame, size_t *ret_used)
{
    if (data.n < FRAME_HEADER_SIZE)
        return ERR_AGAIN;
    uint32_t length = get_u32(data.p);
    if (length > FRAME_PAYLOAD_MAX || data.p[5] != 0 || data.p[6] != 0 || data.p[7] != 0)
        return ERR_PROTOCOL;
    if (data.n - FRAME_HEADER_SIZE < length)
        return ERR_AGAIN;
    ret_frame->type = (uint8_t)data.p[4];
    ret_frame->payload = (struct str){.p = data.p + FRAME_HEADER_SIZE, .n = length};
    *ret_used = FRAME_HEADER_SIZE + (size_t)length;
    return ERR_OK;
}

void frame_append(struct buf *out, enum frame_type type, const void *payload, size_t length)
{
    const char *p = payload;
    do {
        size_t piece = length < FRAME_PAYLOAD_MAX ? length : FRAME_PAYLOAD_MAX;
        uint8_t header[FRAME_HEADER_SIZE];
        frame_put_header(header, type, piece);
        buf_append(out, header, sizeof header);
        buf_append(out, p, piece);
        length -= piece;
        p = length > 0 ? p + piece : p;
    } while (length > 0);
}

void frame_append_u32(struct buf *out, enum frame_type type, uint32_t value)
{
    uint8_t bytes[4];
    put_u32(bytes, value);
    frame_append(out, type, bytes, sizeof bytes);
}

enum err frame_get_u32(struct str payload, uint32_t *ret_value)
{
    if (payload.n != 4)
        return ERR_PROTOCOL;
    *ret_value = get_u32(payload.p);
    return ERR_OK;
}

void frame_put_exit(uint8_t out[FRAME_EXIT_SIZE], const struct frame_exit *in)
{
    put_u32(out, (uint32_t)in->exit_code);
    put_u32(out + 4, (uint32_t)in->signal);
    put_u32(out + 8, in->end);
    put_u32(out + 12, in->processes);
    put_u64(out + 16, in->wall_ns);
    put_u64(out + 24, in->user_ns);
    put_u64(out + 32, in->system_ns);
    put_u64(out + 40, in->max_rss_bytes);
    put_u32(out + 48, in->counted);
    put_u32(out + 52, in->files);
    put_u64(out + 56, in->pod_cpu_ns);
    put_u64(out + 64, in->pod_peak_bytes);
    put_u64(out + 72, in->pod_oom_kills);
}

enum err frame_get_exit(struct str payload, struct frame_exit *ret_exit)
{
    const char *p = payload.p;
    if (payload.n != FRAME_EXIT_SIZE || get_u32(p + 52) > 1)
        return ERR_PROTOCOL;
    *ret_exit = (struct frame_exit){
        .exit_code = (int32_t)get_u32(p),
        .signal = (int32_t)get_u32(p + 4),
        .end = get_u32(p + 8),
        .processes = get_u32(p + 12),
        .wall_ns = get_u64(p + 16),
        .user_ns = get_u64(p + 24),
        .system_ns = get_u64(p + 32),
        .max_rss_bytes = get_u64(p + 40),
        .counted = get_u32(p + 48),
        .files = get_u32(p + 52),
        .pod_cpu_ns = get_u64(p + 56),
        .pod_peak_bytes = get_u64(p + 64),
        .pod_oom_kills = get_u64(p + 72),
    };
    return ERR_OK;
}

/* ---- files ---- */

enum { COLLECT_HEAD = 32, FILE_HEAD = 20 };

void frame_put_collect(struct buf *out, const struct frame_collect *in)
{
    uint8_t head[COLLECT_HEAD];
    put_u64(head, in->max_files);
    put_u64(head + 8, in->max_file_bytes);
    put_u64(head + 16, in->max_bytes);
    put_u64(head + 24, in->all);
    buf_append(out, head, sizeof head);
    buf_append_str(out, in->skip);
}

enum err frame_get_collect(struct str payload, struct frame_collect *ret_collect)
{
    const char *p = payload.p;
    if (payload.n < COLLECT_HEAD || (payload.n > COLLECT_HEAD && p[payload.n - 1] != '\0'))
        return ERR_PROTOCOL;
    *ret_collect = (struct frame_collect){.max_files = get_u64(p),
                                          .max_file_bytes = get_u64(p + 8),
                                          .max_bytes = get_u64(p + 16),
                                          .all = get_u64(p + 24) != 0,
                                          .skip = {p + COLLECT_HEAD, payload.n - COLLECT_HEAD}};
    return ERR_OK;
}

void frame_put_file(struct buf *out, const struct frame_file *in)
{
    uint8_t head[FILE_HEAD];
    put_u64(head, in->size);
    put_u64(head + 8, (uint64_t)in->time_ms);
    put_u32(head + 16, in->flags);
    buf_append(out, head, sizeof head);
    buf_append_str(out, in->path);
}

enum err frame_get_file(struct str payload, struct frame_file *ret_file)
{
    const char *p = payload.p;
    if (payload.n < FILE_HEAD)
        return ERR_PROTOCOL;
    *ret_file = (struct frame_file){.size = get_u64(p),
                                    .time_ms = (int64_t)get_u64(p + 8),
                                    .flags = get_u32(p + 16),
                                    .path = {p + FILE_HEAD, payload.n - FILE_HEAD}};
    return ERR_OK;
}

enum err frame_get_link(struct str both, struct str *ret_path, struct str *ret_target)
{
    struct str target = both, path = str_split(&target, '\0');
    if (target.p == NULL || target.n == 0 || target.n > FRAME_LINK_MAX || target.p[0] == '/' ||
        memchr(target.p, '\0', target.n) != NULL)
        return ERR_PROTOCOL;
    *ret_path = path;
    *ret_target = target;
    return ERR_OK;
}

bool frame_path_ok(struct str path)
{
    if (path.n == 0 || path.n > FRAME_PATH_MAX)
        return false;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            return false;
    }
    struct str rest = path;
    for (int depth = 0; rest.p; depth++) {
        struct str part = str_split(&rest, '/');
        if (depth == FRAME_PATH_DEPTH_MAX || part.n == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    }
    return true;
}

void frame_put_tool(uint8_t out[FRAME_TOOL_HEAD], const struct frame_tool *in)
{
    put_u32(out, in->connection);
    put_u32(out + 4, in->seen);
    put_u32(out + 8, in->last);
}

enum err frame_get_tool(struct str payload, struct frame_tool *ret_head, struct str *ret_bytes)
{
    if (payload.n < FRAME_TOOL_HEAD || get_u32(payload.p + 8) > 1)
        return ERR_PROTOCOL;
    *ret_head = (struct frame_tool){.connection = get_u32(payload.p),
                                    .seen = get_u32(payload.p + 4),
                                    .last = get_u32(payload.p + 8) == 1};
    *ret_bytes = (struct str){.p = payload.p + FRAME_TOOL_HEAD, .n = payload.n - FRAME_TOOL_HEAD};
    return ERR_OK;
}
