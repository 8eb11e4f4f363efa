/* SPDX-License-Identifier: Apache-2.0 */
/* `millrace up`: the supervisor of a system on one machine.

     state folder    lock          held while a supervisor lives; its pid
                     api.key       the key in use           redis.key   the own Redis's password
                     millrace.yaml what the programs read   redis.conf  what the own Redis reads
                     up.json       who runs where (for `status`, `env` and tests)
                     minio/        with --minio: what the own MinIO keeps; minio.user and minio.key are its keys
                     redis/        the append-only file     log/        one file for each program
                     objects/      the object store; root's: /var/lib/millrace/up-HASH, which workers can enter
     /run/millrace-up-HASH/worker.yaml   the same for a worker without privilege, when we are root: it cannot enter
                                         the state folder. Of one's own user otherwise.

   One janitor pass (up_tick) starts what is due, asks who is ready, and stops in order: api and archiver, spawner, redis. */
#ifndef MILLRACE_TOOLS_UP_H
#define MILLRACE_TOOLS_UP_H

#include "base/buf.h"
#include "io/http/client.h"
#include "schema/config.h"
#include "tools/millrace/cli.h"

#include <sys/types.h>

enum { UP_PATH_MAX = 512, UP_KEY_MAX = 256, UP_CHILDREN_MAX = 129, UP_ARGS_MAX = 80, UP_ENV_MAX = 512 };
enum {
    UP_WORKER_GID = 65533
}; /* root's workers run as this user and group (millrace-spawner --worker-uid) */

/* PART: X(SYMBOL, "name", stops): parts stop in the order of `stops`. They start in the order of the rows; whoever
   comes later waits until those before are ready once. */
#define UP_PART_TABLE(X)                                                                                     \
    X(REDIS, "redis", 2, 10000)                                                                              \
    X(MINIO, "minio", 2, 10000)                                                                              \
    X(API, "api", 0, 10000)                                                                                  \
    X(WORKER, "worker", 1, 40000)                                                                            \
    X(ARCHIVER, "archiver", 0, 25000)

enum up_part {
#define X(symbol, name, stops, grace_ms) UP_##symbol,
    UP_PART_TABLE(X)
#undef X
        UP_PARTS
};

struct up_child {
    struct up *up;
    enum up_part part;
    int number;   /* of its part, from 1 */
    pid_t pid;    /* 0: not running */
    int guard_fd; /* to its guard (up_guard.c), or -1 */
    int port;
    unsigned restarts, quick_ends; /* quick: ended within a second of its start, in a row */
    int64_t started_ns, restart_at_ns, term_at_ns;
    off_t log_from; /* where in its log its last start begins */
    bool drawn;     /* its port is any, and nobody was told of it yet */
    bool ready;     /* was ready once since it was started */
    bool probing;   /* an answer to "are you ready" is awaited */
    char why[256];  /* it is not ready, as it said last while up was starting; "" */
    int last_status;
};

enum up_phase { UP_STARTING, UP_DEMO, UP_SERVING, UP_STOPPING };

struct up {
    const struct cli *cli;
    struct config config;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t signals[4];
    struct http_client *http;
    enum up_phase phase;
    int exit_code;
    int64_t began_ns, trimmed_ns;
    char state[UP_PATH_MAX], bin[UP_PATH_MAX], worker_config[UP_PATH_MAX];
    char objects[UP_PATH_MAX]; /* folder of the object store, or "": the settings name one */
    char key[UP_KEY_MAX], redis_key[UP_KEY_MAX], minio_key[UP_KEY_MAX];
    bool own_redis;
    bool sudo;             /* the spawner is started through sudo */
    int lock_fd, ready_fd; /* ready_fd: a detached supervisor tells its parent, or -1 */
    struct up_child children[UP_CHILDREN_MAX];
    size_t count;
};

/* up_state.c: the state folder. Paths are built with up_path(); `out` is UP_PATH_MAX bytes. */
MUST_CHECK enum err up_state_find(struct up *up, struct errinfo *info); /* only names it */
MUST_CHECK enum err up_state_make(struct up *up,
                                  struct errinfo *info); /* folders, lock, keys, config files */
void up_path(const struct up *up, const char *name, char out[UP_PATH_MAX]);
uint64_t up_state_hash(const struct up *up); /* of the folder's name */
/* The pid of a living supervisor, or 0. */
pid_t up_state_owner(const struct up *up);
void up_state_tell(const struct up *up); /* writes up.json */
void up_state_remove(struct up *up);     /* what goes at the end; with --ephemeral all of it */
MUST_CHECK enum err up_file_read(const struct up *up, const char *name, struct buf *out);
MUST_CHECK enum err up_file_write(const struct up *up, const char *name, struct str text,
                                  struct errinfo *info);
MUST_CHECK enum err up_free_port(int wanted, int *ret_port); /* 0: any. ERR_EXISTS: taken */

/* up_objects.c: the folder of the object store, or the own MinIO. */
#define UP_MINIO_USER "millrace"
MUST_CHECK enum err up_minio_check(const struct up *up, struct errinfo *info);
void up_minio_settings(const struct up *up, struct buf *out);
MUST_CHECK enum err up_objects_make(struct up *up, struct errinfo *info);
void up_objects_remove(struct up *up); /* when it is empty; with --ephemeral in any case */

/* up_child.c: one process. */
const char *up_part_name(enum up_part part);
void up_child_start(struct up_child *child);
void up_child_signal(struct up_child *child, int signal);
/* Collects those that ended; returns how many did. */
int up_children_reap(struct up *up);
void up_child_set_ready(struct up_child *child, bool ready);
bool up_part_ready(const struct up *up, enum up_part part);
void up_children_trim_logs(struct up *up); /* a log that has become too long begins anew */
/* Prints the end of what it has written since it was started. True: `phrase` (may be NULL) stands in it. */
bool up_child_log_tail(const struct up_child *child, const char *phrase);
void up_child_log_path(const struct up_child *child, char out[UP_PATH_MAX]);

/* up_guard.c: a spawner with root's privilege for an ordinary user. */
int up_guard(char **argv); /* the process itself: its exit code */
bool up_sudo_works(bool may_ask);

/* up_probe.c: asks once; child->ready is set when the answer is yes. */
void up_probe(struct up_child *child);

/* up_tell.c: what people read. */
void up_demo(struct up *up, void (*done)(struct up *up, bool good));
void up_print_welcome(const struct up *up);
int up_print_status(struct up *up);
int up_print_env(struct up *up);
int up_down(struct up *up);

#endif
