/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spec.h"

#include <string.h>

enum { ITEM_HEADER = 8 };

void spec_put(struct buf *out, enum spec_tag tag, struct str value)
{
    uint8_t h[ITEM_HEADER] = {(uint8_t)tag, (uint8_t)((unsigned)tag >> 8)};
    if (value.n > UINT32_MAX) {
        out->failed = ERR_FULL;
        return;
    }
    for (int i = 0; i < 4; i++)
        h[4 + i] = (uint8_t)(value.n >> (8 * i));
    buf_append(out, h, sizeof h);
    buf_append_str(out, value);
}

void spec_put_u64(struct buf *out, enum spec_tag tag, uint64_t value)
{
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(value >> (8 * i));
    spec_put(out, tag, (struct str){.p = bytes, .n = sizeof bytes});
}

void spec_replace_u64(char *bytes, size_t len, enum spec_tag tag, uint64_t value)
{
    for (size_t at = 0; at + ITEM_HEADER <= len;) {
        const uint8_t *h = (const uint8_t *)bytes + at;
        size_t size = (size_t)h[4] | (size_t)h[5] << 8 | (size_t)h[6] << 16 | (size_t)h[7] << 24;
        bool found = (h[0] | (unsigned)h[1] << 8) == (unsigned)tag && size == 8;
        at += ITEM_HEADER;
        for (int i = 0; found && i < 8; i++)
            bytes[at + (size_t)i] = (char)(value >> (8 * i));
        at += size;
    }
}

/* One kind of value for each tag; offsets into struct spec. */
enum shape { SHAPE_LIST = 1, SHAPE_U64, SHAPE_FLAG, SHAPE_NAME, SHAPE_BYTES };

static const struct {
    enum shape shape;
    size_t offset;
} tags[] = {
    [SPEC_ARGV] = {SHAPE_LIST, offsetof(struct spec, argv)},
    [SPEC_ENV] = {SHAPE_LIST, offsetof(struct spec, env)},
    [SPEC_SOURCE_NAME] = {SHAPE_NAME, offsetof(struct spec, source_name)},
    [SPEC_SOURCE] = {SHAPE_BYTES, offsetof(struct spec, source)},
    [SPEC_COMPILE_ARGV] = {SHAPE_LIST, offsetof(struct spec, compile_argv)},
    [SPEC_LIMIT_WALL_MS] = {SHAPE_U64, offsetof(struct spec, wall_ms)},
    [SPEC_LIMIT_CPU_MS] = {SHAPE_U64, offsetof(struct spec, cpu_ms)},
    [SPEC_LIMIT_OUTPUT] = {SHAPE_U64, offsetof(struct spec, output_bytes)},
    [SPEC_LIMIT_NOFILE] = {SHAPE_U64, offsetof(struct spec, nofile)},
    [SPEC_LIMIT_FSIZE] = {SHAPE_U64, offsetof(struct spec, fsize)},
    [SPEC_LIMIT_NPROC] = {SHAPE_U64, offsetof(struct spec, nproc)},
    [SPEC_STDIN_OPEN] = {SHAPE_FLAG, offsetof(struct spec, stdin_open)},
    [SPEC_TOOLS] = {SHAPE_FLAG, offsetof(struct spec, tools)},
    [SPEC_PROGRAM_ARGS] = {SHAPE_LIST, offsetof(struct spec, program_args)},
    [SPEC_STATE_MAX] = {SHAPE_U64, offsetof(struct spec, state_max)},
    [SPEC_STATE_SIZE] = {SHAPE_U64, offsetof(struct spec, state_size)},
    [SPEC_STATE_MS] = {SHAPE_U64, offsetof(struct spec, state_ms)},
    [SPEC_KEEP] = {SHAPE_U64, offsetof(struct spec, keep)},
    [SPEC_STATE_SCRIPT] = {SHAPE_BYTES, offsetof(struct spec, state_script)},
    [SPEC_STATE_ON_ERROR] = {SHAPE_FLAG, offsetof(struct spec, state_on_error)},
};

/* The value moves one byte into its own header, which makes room for the NUL. A scan only checks. */
static enum err take_string(char *value, size_t len, bool scan, char **ret_string)
{
    if (memchr(value, '\0', len) != NULL)
        return ERR_PROTOCOL;
    if (scan)
        return ERR_OK;
    memmove(value - 1, value, len);
    value[-1 + (ptrdiff_t)len] = '\0';
    *ret_string = value - 1;
    return ERR_OK;
}

static enum err take_name(char *value, size_t len, bool scan, const char **ret_name)
{
    struct str view = {.p = value, .n = len};
    if (len == 0 || len > 255 || memchr(value, '/', len) != NULL || str_eq(view, STR(".")) ||
        str_eq(view, STR("..")))
        return ERR_PROTOCOL;
    char *name = NULL;
    enum err e = take_string(value, len, scan, &name);
    if (e == ERR_OK)
        *ret_name = name;
    return e;
}

static enum err take_u64(const char *value, size_t len, uint64_t *ret_value)
{
    if (len != 8)
        return ERR_PROTOCOL;
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | (uint8_t)value[i];
    *ret_value = v;
    return ERR_OK;
}

static enum err take_element(char *value, size_t len, bool variable, bool scan, struct spec_list *list)
{
    if (list->n == SPEC_STRINGS_MAX)
        return ERR_FULL;
    if (variable) {
        const char *equals = memchr(value, '=', len);
        if (equals == NULL || equals == value)
            return ERR_PROTOCOL;
    }
    enum err e = take_string(value, len, scan, &list->at[list->n]);
    if (e == ERR_OK)
        list->n++;
    return e;
}

static enum err take_value(unsigned tag, char *value, size_t len, bool scan, struct spec *spec)
{
    void *field = (char *)spec + tags[tag].offset;
    uint64_t flag = 0;
    enum err e = ERR_PROTOCOL;
    switch (tags[tag].shape) {
    case SHAPE_LIST:
        return take_element(value, len, tag == SPEC_ENV, scan, field);
    case SHAPE_U64:
        return take_u64(value, len, field);
    case SHAPE_FLAG:
        e = take_u64(value, len, &flag);
        *(bool *)field = flag != 0;
        return e == ERR_OK && flag > 1 ? ERR_PROTOCOL : e;
    case SHAPE_NAME:
        return take_name(value, len, scan, field);
    case SHAPE_BYTES:
        *(struct str *)field = (struct str){.p = value, .n = len};
        return ERR_OK;
    }
    return e;
}

static enum err walk(char *bytes, size_t len, bool scan, struct spec *ret_spec)
{
    uint32_t seen = 0;
    memset(ret_spec, 0, sizeof *ret_spec);
    for (size_t at = 0; at < len;) {
        if (len - at < ITEM_HEADER)
            return ERR_PROTOCOL;
        const uint8_t *h = (const uint8_t *)bytes + at;
        unsigned tag = h[0] | (unsigned)h[1] << 8;
        size_t size = h[4] | (size_t)h[5] << 8 | (size_t)h[6] << 16 | (size_t)h[7] << 24;
        if (h[2] != 0 || h[3] != 0 || tag >= sizeof tags / sizeof tags[0] || tags[tag].shape == 0)
            return ERR_PROTOCOL;
        at += ITEM_HEADER;
        if (size > len - at)
            return ERR_PROTOCOL;
        if (tags[tag].shape != SHAPE_LIST && (seen & 1U << tag) != 0)
            return ERR_PROTOCOL;
        seen |= 1U << tag;
        enum err e = take_value(tag, bytes + at, size, scan, ret_spec);
        if (e != ERR_OK)
            return e;
        at += size;
    }
    return ERR_OK;
}

enum err spec_parse(char *bytes, size_t len, struct spec *ret_spec)
{
    return walk(bytes, len, false, ret_spec);
}

enum err spec_scan(struct str bytes, struct spec *ret_spec)
{
    char *view;
    memcpy(&view, &bytes.p, sizeof view); /* walk() writes nothing when it scans */
    return walk(view, bytes.n, true, ret_spec);
}
