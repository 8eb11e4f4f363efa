/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the pods, from the spawner's side. Every request is checked here again, whoever sent it. */
#include "base/cleanup.h"
#include "base/log.h"
#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"
#include "worker/spawner/fdmsg.h"
#include "worker/spawner/kinds.h"
#include "worker/spawner/preflight.h"
#include "worker/spawner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* An id is a slot and a turn, so that it is found without a search and never used again. */
enum { SLOT_BITS = 11, SEND_BUFFER = 1 << 20 };
_Static_assert(1 << SLOT_BITS == PODS_MAX, "a slot fits its bits");

static const struct {
    size_t offset;
    uint64_t least, most;
    const char *name;
} bounds[] = {
    {offsetof(struct pod_limits, memory_bytes), 8 << 20, 1ULL << 42, "memory_bytes"},
    {offsetof(struct pod_limits, pids), 2, 1 << 20, "pids"},
    {offsetof(struct pod_limits, cpu_millis), 10, 1 << 20, "cpu_millis"},
    {offsetof(struct pod_limits, work_bytes), 4096, 1ULL << 42, "work_bytes"},
    {offsetof(struct pod_limits, work_inodes), 8, 1 << 24, "work_inodes"},
    {offsetof(struct pod_limits, tmp_bytes), 4096, 1ULL << 42, "tmp_bytes"},
};

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* False: `fd` cannot be sent now, and nothing was. */
static bool send_reply(struct spawner *s, enum spawner_reply_type type, uint64_t tag, uint64_t pod, int fd,
                       const struct pod_usage *usage, const char *text)
{
    struct spawner_reply r = {.magic = SPAWNER_MAGIC, .type = type, .tag = tag, .pod = pod};
    if (usage != NULL)
        r.usage = *usage;
    snprintf(r.text, sizeof r.text, "%s", text);
    /* It waits: the worker reads its replies before all else. A worker that is gone is seen elsewhere. */
    enum err e = s->worker < 0 ? ERR_OK : fdmsg_send(s->worker, &r, sizeof r, &fd, fd >= 0 ? 1 : 0, true);
    if (e != ERR_OK && e != ERR_FULL)
        shutdown(s->worker, SHUT_RDWR);
    return e != ERR_FULL;
}

static void reply(struct spawner *s, enum spawner_reply_type type, uint64_t tag, uint64_t pod,
                  const struct pod_usage *usage, const char *text)
{
    (void)send_reply(s, type, tag, pod, -1, usage, text); /* without a descriptor it is never refused */
}

void pods_say_hello(struct spawner *s)
{
    struct spawner_reply r = {.magic = SPAWNER_MAGIC,
                              .type = SPAWNER_HELLO,
                              .missing = s->missing,
                              .accepted = s->accepted,
                              .rootless = !s->privileged};
    int size = SEND_BUFFER;
    enum err e = setsockopt(s->worker, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0 ? ERR_OK : ERR_SYSTEM;
    if (e == ERR_OK)
        e = fdmsg_send(s->worker, &r, sizeof r, NULL, 0, true);
    if (e == ERR_OK)
        return;
    log_warn("the worker is not there");
    if (e != ERR_CLOSED) /* else its end tells the rest */
        s->failed = s->stopping = true;
}

void pods_init(struct spawner *s)
{
    for (size_t i = 0; i < PODS_MAX; i++) {
        struct pod *p = &s->pods[i];
        *p = (struct pod){.pidfd = -1, .worker_end = -1};
        memset(p->program_fds, 0xff, sizeof p->program_fds);
    }
    s->next_uid = HELPER_POD_FIRST;
}

static struct pod *find(struct spawner *s, uint64_t id)
{
    struct pod *p = &s->pods[id & (PODS_MAX - 1)];
    return p->state != POD_FREE && p->id == id ? p : NULL;
}

static struct pod *free_slot(struct spawner *s)
{
    for (size_t i = 0; i < PODS_MAX; i++) {
        struct pod *p = &s->pods[(s->made + i) & (PODS_MAX - 1)];
        if (p->state == POD_FREE)
            return p;
    }
    return NULL;
}

/* Two ids that no living pod has; the same ones come again only after all others. */
static uint32_t take_uid(struct spawner *s)
{
    if (!defence_on(s->off, DEFENCE_UNIQUE_IDS))
        return HELPER_POD_FIRST;
    for (;;) {
        bool used = false;
        uint32_t uid = s->next_uid;
        s->next_uid = uid + 3 >= s->ids ? HELPER_POD_FIRST : uid + 2;
        for (size_t i = 0; !used && i < PODS_MAX; i++)
            used = s->pods[i].state != POD_FREE && s->pods[i].uid == uid;
        if (!used)
            return uid; /* there are more ids than pods */
    }
}

static void free_fds(struct pod *p)
{
    shut(&p->worker_end);
    for (size_t i = 0; i < TEMPLATE_FD_GO; i++)
        shut(&p->program_fds[i]);
}

static void release(struct spawner *s, struct pod *p)
{
    free_fds(p);
    shut(&p->pidfd);
    if (p->cgroup != NULL)
        cgroup_give_back(&s->cgroups, p->cgroup);
    p->cgroup = NULL;
    p->template = NULL;
    p->state = POD_FREE;
}

/* Not made: nothing of it runs, or its first process ends with the control socket. */
static void fail(struct spawner *s, struct pod *p, const char *why)
{
    reply(s, SPAWNER_FAILED, p->tag, 0, NULL, why);
    release(s, p);
}

/* One that cannot be killed alone is ended with all others. */
static void doom(struct spawner *s, struct pod *p)
{
    p->state = POD_DOOMED;
    if (syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH)
        return;
    log_error("a pod cannot be killed", F_INT("errno", errno));
    s->failed = true;
    s->stopping = true;
}

struct fd_list {
    int fds[HELPER_FDS_MAX];
    uint8_t roles[HELPER_FDS_MAX];
    size_t n;
};

static void give(struct fd_list *l, int fd, int role)
{
    l->fds[l->n] = fd;
    l->roles[l->n++] = (uint8_t)role;
}

/* Pipes and go socket of a program that a template will fork: ours for the runner, theirs kept until the fork. */
static bool make_program_fds(struct pod *p, int ours[TEMPLATE_FD_GO])
{
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0)
            return false;
        ours[i] = ends[i == 0 ? 1 : 0];
        p->program_fds[i] = ends[i == 0 ? 0 : 1];
        if (fchmod(ends[0], 0666) != 0) /* the program is another id than we, and may open /dev/stdout */
            return false;
    }
    int go[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) != 0)
        return false;
    ours[3] = go[0];
    p->program_fds[3] = go[1];
    return true;
}

/* A cold program enters its cgroup itself, through descriptors that are ours; a rootless pod is put there whole. */
static void give_cgroup(struct spawner *s, struct pod *p, bool procs, struct fd_list *l)
{
    if (p->cgroup == NULL)
        return;
    for (size_t i = 0; procs && i < s->cgroups.trees_n; i++)
        give(l, p->cgroup->procs[i], RUNNER_FD_CGROUP + (int)i);
    if (p->cgroup->cpu >= 0)
        give(l, p->cgroup->cpu, RUNNER_FD_CPU);
    if (p->cgroup->memory >= 0)
        give(l, p->cgroup->memory, RUNNER_FD_MEMORY);
    if (p->cgroup->peak >= 0)
        give(l, p->cgroup->peak, RUNNER_FD_PEAK);
}

static enum err ask_helper(struct spawner *s, struct pod *p, const struct pod_kind_row *kind,
                           const struct spawner_request *r, struct errinfo *info)
{
    struct fd_list l = {.n = 0};
    struct helper_request q = {.type = HELPER_POD, .tag = p->id, .uid = p->uid, .limits = r->limits};
    int pair[2], ours[TEMPLATE_FD_GO] = {-1, -1, -1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make a pod's socket");
    p->worker_end = pair[0];
    give(&l, pair[1], RUNNER_FD_CONTROL);
    give_cgroup(s, p, p->template == NULL || !s->privileged, &l);
    enum err e = ERR_OK;
    if (p->template != NULL) {
        q.program = PROGRAM_FORKED;
        e = make_program_fds(p, ours) ? ERR_OK
                                      : errinfo_set(info, ERR_SYSTEM, errno, "make a program's pipes");
        for (int i = 0; e == ERR_OK && i < TEMPLATE_FD_GO; i++)
            give(&l, ours[i], RUNNER_FD_STDIN + i);
    }
    if (pod_how_waits(kind->how))
        q.program = PROGRAM_WARM;
    snprintf(q.set, sizeof q.set, "%s", kind->set);
    q.fd_count = (uint32_t)l.n;
    q.enter_first = !s->privileged;
    memcpy(q.roles, l.roles, sizeof q.roles);
    if (e == ERR_OK && (e = fdmsg_send(s->helper, &q, sizeof q, l.fds, l.n, true)) != ERR_OK)
        (void)errinfo_set(info, e, errno, "ask the helper");
    shut(&pair[1]);
    for (int i = 0; i < TEMPLATE_FD_GO; i++)
        shut(&ours[i]);
    return e;
}

static const char *bad_limits(const struct pod_limits *l)
{
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        uint64_t v;
        memcpy(&v, (const char *)l + bounds[i].offset, sizeof v);
        if (v < bounds[i].least || v > bounds[i].most)
            return bounds[i].name;
    }
    return NULL;
}

static struct template *template_of(struct spawner *s, const char *kind)
{
    for (size_t i = 0; i < s->templates_n; i++) {
        if (strcmp(s->templates[i].kind, kind) == 0)
            return &s->templates[i];
    }
    return NULL;
}

static void set_paused(struct spawner *s, bool paused)
{
    if (s->paused == paused || s->worker < 0)
        return;
    struct epoll_event e = {.events = paused ? 0U : EPOLLIN, .data.u64 = (uint64_t)SOURCE_WORKER << 32};
    if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->worker, &e) == 0)
        s->paused = paused;
}

static void on_create(struct spawner *s, const struct spawner_request *r)
{
    struct errinfo info = {0};
    enum pod_kind kind = pod_kind_named(r->kind);
    struct template *t = template_of(s, r->kind);
    const char *limit = bad_limits(&r->limits);
    struct pod *p = free_slot(s);
    char text[TEMPLATE_TEXT_MAX];
    snprintf(text, sizeof text, "%s", "");
    if (t != NULL)
        t->wanted = true;
    if (limit != NULL)
        snprintf(text, sizeof text, "the limit %s is out of range", limit);
    else if (kind == KIND_COUNT)
        snprintf(text, sizeof text, "there is no pod of this kind");
    else if (pod_kind_row(kind)->how == HOW_FORKED && t == NULL)
        snprintf(text, sizeof text, "%s is not installed", pod_kind_row(kind)->needs);
    else if (t != NULL && !t->ready)
        snprintf(text, sizeof text, "%s", t->why);
    else if (p == NULL)
        snprintf(text, sizeof text, "there are %d pods already", PODS_MAX);
    if (text[0] != '\0') {
        reply(s, SPAWNER_FAILED, r->tag, 0, NULL, text);
        return;
    }
    size_t slot = (size_t)(p - s->pods);
    p->state = POD_MAKING;
    p->id = ++s->made << SLOT_BITS | slot;
    p->tag = r->tag;
    p->asked = false;
    p->template = t;
    p->uid = take_uid(s);
    if (s->cgroups.trees_n > 0 && cgroup_take(&s->cgroups, &r->limits, s->off, &p->cgroup, &info) != ERR_OK) {
        fail(s, p, info.text);
        return;
    }
    if (ask_helper(s, p, pod_kind_row(kind), r, &info) != ERR_OK) {
        fail(s, p, info.text);
        return;
    }
    s->making++;
    set_paused(s, s->making >= MAKING_MAX);
}

static void on_limits(struct spawner *s, const struct spawner_request *r)
{
    struct errinfo info = {0};
    struct pod *p = find(s, r->pod);
    const char *limit = bad_limits(&r->limits);
    if (p == NULL || p->state != POD_LIVE)
        (void)errinfo_set(&info, ERR_NOT_FOUND, 0, "there is no such pod");
    else if (limit != NULL)
        (void)errinfo_set(&info, ERR_RANGE, 0, "the limit %s is out of range", limit);
    else if (p->cgroup != NULL &&
             cgroup_set_limits(&s->cgroups, p->cgroup, &r->limits, s->off, &info) == ERR_OK)
        info.code = ERR_OK;
    reply(s, info.code == ERR_OK ? SPAWNER_CHANGED : SPAWNER_FAILED, r->tag, r->pod, NULL, info.text);
}

static void usage_of(struct spawner *s, struct pod *p, struct pod_usage *ret)
{
    *ret = (struct pod_usage){0};
    if (p != NULL && p->cgroup != NULL)
        cgroup_usage(&s->cgroups, p->cgroup, ret);
}

static void on_usage(struct spawner *s, const struct spawner_request *r)
{
    struct pod_usage usage;
    struct pod *p = find(s, r->pod);
    usage_of(s, p, &usage);
    if (p == NULL)
        reply(s, SPAWNER_FAILED, r->tag, r->pod, NULL, "there is no such pod");
    else
        reply(s, SPAWNER_USAGED, r->tag, r->pod, &usage, "");
}

/* A pod that is gone already is what was wanted. */
static void on_destroy(struct spawner *s, const struct spawner_request *r)
{
    struct pod_usage none = {0};
    struct pod *p = find(s, r->pod);
    if (p == NULL) {
        reply(s, SPAWNER_GONE, r->tag, r->pod, &none, "");
        return;
    }
    p->asked = true;
    p->tag = r->tag;
    if (p->state == POD_LIVE)
        doom(s, p);
}

void pods_on_worker(struct spawner *s)
{
    static void (*const handlers[])(struct spawner *, const struct spawner_request *) = {
        [SPAWNER_CREATE] = on_create,
        [SPAWNER_LIMITS] = on_limits,
        [SPAWNER_USAGE] = on_usage,
        [SPAWNER_DESTROY] = on_destroy,
    };
    for (int i = 0; i < MAKING_MAX && !s->paused; i++) {
        struct spawner_request r;
        size_t n = 0;
        enum err e = fdmsg_recv(s->worker, &r, sizeof r, NULL, 0, &n, false);
        if (e == ERR_AGAIN)
            return;
        bool known =
            e == ERR_OK && r.magic == SPAWNER_MAGIC && r.type >= SPAWNER_CREATE && r.type <= SPAWNER_DESTROY;
        if (!known || memchr(r.kind, '\0', sizeof r.kind) == NULL) {
            if (e != ERR_CLOSED)
                log_error("the worker breaks the protocol");
            s->stopping = true;
            return;
        }
        handlers[r.type](s, &r);
    }
}

/* The worker gets its end of the control socket. */
static void deliver(struct spawner *s, struct pod *p)
{
    if (send_reply(s, SPAWNER_CREATED, p->tag, p->id, p->worker_end, NULL, "")) {
        p->state = POD_LIVE;
        free_fds(p);
        return;
    }
    reply(s, SPAWNER_FAILED, p->tag, 0, NULL, "too many descriptors are on their way");
    doom(s, p);
}

static void fork_into(struct spawner *s, struct pod *p)
{
    int fds[FDMSG_MAX] = {[TEMPLATE_FD_PIDFD] = p->pidfd};
    size_t n = TEMPLATE_FD_CGROUPS, groups = 0;
    memcpy(fds + TEMPLATE_FD_STDIN, p->program_fds, sizeof p->program_fds);
    for (size_t i = 0; p->cgroup != NULL && i < s->cgroups.trees_n; i++, groups++)
        fds[n++] = p->cgroup->procs[i];
    p->state = POD_FORKING;
    if (template_fork(p->template, p->id, fds, n, groups) == ERR_OK)
        return;
    reply(s, SPAWNER_FAILED, p->tag, 0, NULL, p->template->why);
    doom(s, p);
}

static void on_made(struct spawner *s, struct pod *p, int pidfd)
{
    p->pidfd = pidfd;
    if (spawner_watch(s, pidfd, SOURCE_POD, (uint32_t)(p - s->pods)) != ERR_OK) {
        doom(s, p);
        fail(s, p, "too many descriptors");
        return;
    }
    if (p->template != NULL)
        fork_into(s, p);
    else
        deliver(s, p);
}

void pods_on_helper(struct spawner *s)
{
    for (;;) {
        struct helper_reply r;
        int fds[1] = {-1};
        size_t n = 0;
        enum err e = fdmsg_recv(s->helper, &r, sizeof r, fds, 1, &n, false);
        if (e == ERR_AGAIN)
            return;
        if (e == ERR_FULL) { /* fail() closes the pod's control socket, which ends it */
            snprintf(r.text, sizeof r.text, "the spawner may open no more descriptors");
            log_limited(LOG_WARN, "a pod was made and is given up", F_STR("why", r.text));
        } else if (e != ERR_OK) {
            log_error("the helper is lost, and with it every pod");
            s->failed = true;
            s->stopping = true;
            return;
        }
        r.text[sizeof r.text - 1] = '\0';
        if (r.type == HELPER_STARTED || (r.type == HELPER_FAILED && r.tag < TEMPLATES_MAX)) {
            if (r.type == HELPER_FAILED)
                template_lost(s, &s->templates[r.tag], r.text);
            continue;
        }
        struct pod *p = find(s, r.tag);
        s->making--;
        set_paused(s, false);
        if (p == NULL || p->state != POD_MAKING)
            shut(&fds[0]);
        else if (r.type == HELPER_MADE && n == 1)
            on_made(s, p, fds[0]);
        else
            fail(s, p, r.text);
    }
}

void pods_on_exit(struct spawner *s, uint32_t index)
{
    struct pod *p = &s->pods[index];
    struct pod_usage usage;
    if (p->state == POD_FREE || p->state == POD_MAKING)
        return;
    usage_of(s, p, &usage);
    if (p->state == POD_FORKING)
        reply(s, SPAWNER_FAILED, p->tag, 0, NULL, "the pod died before its program was there");
    else if (p->state == POD_LIVE || p->asked)
        reply(s, SPAWNER_GONE, p->asked ? p->tag : 0, p->id, &usage, "");
    release(s, p);
}

/* Its pods in the making are lost with it. */
static void drop_template(struct spawner *s, struct template *t, const char *why)
{
    template_lost(s, t, why);
    for (size_t i = 0; i < PODS_MAX; i++) {
        struct pod *p = &s->pods[i];
        if (p->state != POD_FORKING || p->template != t)
            continue;
        reply(s, SPAWNER_FAILED, p->tag, 0, NULL, t->why);
        doom(s, p);
    }
}

void pods_on_template(struct spawner *s, struct template *t)
{
    while (t->control >= 0) {
        struct template_reply r;
        enum err e = template_receive(t, &r);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK) {
            drop_template(s, t, "the template ended");
            return;
        }
        struct pod *p = find(s, r.tag);
        if (r.type == TEMPLATE_FAILED && !t->ready) {
            drop_template(s, t, r.text);
            return;
        }
        if (p == NULL || p->state != POD_FORKING)
            continue;
        if (r.type == TEMPLATE_FORKED) {
            deliver(s, p);
        } else {
            reply(s, SPAWNER_FAILED, p->tag, 0, NULL, r.text);
            doom(s, p);
        }
    }
}
