/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the queue share. A call's callback gets NULL when there is no answer to be had. */
#ifndef MILLRACE_QUEUE_INTERNAL_H
#define MILLRACE_QUEUE_INTERNAL_H

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/redis/redis.h"
#include "queue/idmap.h"
#include "queue/queue.h"

enum { MAX_PARTITIONS = 100, MAX_CLASSES = 16, NAME_MAX_LEN = 128, MAX_ATTEMPTS = 3, STORE_VERSION = 1 };

struct consumer;

struct queue {
    uv_loop_t *loop;
    struct queue_options options; /* strings are ours */
    char process[ID_LEN + 1];     /* this process's channel */
    struct redis *cmd, *sub;

    bool ready, closing, subscribed_before;
    char why[256], store_text[512];
    char epoch[64]; /* "" until a store was seen */
    unsigned partitions;
    bool cluster, memory_pressed;
    unsigned checks; /* generation of the running check of the store */
    bool checking;
    uint64_t check_at;

    struct object_store *objects; /* archived logs; NULL: cannot be read */
    struct list calls;            /* all that have no answer yet, oldest first */
    uv_timer_t tick;
    uint64_t next_second;
    struct idmap topics;
    unsigned listened;        /* seconds */
    struct list ready_topics; /* of `hold`: messages to hand on in the next turn */
    uv_timer_t soon;
    struct consumer *consumer;
    const char *classes[MAX_CLASSES]; /* seen by this process; ours */
    size_t class_count;
    uint64_t sends;
    struct queue_stats stats, gathering;
    unsigned gather_left;

    unsigned parts; /* handles and connections still open */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- scripts and keys ---- */

enum script {
#define X(name, flags, keys, parts) SCRIPT_##name,
#include "schema/redis/scripts.def"
#undef X
    SCRIPT_COUNT,
};

struct script_text {
    const char *name, *keys;
    const char *text;
    size_t len;
    char sha[41];
};
/* With its SHA-1, computed once. */
const struct script_text *script_get(enum script s);
void scripts_take_out(struct script_text *scripts, size_t count); /* scripts_off.c, in test builds */

/* What the keys of a script are made of; what it does not declare may be empty. */
struct keyset {
    unsigned partition;
    struct str job, session, tenant, class_name, idem, request;
};
/* Appends the key called `name` ("JOB", "LOG", ...) to `out`. */
void key_write(const struct queue *q, const struct keyset *k, struct str name, struct buf *out);
void key_base(const struct queue *q, unsigned partition, struct buf *out);

/* ---- calls ---- */

struct call;
typedef void (*call_cb)(void *arg, const struct redis_value *v);

/* Deadline in ms from now. `again`: repeated after a loss until the deadline; otherwise the first loss answers NULL. */
struct call *call_script(struct queue *q, enum script s, const struct keyset *keys, bool again);
struct call *call_plain(struct queue *q, const char *command);
/* For a script that ends a job which waits: asks for what its keys need besides the job's id, and makes them of the answer (of a job that is
   gone, and of no answer, without session and class). */
void call_head(struct queue *q, const struct id *job, call_cb cb, void *arg);
struct keyset head_keys(const struct queue *q, const struct id *job, const struct redis_value *head);
void call_key(struct call *c, const struct keyset *keys,
              const char *name); /* heartbeat's jobs, plain commands */
void call_str(struct call *c, struct str s);
void call_cstr(struct call *c, const char *s);
void call_int(struct call *c, int64_t value);
/* Zeroed, for what a call's callback is given; ends the process without memory, for there is nobody to tell. The callback frees it. */
void *call_memory(size_t size);
/* Sends it, now or when there is a connection (`again`). The callback is never run before this returns. */
void call_go(struct call *c, call_cb cb, void *arg);
void call_go_keys(struct call *c, size_t more_keys, call_cb cb, void *arg); /* with so many call_key() */
void call_drop(struct call *c);                                             /* instead of call_go */
/* May be sent before the store has been checked. */
void call_early(struct call *c);
/* A client waits for it: given up soon after the store went away. */
void call_hasty(struct call *c);
void calls_resend(struct queue *q);
void calls_tick(struct queue *q);
void calls_fail_all(struct queue *q);

/* Is this an error of the store that passes (LOADING, BUSY ...)? Told to the store's watch. */
bool store_error(struct queue *q, struct str text);

/* The first word of a script's answer. NULL and errors: QUEUE_UNAVAILABLE. */
enum queue_answer answer_of(const struct redis_value *v);

/* Hands on what archive_take or archive_idle answered: jobs or sessions (archive.c). */
struct archive_taken;
void archive_tell_taken(const struct redis_value *v,
                        void (*cb)(void *arg, enum queue_answer answer, const struct archive_taken *taken),
                        void *arg);

/* ---- store (store.c) ---- */

void store_check(struct queue *q);  /* begins the checks; ends in queue_set_ready */
void store_gather(struct queue *q); /* figures for queue_stats, memory */
void queue_set_ready(struct queue *q, bool ready, const char *why);

/* ---- readers ---- */

struct topic;
void topics_connected(struct queue *q); /* subscribe anew */
void topics_second(struct queue *q);    /* re-read what waits */
void topics_free(struct queue *q);
void on_pubsub(void *arg, struct str channel, struct str payload);
/* A synchronous submit keeps early messages until its callback has opened a reader. */
struct topic *topic_hold(struct queue *q, const struct id *job);
/* As if the message had come on the channel of the held topic. */
void topic_keep(struct queue *q, const struct id *job, struct str message);
void topic_unhold(struct queue *q, struct topic *t);

/* A message of PROTOCOL.md 8. */
enum { MESSAGE_EVENTS = 256 };
struct message {
    struct id job;
    uint64_t seq; /* of the job's last event */
    size_t count;
    struct event events[MESSAGE_EVENTS];
};
MUST_CHECK enum err message_parse(struct str payload, struct message *ret_message);
/* A job that was delivered to us, or claimed for us. Everything points into the message, or into itself. */
enum { HANDED_VALUES = 15, HANDED_WITH_STATE = 18 };
struct handed {
    struct id job;
    struct str class_name, entry;
    struct redis_value answer, values[HANDED_WITH_STATE]; /* as claim answers; empty: not claimed yet */
};
/* ERR_INVALID: it is another kind of message. */
MUST_CHECK enum err handed_parse(struct str payload, struct handed *ret_handed);
/* Entries of an XRANGE reply. */
MUST_CHECK enum err entry_decode(const struct redis_value *entry, struct id job, struct event *ret_event);

/* ---- consumer ---- */

void consumer_connected(struct queue *q);
void consumer_second(struct queue *q);
void consumer_message(struct queue *q, const struct message *m);
void consumer_handed(struct queue *q, struct str message);
/* Reads what is pending for this worker once more. */
void consumer_look_again(struct queue *q);
void consumer_close(struct queue *q);

/* Runs calls_tick and what topics hold in the next turn of the loop. */
void queue_soon(struct queue *q);
void topics_soon(struct queue *q);
void remember_class(struct queue *q, struct str name);
void part_opened(struct queue *q);
void part_closed(void *q);

#endif
