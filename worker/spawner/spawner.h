/* SPDX-License-Identifier: Apache-2.0 */
/* The only privileged process of a worker: makes pods on its request, and is its parent. It reads fixed-size
   messages from its child and from the helper, and nothing else; it links no network library. */
#ifndef MILLRACE_WORKER_SPAWNER_SPAWNER_H
#define MILLRACE_WORKER_SPAWNER_SPAWNER_H

#include "worker/spawner/cgroup.h"
#include "worker/spawner/helper.h"
#include "worker/spawner/template.h"

#include <sys/types.h>

enum { PODS_MAX = 2048, MAKING_MAX = 32 };

enum pod_state {
    POD_FREE,
    POD_MAKING,  /* the helper is at it */
    POD_FORKING, /* a template is at it */
    POD_LIVE,    /* the worker has it */
    POD_DOOMED,  /* killed; not known to be dead yet */
};

struct pod {
    enum pod_state state;
    uint64_t id;
    uint64_t tag; /* of the request that is not answered yet */
    bool asked;   /* DOOMED: the worker waits for GONE */
    uint32_t uid;
    struct template *template; /* NULL: cold */
    struct cgroup *cgroup;     /* NULL: no controller here */
    int pidfd;
    int worker_end;                  /* the stream socket that goes to the worker */
    int program_fds[TEMPLATE_FD_GO]; /* stdin, stdout, stderr, go of a forked program; -1 else */
};

struct spawner {
    bool privileged;
    bool stopping;
    bool failed; /* it is our side that ended it */
    unsigned off;
    uint64_t missing, accepted;
    uint32_t host_base, ids;
    const char *helper_path;
    char **worker_argv;
    unsigned worker_uid, worker_gid;
    int epoll, signals;
    int state;         /* its directory, whose lock we hold */
    int filter, image; /* memfds: system call filter, the helper's executable */
    int helper;        /* socket */
    int worker;        /* socket */
    pid_t helper_pid, worker_pid;
    int worker_status;
    struct cgroups cgroups;
    struct template templates[TEMPLATES_MAX];
    size_t templates_n;
    struct pod pods[PODS_MAX];
    uint64_t made; /* pods ever */
    uint32_t next_uid;
    unsigned making;
    bool paused; /* the worker is not read while too much is in the making */
};

/* What an epoll event is about. */
enum source { SOURCE_SIGNALS, SOURCE_HELPER, SOURCE_WORKER, SOURCE_POD, SOURCE_TEMPLATE };
MUST_CHECK enum err spawner_watch(struct spawner *s, int fd, enum source source, uint32_t index);

/* process.c */
MUST_CHECK enum err spawner_start_helper(struct spawner *s, struct errinfo *info);
MUST_CHECK enum err spawner_start_worker(struct spawner *s, struct errinfo *info);

/* pods.c */
void pods_init(struct spawner *s);
void pods_on_worker(struct spawner *s);
void pods_on_helper(struct spawner *s);
void pods_on_exit(struct spawner *s, uint32_t index);
void pods_on_template(struct spawner *s, struct template *t);
void pods_say_hello(struct spawner *s);

#endif
