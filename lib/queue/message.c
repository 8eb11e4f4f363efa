/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/internal.h"

#include <string.h>

/* One word up to `end`, which is dropped. */
static bool word(struct str *rest, char end, struct str *ret_word)
{
    const char *at = rest->n ? memchr(rest->p, end, rest->n < 64 ? rest->n : 64) : NULL;
    if (!at)
        return false;
    *ret_word = (struct str){rest->p, (size_t)(at - rest->p)};
    *rest = (struct str){at + 1, rest->n - ret_word->n - 1};
    return true;
}

static bool number(struct str *rest, char end, uint64_t *ret_value)
{
    struct str text;
    return word(rest, end, &text) && str_to_u64(text, ret_value) == ERR_OK;
}

static bool bytes(struct str *rest, uint64_t len, struct str *ret_bytes)
{
    if (len > rest->n)
        return false;
    *ret_bytes = (struct str){rest->p, (size_t)len};
    *rest = (struct str){rest->p + len, rest->n - (size_t)len};
    return true;
}

/* ERR_UNSUPPORTED: a type that this build does not know. */
static enum err take_event(struct str *rest, struct event *e)
{
    struct str id, type;
    uint64_t attempt, ms, len_d, len_b, part;
    if (!word(rest, ' ', &id) || id.n >= sizeof e->id || event_id_parse(id, &part, &part) != ERR_OK ||
        !word(rest, ' ', &type) || !number(rest, ' ', &attempt) || attempt > UINT32_MAX ||
        !number(rest, ' ', &e->seq) || !number(rest, ' ', &ms) || ms > INT64_MAX ||
        !number(rest, ' ', &len_d) || !number(rest, '\n', &len_b) || !bytes(rest, len_d, &e->data) ||
        !bytes(rest, len_b, &e->bytes))
        return ERR_PROTOCOL;
    memcpy(e->id, id.p, id.n);
    e->id[id.n] = '\0';
    e->attempt = (uint32_t)attempt;
    e->time_ms = (int64_t)ms;
    return event_type_parse(type, &e->type) == ERR_OK ? ERR_OK : ERR_UNSUPPORTED;
}

enum err message_parse(struct str payload, struct message *ret_message)
{
    struct message *m = ret_message;
    struct str rest = payload, job;
    m->count = 0;
    if (!word(&rest, ' ', &job) || id_parse(job, &m->job) != ERR_OK || !number(&rest, '\n', &m->seq))
        return ERR_PROTOCOL;
    while (rest.n > 0 && m->count < MESSAGE_EVENTS) {
        struct event *e = &m->events[m->count];
        enum err err = take_event(&rest, e);
        if (err == ERR_PROTOCOL)
            return err;
        e->job = m->job;
        m->count += err == ERR_OK;
    }
    return ERR_OK;
}

enum err handed_parse(struct str payload, struct handed *ret_handed)
{
    struct handed *h = ret_handed;
    struct str rest = payload, head, job;
    uint64_t len;
    if (!word(&rest, ' ', &head) || !str_eq(head, STR("handed")))
        return ERR_INVALID;
    size_t line = 0;
    while (line < rest.n && rest.p[line] != '\n')
        line++;
    if (line == rest.n)
        return ERR_PROTOCOL;
    struct str first = {rest.p, line};
    rest = (struct str){rest.p + line + 1, rest.n - line - 1};
    job = str_split(&first, ' ');
    h->class_name = str_split(&first, ' ');
    h->entry = first;
    if (id_parse(job, &h->job) != ERR_OK || h->class_name.n == 0 || h->entry.n == 0)
        return ERR_PROTOCOL;
    h->answer = (struct redis_value){.type = REDIS_ARRAY, .items = h->values};
    for (; rest.n > 0 && h->answer.count < HANDED_WITH_STATE; h->answer.count++) {
        struct redis_value *v = &h->values[h->answer.count];
        *v = (struct redis_value){.type = REDIS_STRING};
        if (!number(&rest, ':', &len) || !bytes(&rest, len, &v->text))
            return ERR_PROTOCOL;
    }
    size_t count = h->answer.count;
    bool whole = count == 0 || count == HANDED_VALUES || count == HANDED_WITH_STATE;
    return rest.n == 0 && whole ? ERR_OK : ERR_PROTOCOL;
}

enum err entry_decode(const struct redis_value *entry, struct id job, struct event *ret_event)
{
    enum { MAX_FIELDS = 32 };
    const struct redis_value *list = redis_item(entry, 1);
    struct str fields[2 * MAX_FIELDS];
    size_t pairs = list->count / 2;
    if (list->type != REDIS_ARRAY || pairs > MAX_FIELDS)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < 2 * pairs; i++)
        fields[i] = redis_text(redis_item(list, i));
    return event_decode(redis_text(redis_item(entry, 0)), job, fields, pairs, ret_event);
}
