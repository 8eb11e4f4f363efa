/* SPDX-License-Identifier: Apache-2.0 */
/* One session: its log is folded, and its HASH, its tables of files and states, its blobs and objects, and its places in the
   lists are compared with what came out. */
#include "base/id.h"
#include "io/state_blob.h"
#include "queue/session.h"
#include "tools/millrace/verify_look.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 64 << 20, NAME_MAX_LEN = 64, PAIRS = 5 };

struct session_log {
    const char *status;
    bool
        known; /* what lies before the first event that is left: it is the first there was, or a checkpoint */
    int64_t seq, ms, created, version;
    struct tally files;    /* id -> a hash of its record, 0 when it was removed */
    struct tally versions; /* number -> 1 + the version that it was made from; "ms<number>" -> when */
};

struct session_look {
    struct verify *v;
    const char *id, *key;
    const struct redis_value *head;
    struct session_log log;
};

static struct str pair_of(const struct redis_value *list, const char *name)
{
    for (size_t i = 0; i + 1 < list->count; i += 2)
        if (str_eq(list->items[i].text, str_of(name)))
            return list->items[i + 1].text;
    return (struct str){0};
}

static int64_t number_of(struct str text)
{
    int64_t number = 0;
    return str_to_i64(text, &number) ? 0 : number;
}

/* A file's record without what its event did not say: it is the event's text with `"ms":N,` put in front, and perhaps
   `"gone":"<job>",` before that: of a workspace's, that its last run took away; the log says it when it is certain. */
static struct str told_of(struct str record)
{
    if (str_starts(record, STR("{\"gone\":")))
        str_split(&record, ',');
    str_split(&record, ',');
    return record;
}

/* What two texts have in common when they are the same; never 0. */
static int64_t mark_of(struct str text)
{
    return (int64_t)(str_hash(STR_HASH, text) >> 2 | 1);
}

static void set(struct tally *t, const char *name, int64_t value)
{
    tally_add(t, name, value - tally_get(t, name));
}

static int64_t alive_of(const struct tally *t)
{
    int64_t count = 0;
    for (size_t i = 0; i < t->size; i++)
        count += t->rows[i].name && t->rows[i].count != 0;
    return count;
}

/* ---- the fold ---------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *event, *status; /* NULL: as it was */
} becomes[] = {
    {"session_created", "live"}, {"state_committed", "live"}, {"session_rewound", "live"},
    {"state_archived", "cold"},  {"state_restored", "live"},  {"session_expired", "gone"},
    {"session_deleted", "gone"},
};

static void set_version(struct session_log *log, int64_t version, int64_t base, int64_t ms)
{
    char name[NAME_MAX_LEN];
    log->version = version;
    snprintf(name, sizeof name, "%" PRId64, version);
    set(&log->versions, name, 1 + base);
    snprintf(name, sizeof name, "ms%" PRId64, version);
    set(&log->versions, name, ms);
}

/* ---- a checkpoint: what all events before it came to. The first event that is left may be one, and begins the fold; another is
   compared with it. */

static void checkpoint_files(struct session_look *l, json_t *files)
{
    const char *id;
    json_t *record;
    json_object_foreach(files, id, record)
    {
        int64_t mark = mark_of(told_of(str_of(json_string_value(record))));
        if (!l->log.known)
            set(&l->log.files, id, mark);
        else if (tally_get(&l->log.files, id) != mark)
            verify_differs(l->v, l->key,
                           "log: the file %s of checkpoint %lld is not as the events before say", id,
                           (long long)l->log.seq);
    }
    if ((int64_t)json_object_size(files) != alive_of(&l->log.files))
        verify_differs(l->v, l->key, "log: checkpoint %lld has %zu files, the events before say %lld",
                       (long long)l->log.seq, json_object_size(files), (long long)alive_of(&l->log.files));
}

static void checkpoint_versions(struct session_look *l, json_t *versions)
{
    const char *version;
    json_t *record;
    char ms_name[NAME_MAX_LEN];
    json_object_foreach(versions, version, record)
    {
        struct str ms = str_of(json_string_value(record)), base = str_split(&ms, ' ');
        snprintf(ms_name, sizeof ms_name, "ms%s", version);
        if (!l->log.known)
            set_version(&l->log, number_of(str_of(version)), number_of(base), number_of(ms));
        else if (tally_get(&l->log.versions, version) != 1 + number_of(base) ||
                 tally_get(&l->log.versions, ms_name) != number_of(ms))
            verify_differs(l->v, l->key, "log: version %s of checkpoint %lld is not as the events before say",
                           version, (long long)l->log.seq);
    }
}

static void fold_checkpoint(struct session_look *l, struct str d)
{
    struct session_log *log = &l->log;
    auto_json root = NULL;
    if (json_parse(d, &root, NULL) != ERR_OK) {
        verify_differs(l->v, l->key, "log: checkpoint %lld cannot be read", (long long)log->seq);
        return;
    }
    checkpoint_files(l, json_object_get(root, "files"));
    checkpoint_versions(l, json_object_get(root, "versions"));
    int64_t created = json_integer_value(json_object_get(root, "created"));
    int64_t version = json_integer_value(json_object_get(root, "version"));
    const char *status = json_string_value(json_object_get(root, "status"));
    bool same =
        status && strcmp(status, log->status) == 0 && created == log->created && version == log->version;
    if (log->known && !same)
        verify_differs(l->v, l->key, "log: checkpoint %lld is not what the events before come to",
                       (long long)log->seq);
    log->created = created;
    log->version = version;
    log->status = status && strcmp(status, "cold") == 0 ? "cold" : "live";
}

/* ---- an event ----------------------------------------------------------------------------------------------------------- */

static void fold_data(struct session_log *log, const char *type, struct str d, int64_t ms)
{
    auto_json root = NULL;
    if (json_parse(d, &root, NULL) != ERR_OK)
        return;
    const char *id = json_string_value(json_object_get(root, "id"));
    const json_t *version = json_object_get(root, "version"), *base = json_object_get(root, "base");
    if (strcmp(type, "file_added") == 0 && id)
        set(&log->files, id, mark_of((struct str){d.p + 1, d.n - 1}));
    else if (strcmp(type, "file_removed") == 0 && id)
        set(&log->files, id, 0);
    else if (json_is_integer(base))
        set_version(log, json_integer_value(version), json_integer_value(base), ms);
}

static void fold(struct session_look *l, const struct redis_value *fields)
{
    struct session_log *log = &l->log;
    char type[NAME_MAX_LEN];
    int64_t seq = number_of(pair_of(fields, "s")), ms = number_of(pair_of(fields, "m"));
    snprintf(type, sizeof type, STR_FMT, STR_ARG(pair_of(fields, "t")));
    bool checkpoint = strcmp(type, "session_checkpoint") == 0;
    if ((seq != log->seq + 1 || ms < log->ms) && !(checkpoint && !log->seq))
        verify_differs(l->v, l->key, "log: event %lld at %lld follows event %lld at %lld", (long long)seq,
                       (long long)ms, (long long)log->seq, (long long)log->ms);
    log->seq = seq;
    log->ms = ms;
    if (checkpoint)
        fold_checkpoint(l, pair_of(fields, "d"));
    log->created = log->created ? log->created : ms;
    log->known = true;
    for (size_t i = 0; i < sizeof becomes / sizeof *becomes; i++)
        if (strcmp(becomes[i].event, type) == 0)
            log->status = becomes[i].status;
    fold_data(log, type, pair_of(fields, "d"), ms);
    l->v->events++;
}

static void fold_log(struct session_look *l)
{
    char from[64] = "-";
    for (bool more = true; more && !l->v->failed;) {
        auto_arena memory = ARENA_INIT(PAGE_MAX);
        const struct redis_value *page =
            store_ask(l->v->store, &memory, "XRANGE", verify_key(l->v, 1, "s:%s:log", l->id), from, "+",
                      "COUNT", "100", NULL);
        l->v->failed = !page;
        more = page && page->count > 0;
        for (size_t i = 0; more && i < page->count; i++) {
            fold(l, redis_item(&page->items[i], 1));
            snprintf(from, sizeof from, "(" STR_FMT, STR_ARG(redis_text(redis_item(&page->items[i], 0))));
        }
    }
}

/* ---- what is compared --------------------------------------------------------------------------------------------------- */

static void same(struct session_look *l, const char *field, int64_t should)
{
    int64_t is = number_of(pair_of(l->head, field));
    if (is != should)
        verify_differs(l->v, l->key, "%s is %lld, the log says %lld", field, (long long)is,
                       (long long)should);
}

/* Its object is there, with what was put. A folder and a link have none. */
static void check_file_object(struct session_look *l, const char *key, const char *id, struct str record)
{
    auto_arena texts = ARENA_INIT(1 << 20);
    auto_buf object = BUF_INIT(OBJECT_KEY_MAX);
    struct session_file file;
    struct sha256 hash;
    struct id session;
    if (session_file_read(str_of(id), record, &texts, &file) != ERR_OK ||
        id_parse(str_of(l->id), &session) != ERR_OK)
        verify_differs(l->v, key, "the file %s has a record that cannot be read", id);
    else if (file.hash.n == 0)
        return;
    else if (sha256_parse(file.hash, &hash) != ERR_OK ||
             session_object_name(pair_of(l->head, "tenant"), session, &file, &object) != ERR_OK)
        verify_differs(l->v, key, "the file %s has no name that an object could have", id);
    else
        verify_object(l->v, key, buf_cstr(&object), &hash);
}

static void check_file(struct session_look *l, const char *key, const char *id, struct str record,
                       int64_t *bytes)
{
    auto_json root = NULL;
    if (tally_get(&l->log.files, id) != mark_of(told_of(record)))
        verify_differs(l->v, key, "the file %s is not as the log says", id);
    if (json_parse(record, &root, NULL) == ERR_OK)
        *bytes += json_integer_value(json_object_get(root, "size"));
    check_file_object(l, key, id, record);
}

static void check_files(struct session_look *l)
{
    auto_arena memory = ARENA_INIT(PAGE_MAX);
    bool gone = strcmp(l->log.status, "gone") == 0;
    int64_t bytes = 0, should = gone ? 0 : alive_of(&l->log.files);
    const char *key = verify_key(l->v, 1, "s:%s:files", l->id);
    const struct redis_value *all = store_ask(l->v->store, &memory, "HGETALL", key, NULL);
    l->v->failed = l->v->failed || !all;
    for (size_t i = 0; all && i + 1 < all->count; i += 2)
        check_file(l, key, all->items[i].text.p, all->items[i + 1].text, &bytes);
    if (all && (int64_t)all->count / 2 != should)
        verify_differs(l->v, key, "it has %zu files, the log says %lld", all->count / 2, (long long)should);
    same(l, "files", should);
    same(l, "bytes", bytes);
}

static bool check_seal(struct session_look *l, const char *key, const char *version, struct str text,
                       struct state_seal *ret_seal)
{
    struct state_scope scope = {.tenant = pair_of(l->head, "tenant"),
                                .session = str_of(l->id),
                                .version = (uint64_t)number_of(str_of(version))};
    if (state_seal_parse(text, ret_seal) != ERR_OK) {
        verify_differs(l->v, key, "version %s: its seal cannot be read", version);
        return false;
    }
    if (state_seal_check(&l->v->keys, &scope, ret_seal) != ERR_OK)
        verify_differs(
            l->v, key,
            "version %s: its seal is not one of this session and version, or of a key that is not known here",
            version);
    return true;
}

/* The blob that the record's seal is about: in Redis, or the object. */
static void check_blob(struct session_look *l, const char *key, const char *version, struct str place,
                       struct str seal_text)
{
    auto_arena memory = ARENA_INIT(PAGE_MAX);
    struct state_seal seal;
    if (!check_seal(l, key, version, seal_text, &seal))
        return;
    if (!str_eq(place, STR("-"))) {
        const char *object = arena_cstr(&memory, place);
        verify_object(l->v, key, object ? object : "", &seal.hash);
        return;
    }
    const char *blobs = verify_key(l->v, 2, "s:%s:blobs", l->id);
    const struct redis_value *blob = store_ask(l->v->store, &memory, "HGET", blobs, version, NULL);
    l->v->failed = l->v->failed || !blob;
    if (blob && (blob->type != REDIS_STRING || state_seal_blob(&seal, blob->text) != ERR_OK))
        verify_differs(l->v, key, "version %s: its bytes are not those that were sealed", version);
}

static bool check_state(struct session_look *l, const char *key, const char *version, struct str record)
{
    char ms_name[NAME_MAX_LEN];
    struct str rest = record, base = str_split(&rest, ' '), ms = str_split(&rest, ' ');
    struct str place = str_split(&rest, ' ');
    str_split(&rest, ' '); /* from */
    snprintf(ms_name, sizeof ms_name, "ms%s", version);
    if (tally_get(&l->log.versions, version) != 1 + number_of(base) ||
        tally_get(&l->log.versions, ms_name) != number_of(ms))
        verify_differs(l->v, key, "version %s is not as the log says", version);
    check_blob(l, key, version, place, rest);
    return str_eq(place, STR("-"));
}

static void check_member(struct session_look *l, const char *list, bool should, const char *score)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    const struct redis_value *is =
        store_ask(l->v->store, &memory, "ZSCORE", verify_key(l->v, 1, "%s", list), l->id, NULL);
    l->v->failed = l->v->failed || !is;
    if (is && ((is->type == REDIS_STRING) != should || (should && score && !str_eq(is->text, str_of(score)))))
        verify_differs(l->v, l->key, "%s: it is%s in it%s%s", list, is->type == REDIS_STRING ? "" : " not",
                       score ? ", its due is " : "", score ? score : "");
}

static void check_states(struct session_look *l)
{
    auto_arena memory = ARENA_INIT(PAGE_MAX);
    char due[32];
    int64_t here = 0;
    const char *key = verify_key(l->v, 1, "s:%s:states", l->id);
    char states[VERIFY_KEY_MAX];
    snprintf(states, sizeof states, "%s", key);
    const struct redis_value *all = store_ask(l->v->store, &memory, "HGETALL", states, NULL);
    l->v->failed = l->v->failed || !all;
    for (size_t i = 0; all && i + 1 < all->count && !l->v->failed; i += 2)
        here += check_state(l, states, all->items[i].text.p, all->items[i + 1].text);
    const struct redis_value *blobs =
        store_ask(l->v->store, &memory, "HLEN", verify_key(l->v, 1, "s:%s:blobs", l->id), NULL);
    l->v->failed = l->v->failed || !blobs;
    if (blobs && blobs->integer != here)
        verify_differs(l->v, states, "it names %lld blobs in Redis, there are %lld", (long long)here,
                       (long long)blobs->integer);
    bool gone = strcmp(l->log.status, "gone") == 0;
    snprintf(due, sizeof due, STR_FMT, STR_ARG(pair_of(l->head, "due")));
    check_member(l, "sidle", all && all->count > 0 && strcmp(l->log.status, "live") == 0, NULL);
    check_member(l, "sdue", !gone, gone ? NULL : due);
}

static void check_head(struct session_look *l)
{
    struct str status = pair_of(l->head, "status");
    if (!str_eq(status, str_of(l->log.status)))
        verify_differs(l->v, l->key, "status is '" STR_FMT "', the log says '%s'", STR_ARG(status),
                       l->log.status);
    same(l, "seq", l->log.seq);
    same(l, "ms", l->log.ms);
    same(l, "created", l->log.created);
    same(l, "version", l->log.version);
}

void verify_session(struct verify *v, const char *id)
{
    auto_arena memory = ARENA_INIT(1 << 20);
    char key[VERIFY_KEY_MAX];
    snprintf(key, sizeof key, "%s", verify_key(v, 0, "s:%s", id));
    struct session_look l = {.v = v, .id = id, .key = key, .log = {.status = "none"}};
    l.head = store_ask(v->store, &memory, "HGETALL", key, NULL);
    v->failed = v->failed || !l.head;
    if (!l.head || !l.head->count)
        return; /* gone since it was listed */
    v->sessions++;
    tally_init(&l.log.files);
    tally_init(&l.log.versions);
    fold_log(&l);
    if (!v->failed) {
        check_head(&l);
        check_files(&l);
        check_states(&l);
    }
    tally_free(&l.log.files);
    tally_free(&l.log.versions);
}
