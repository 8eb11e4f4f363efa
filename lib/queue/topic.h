/* SPDX-License-Identifier: Apache-2.0 */
/* A topic is a job that somebody here reads: its subscription, its readers, and, for a synchronous submit, the messages that
   came before the reader. Private to topic.c and reader.c. */
#ifndef MILLRACE_QUEUE_TOPIC_H
#define MILLRACE_QUEUE_TOPIC_H

#include "queue/archive_source.h"
#include "queue/internal.h"

struct topic {
    struct idnode node;
    struct list soon; /* in queue.ready_topics while messages are to be handed on */
    struct list readers;
    bool private_channel; /* messages come on this process's channel: no subscription */
    bool subscribed, asked, holding;
    unsigned busy;   /* being handed a message: not to be freed */
    struct buf held; /* messages, each behind its length in decimal and a line end */
};

enum reader_progress {
    PROGRESS_IDLE,
    PROGRESS_OPENING,
    PROGRESS_READING,
    PROGRESS_LIVE,
    PROGRESS_ARCHIVED,
    PROGRESS_OVER
};

struct log_reader {
    struct list link;
    struct queue *q;
    struct topic *topic;
    unsigned refs; /* the owner, each read under way, each delivery */
    enum reader_progress progress;
    bool closed, told_caught_up, reread, paused;
    bool allowed;          /* the tenant was checked */
    bool known;            /* and the offset */
    bool archived, passed; /* the log is at `place`; the offset was met there */
    struct archive_place place;
    struct archive_source *source;
    char tenant[NAME_MAX_LEN];
    char id[EVENT_ID_MAX]; /* the last one delivered; "0" */
    uint64_t seq;          /* of it; 0: not known */
    uint64_t heard;        /* the highest that a message spoke of */
    log_reader_cb cb;
    void *arg;
};

/* topic.c */
struct topic *topic_get(struct queue *q,
                        const struct id *job); /* made where there is none; NULL: no memory */
void topic_subscribe(struct queue *q, struct topic *t);
void topic_free_if_idle(struct queue *q, struct topic *t);

/* reader.c */
void reader_read(struct log_reader *r); /* what is in the log behind its last event */
void reader_take(struct log_reader *r, const struct message *m);
void reader_gone(struct log_reader *r); /* the log is no more */
void reader_drop(struct log_reader *r); /* its queue is closed */

#endif
