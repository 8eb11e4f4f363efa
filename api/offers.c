/* SPDX-License-Identifier: Apache-2.0 */
#include "api/offers.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const json_t *offer_of(const json_t *root, enum language lang)
{
    return json_object_get(root, language_row(lang)->id);
}

static void refuse(struct offers *o, enum language lang, struct str worker, const char *missing)
{
    const struct language_row *row = language_row(lang);
    auto_buf text = BUF_INIT(4096), clean = BUF_INIT(4096);
    buf_printf(&text,
               "%s is not installed here: worker " STR_FMT
               " has no %s; install the Debian packages %s (tools/install --languages %s) and restart it",
               row->id, STR_ARG(worker), missing, row->packages, row->id);
    utf8_sanitize(&clean, buf_str(&text));
    snprintf(o->why[lang], sizeof o->why[lang], "%s", buf_cstr(&clean));
    o->refused[lang] = o->why[lang];
}

static void take(struct offers *o, struct str worker, const json_t *root)
{
    for (enum language l = 0; l < LANG_COUNT; l++) {
        const json_t *offer = offer_of(root, l);
        const json_t *missing = json_object_get(offer, "missing");
        if (o->refused[l] != NULL)
            continue;
        if (offer == NULL)
            refuse(o, l, worker, "row for it (it is older)");
        else if (missing != NULL)
            refuse(o, l, worker, json_is_string(missing) ? json_string_value(missing) : "toolchain");
    }
}

static void take_kubernetes(struct offers *o, struct str worker, json_t *root)
{
    json_t *told = json_object_get(root, QUEUE_OFFER_KUBERNETES);
    if (!json_is_object(told) || !json_is_string(json_object_get(told, "status")))
        return;
    if (o->kubernetes == NULL)
        o->kubernetes = json_object();
    json_object_setn(o->kubernetes, worker.p, worker.n, told);
}

/* Of several workers the last. */
static bool take_stuck(struct offers *o, json_t *root)
{
    const json_t *told = json_object_get(root, QUEUE_OFFER_KUBERNETES);
    const char *why = json_string_value(json_object_get(told, "why"));
    snprintf(o->stuck, sizeof o->stuck, "%s", why ? why : "");
    return json_is_true(json_object_get(told, "stuck"));
}

static bool all_texts(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_string(json_array_get(array, i)))
            return false;
    return true;
}

static void take_gaps(struct offers *o, struct str worker, json_t *root)
{
    json_t *told = json_object_get(root, QUEUE_OFFER_GAPS);
    if (!json_is_array(told) || json_array_size(told) == 0 || !all_texts(told))
        return;
    if (o->gaps == NULL)
        o->gaps = json_object();
    json_object_setn(o->gaps, worker.p, worker.n, told);
}

void offers_update(struct offers *o, const struct queue_offered *list, size_t count)
{
    offers_free(o);
    bool stuck = true;
    for (size_t i = 0; i < count; i++) {
        auto_json root = NULL;
        if (json_parse(list[i].text, &root, NULL) != ERR_OK || !json_is_object(root))
            continue;
        o->told = true;
        take(o, list[i].worker, root);
        take_kubernetes(o, list[i].worker, root);
        take_gaps(o, list[i].worker, root);
        stuck &= take_stuck(o, root);
        if (o->first == NULL)
            o->first = json_incref(root);
    }
    if (!stuck)
        o->stuck[0] = '\0';
}

void offers_free(struct offers *o)
{
    json_decref(o->first);
    json_decref(o->kubernetes);
    json_decref(o->gaps);
    *o = (struct offers){.first = NULL};
}

static void write_names(struct buf *out, const char *items)
{
    struct str rest = str_of(items);
    buf_append_char(out, '[');
    for (bool first = true; rest.n > 0; first = false) {
        buf_append_cstr(out, first ? "" : ",");
        json_write_string(out, str_split(&rest, '|'));
    }
    buf_append_char(out, ']');
}

/* What workers told comes out of the store: another type than the wanted is left out. */
static void write_typed(struct buf *out, const json_t *value, json_type type, const char *otherwise)
{
    size_t before = out->len;
    if (value != NULL && json_typeof(value) == type && json_write(value, out) == ERR_OK)
        return;
    out->len = before;
    buf_append_cstr(out, otherwise);
}

static void write_install(struct buf *out, const struct language_row *row)
{
    auto_buf text = BUF_INIT(1024);
    buf_printf(&text, "tools/install --languages %s (Debian packages: %s)", row->id, row->packages);
    json_write_string(out, buf_str(&text));
}

static void write_language(const struct offers *o, enum language lang, struct buf *out)
{
    const struct language_row *row = language_row(lang);
    const json_t *offer = offer_of(o->first, lang);
    bool there = o->told && o->refused[lang] == NULL;
    buf_printf(out, "{\"id\":\"%s\",\"aliases\":", row->id);
    write_names(out, row->aliases);
    buf_append_cstr(out, ",\"description\":");
    json_write_string(out, str_of(row->text));
    buf_printf(out, ",\"available\":%s,\"version\":", there ? "true" : "false");
    write_typed(out, json_object_get(offer, "version"), JSON_STRING, "null");
    buf_append_cstr(out, ",\"libraries\":");
    write_typed(out, json_object_get(offer, "libraries"), JSON_OBJECT, "{}");
    buf_append_cstr(out, ",\"why\":");
    if (there)
        buf_append_cstr(out, "null");
    else
        json_write_string(out, str_of(o->refused[lang] != NULL ? o->refused[lang]
                                                               : "no worker has told yet what it can run"));
    buf_append_cstr(out, ",\"install\":");
    write_install(out, row);
    buf_append_char(out, '}');
}

void offers_write(const struct offers *o, struct buf *out)
{
    buf_append_cstr(out, "{\"languages\":[");
    for (enum language l = 0; l < LANG_COUNT; l++) {
        buf_append_cstr(out, l > 0 ? "," : "");
        write_language(o, l, out);
    }
    buf_append_cstr(out, "]}\n");
}

void offers_write_gaps(const struct offers *o, struct buf *out)
{
    write_typed(out, o->gaps, JSON_OBJECT, "{}");
}

static bool says(const json_t *worker, const char *status)
{
    return strcmp(json_string_value(json_object_get(worker, "status")), status) == 0;
}

int offers_write_kubernetes(const struct offers *o, struct buf *out)
{
    const char *name;
    json_t *worker;
    size_t ok = 0, failing = 0, all = json_object_size(o->kubernetes);
    if (all == 0)
        return 0;
    json_object_foreach(o->kubernetes, name, worker)
    {
        ok += says(worker, "ok");
        failing += says(worker, "failing");
    }
    bool none = failing == all;
    buf_printf(out, "{\"status\":\"%s\",\"workers\":", ok == all ? "ok" : none ? "failing" : "degraded");
    write_typed(out, o->kubernetes, JSON_OBJECT, "{}");
    buf_append_cstr(out, "}\n");
    return none ? 503 : 200;
}
