/* SPDX-License-Identifier: Apache-2.0 */
#include "io/yaml.h"

#include "base/utf8.h"

#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct arena *memory;
    struct yaml_pair *pairs;
    const char **keys; /* of the mappings that are open, the outermost first */
    size_t count, key_count, pairs_max;
    unsigned depth_max;
    bool tree; /* items of lists are numbered */
    struct errinfo *info;
};

static enum err refuse_at(struct reader *r, const yaml_mark_t *mark, const char *why)
{
    return errinfo_set(r->info, ERR_INVALID, 0, "line %zu: %s", mark->line + 1, why);
}

static enum err next_event(struct reader *r, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&r->parser, ret_event))
        return ERR_OK;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return errinfo_set(r->info, ERR_NOMEM, 0, "out of memory");
    return errinfo_set(r->info, ERR_INVALID, 0, "line %zu: %s", r->parser.problem_mark.line + 1,
                       r->parser.problem != NULL ? r->parser.problem : "not valid YAML");
}

static void event_cleanup(yaml_event_t *event)
{
    yaml_event_delete(event); /* a zeroed one is fine */
}
#define auto_event __attribute__((cleanup(event_cleanup))) yaml_event_t

static struct str scalar_text(const yaml_event_t *event)
{
    return (struct str){.p = (const char *)event->data.scalar.value, .n = event->data.scalar.length};
}

static bool is_null(const yaml_event_t *event)
{
    struct str s = scalar_text(event);
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (s.n == 0 || str_eq(s, STR("~")) || str_eq(s, STR("null")) || str_eq(s, STR("Null")) ||
            str_eq(s, STR("NULL")));
}

static enum err check_scalar(struct reader *r, const yaml_event_t *event)
{
    if (event->data.scalar.anchor != NULL)
        return refuse_at(r, &event->start_mark, "anchors are not allowed");
    if (event->data.scalar.tag != NULL)
        return refuse_at(r, &event->start_mark, "tags are not allowed");
    if (memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL)
        return refuse_at(r, &event->start_mark, "a NUL character is not allowed");
    return ERR_OK;
}

static enum err add_pair(struct reader *r, const char *path, struct str value, const yaml_mark_t *mark)
{
    if (r->count == r->pairs_max)
        return refuse_at(r, mark, "too many keys");
    r->pairs[r->count++] = (struct yaml_pair){
        .path = path, .value = arena_cstr(r->memory, value), .line = (unsigned)mark->line + 1};
    return arena_status(r->memory);
}

/* The items of a sequence whose start was read, joined. */
static enum err read_sequence(struct reader *r, const char *path, const yaml_mark_t *mark)
{
    auto_buf joined = BUF_INIT(YAML_TEXT_MAX);
    for (bool first = true;; first = false) {
        auto_event event = {0};
        enum err e = next_event(r, &event);
        if (e != ERR_OK)
            return e;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (event.type != YAML_SCALAR_EVENT)
            return refuse_at(r, &event.start_mark, "a list may hold texts and numbers only");
        if ((e = check_scalar(r, &event)) != ERR_OK)
            return e;
        struct str item = scalar_text(&event);
        if (item.n == 0 || memchr(item.p, ',', item.n) != NULL)
            return refuse_at(r, &event.start_mark, "an item of a list must not be empty or hold a comma");
        buf_append_cstr(&joined, first ? "" : ",");
        buf_append_str(&joined, item);
    }
    return buf_status(&joined) != ERR_OK ? buf_status(&joined) : add_pair(r, path, buf_str(&joined), mark);
}

static enum err read_mapping(struct reader *r, const char *path, unsigned depth);
static enum err read_items(struct reader *r, const char *path, unsigned depth);

static enum err read_node(struct reader *r, const yaml_event_t *event, const char *path,
                          const yaml_mark_t *mark, unsigned depth)
{
    if (event->type == YAML_SCALAR_EVENT) {
        enum err e = check_scalar(r, event);
        return e != ERR_OK || is_null(event) ? e : add_pair(r, path, scalar_text(event), mark);
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        if (event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL)
            return refuse_at(r, &event->start_mark, "anchors and tags are not allowed");
        return r->tree ? read_items(r, path, depth + 1) : read_sequence(r, path, mark);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        if (event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL)
            return refuse_at(r, &event->start_mark, "anchors and tags are not allowed");
        return read_mapping(r, path, depth + 1);
    }
    return refuse_at(r, &event->start_mark, "aliases are not allowed");
}

/* The items of a sequence whose start was read, each by its number. */
static enum err read_items(struct reader *r, const char *path, unsigned depth)
{
    if (depth > r->depth_max)
        return refuse_at(r, &r->parser.mark, "nested too deep");
    for (size_t i = 0;; i++) {
        auto_event event = {0};
        enum err e = next_event(r, &event);
        if (e != ERR_OK || event.type == YAML_SEQUENCE_END_EVENT)
            return e;
        const char *item = arena_printf(r->memory, "%s.%zu", path, i);
        e = item ? read_node(r, &event, item, &event.start_mark, depth) : arena_status(r->memory);
        if (e != ERR_OK)
            return e;
    }
}

static enum err read_value(struct reader *r, const char *path, const yaml_mark_t *mark, unsigned depth)
{
    auto_event event = {0};
    enum err e = next_event(r, &event);
    return e != ERR_OK ? e : read_node(r, &event, path, mark, depth);
}

/* "" stands for the top. */
static enum err read_key(struct reader *r, const yaml_event_t *event, const char *path, const char **ret_path)
{
    if (event->type != YAML_SCALAR_EVENT)
        return refuse_at(r, &event->start_mark,
                         event->type == YAML_ALIAS_EVENT ? "aliases are not allowed"
                                                         : "a key must be a text");
    enum err e = check_scalar(r, event);
    if (e != ERR_OK)
        return e;
    struct str key = scalar_text(event);
    if (str_eq(key, STR("<<")))
        return refuse_at(r, &event->start_mark, "merge keys are not allowed");
    if (key.n == 0 || key.n > 128 || memchr(key.p, '.', key.n) != NULL)
        return refuse_at(r, &event->start_mark, "a key must have 1 to 128 bytes and no dot");
    const char *joined =
        arena_printf(r->memory, "%s%s" STR_FMT, path, path[0] != '\0' ? "." : "", STR_ARG(key));
    if (joined == NULL)
        return arena_status(r->memory);
    *ret_path = joined;
    return ERR_OK;
}

static enum err add_key(struct reader *r, size_t first, const char *path, const yaml_mark_t *mark)
{
    for (size_t i = first; i < r->key_count; i++)
        if (strcmp(r->keys[i], path) == 0)
            return refuse_at(r, mark, "this key was given before");
    if (r->key_count == r->pairs_max)
        return refuse_at(r, mark, "too many keys");
    r->keys[r->key_count++] = path;
    return ERR_OK;
}

static enum err read_mapping(struct reader *r, const char *path, unsigned depth)
{
    if (depth > r->depth_max)
        return refuse_at(r, &r->parser.mark, "nested too deep");
    size_t first = r->key_count;
    for (;;) {
        auto_event event = {0};
        enum err e = next_event(r, &event);
        if (e != ERR_OK || event.type == YAML_MAPPING_END_EVENT) {
            r->key_count = first;
            return e;
        }
        const char *key_path = "";
        e = read_key(r, &event, path, &key_path);
        e = e != ERR_OK ? e : add_key(r, first, key_path, &event.start_mark);
        e = e != ERR_OK ? e : read_value(r, key_path, &event.start_mark, depth);
        if (e != ERR_OK)
            return e;
    }
}

/* STREAM-START [DOCUMENT-START mapping DOCUMENT-END] STREAM-END */
static enum err read_stream(struct reader *r)
{
    bool seen = false;
    for (;;) {
        auto_event event = {0};
        enum err e = next_event(r, &event);
        if (e != ERR_OK || event.type == YAML_STREAM_END_EVENT)
            return e;
        if (event.type == YAML_DOCUMENT_START_EVENT && seen)
            return refuse_at(r, &event.start_mark, "a second document is not allowed");
        seen = seen || event.type == YAML_DOCUMENT_START_EVENT;
        if (event.type == YAML_MAPPING_START_EVENT) {
            if (event.data.mapping_start.anchor != NULL || event.data.mapping_start.tag != NULL)
                return refuse_at(r, &event.start_mark, "anchors and tags are not allowed");
            if ((e = read_mapping(r, "", 1)) != ERR_OK)
                return e;
        } else if (event.type == YAML_SEQUENCE_START_EVENT ||
                   (event.type == YAML_SCALAR_EVENT && !is_null(&event)) || event.type == YAML_ALIAS_EVENT) {
            return refuse_at(r, &event.start_mark, "the file must be a mapping: `NAME: value` lines");
        }
    }
}

static enum err parse(struct reader *r, struct str text, struct yaml_pairs *ret_pairs)
{
    if (text.n > YAML_TEXT_MAX)
        return errinfo_set(r->info, ERR_INVALID, 0, "longer than %d bytes", YAML_TEXT_MAX);
    if (!utf8_valid(text))
        return errinfo_set(r->info, ERR_INVALID, 0, "not UTF-8");
    r->pairs = arena_array(r->memory, r->pairs_max, sizeof *r->pairs);
    r->keys = arena_array(r->memory, r->pairs_max, sizeof *r->keys);
    if (r->pairs == NULL || r->keys == NULL || !yaml_parser_initialize(&r->parser))
        return errinfo_set(r->info, ERR_NOMEM, 0, "out of memory");
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text.p, text.n);
    enum err e = read_stream(r);
    yaml_parser_delete(&r->parser);
    if (e == ERR_OK)
        *ret_pairs = (struct yaml_pairs){.items = r->pairs, .count = r->count};
    else if (e != ERR_INVALID)
        return errinfo_set(r->info, e, 0, "%s", err_text(e));
    return e;
}

enum err yaml_parse(struct arena *memory, struct str text, struct yaml_pairs *ret_pairs, struct errinfo *info)
{
    struct reader r = {
        .memory = memory, .info = info, .pairs_max = YAML_PAIRS_MAX, .depth_max = YAML_DEPTH_MAX};
    return parse(&r, text, ret_pairs);
}

enum err yaml_parse_tree(struct arena *memory, struct str text, struct yaml_pairs *ret_pairs,
                         struct errinfo *info)
{
    struct reader r = {.memory = memory,
                       .info = info,
                       .pairs_max = YAML_TREE_PAIRS_MAX,
                       .depth_max = YAML_TREE_DEPTH_MAX,
                       .tree = true};
    return parse(&r, text, ret_pairs);
}
