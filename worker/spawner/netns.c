/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/netns.h"

#include "base/cleanup.h"
#include "worker/spawner/clone_owned.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* WATCHED_MAX: each pod's first process begins with a copy of our descriptors. */
enum { IDLE_MAX = 64, WATCHED_MAX = 64, TEXT_MAX = 16 * 1024 };

/* All that a program without a capability and without an interface that is up can move and read again. Of the first file only
   the first line, the number of sockets, is the namespace's own. */
static const struct {
    const char *path;
    bool first_line;
} traces[] = {
    {"sockstat", true},       {"snmp", false}, {"netstat", false},   {"snmp6", false},
    {"ip6_flowlabel", false}, {"dev", false},  {"sctp/snmp", false},
};
enum { TRACES = sizeof traces / sizeof traces[0] };

struct netns {
    struct list link;
    int fd;
    pid_t pid;
    bool watched;       /* its traces are open; a file stays with the namespace that it was opened in */
    int traces[TRACES]; /* -1: this kernel has no such file */
};

/* Of the first one, when it was made. */
static struct {
    bool known;
    ssize_t n[TRACES]; /* -1: this kernel has no such file */
    char text[TRACES][TEXT_MAX];
} untouched;

static ssize_t read_trace(int i, int fd, char *text)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, text, TEXT_MAX, 0);
    const char *line = n > 0 && traces[i].first_line ? memchr(text, '\n', (size_t)n) : NULL;
    return line != NULL ? line - text : n;
}

static void learn(const struct netns *n)
{
    for (int i = 0; i < TRACES; i++)
        untouched.n[i] = read_trace(i, n->traces[i], untouched.text[i]);
    untouched.known = true;
}

static bool is_untouched(const struct netns *n)
{
    static char text[TEXT_MAX];
    for (int i = 0; i < TRACES; i++) {
        ssize_t len = read_trace(i, n->traces[i], text);
        if (len != untouched.n[i] || len == TEXT_MAX ||
            (len > 0 && memcmp(text, untouched.text[i], (size_t)len) != 0))
            return false;
    }
    return true;
}

static void unwatch(struct netns_pool *p, struct netns *n)
{
    for (int i = 0; n->watched && i < TRACES; i++)
        if (n->traces[i] >= 0)
            close(n->traces[i]);
    p->watched_n -= n->watched;
    n->watched = false;
}

/* `pid` is in it. Without descriptors for all traces it is not watched: what cannot be read is not taken for absent. */
static void watch(struct netns_pool *p, struct netns *n, pid_t pid)
{
    bool whole = true;
    for (int i = 0; i < TRACES; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/net/%s", (int)pid, traces[i].path);
        n->traces[i] = open(path, O_RDONLY | O_CLOEXEC);
        whole = whole && (n->traces[i] >= 0 || errno == ENOENT);
    }
    n->watched = true;
    p->watched_n++;
    if (!whole)
        unwatch(p, n);
}

static void go(int fd)
{
    if (setns(fd, CLONE_NEWNET) != 0)
        _exit(71); /* nothing of ours may run in a pod's */
}

static enum err open_of(pid_t pid, int *ret_fd, struct errinfo *info)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd >= 0 ? ERR_OK : errinfo_set(info, ERR_SYSTEM, errno, "open a network namespace");
}

static _Noreturn void wait_for_the_end(void)
{
    for (;;)
        pause();
}

/* A process makes it and is gone again. */
static enum err make(struct netns_pool *p, struct netns **ret, struct errinfo *info)
{
    auto_free struct netns *n = calloc(1, sizeof *n);
    if (n == NULL)
        return errinfo_set(info, ERR_NOMEM, 0, "no memory for a network namespace");
    int pid = clone_owned(p->owner, CLONE_NEWUSER | CLONE_NEWNET, NULL);
    if (pid == 0)
        wait_for_the_end();
    if (pid < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make a network namespace");
    enum err e = open_of(pid, &n->fd, info);
    if (e == ERR_OK && p->watched_n < WATCHED_MAX)
        watch(p, n, pid);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (e == ERR_OK)
        *ret = steal_ptr(&n);
    return e;
}

enum err netns_open(struct netns_pool *p, unsigned off, unsigned owner, struct errinfo *info)
{
    *p = (struct netns_pool){.on = defence_on(off, DEFENCE_NET_NAMESPACE),
                             .checked = defence_on(off, DEFENCE_NET_CLEAN),
                             .owner = owner};
    list_init(&p->idle);
    list_init(&p->used);
    return open_of(getpid(), &p->home, info);
}

enum err netns_enter(struct netns_pool *p, struct netns **ret, struct errinfo *info)
{
    struct netns *n = list_first(&p->idle, struct netns, link);
    enum err e = ERR_OK;
    *ret = NULL;
    if (!p->on)
        return ERR_OK;
    if (n != NULL) {
        list_remove(&n->link);
        p->idle_n--;
    } else if ((e = make(p, &n, info)) != ERR_OK) {
        return e;
    }
    if (!untouched.known && n->watched)
        learn(n);
    go(n->fd);
    *ret = n;
    return ERR_OK;
}

static void give_up(struct netns_pool *p, struct netns *n)
{
    unwatch(p, n);
    close(n->fd);
    free(n);
}

/* The one that was used last is taken first: the kernel still has it in its caches. */
static void keep(struct netns_pool *p, struct netns *n)
{
    if (p->idle_n == IDLE_MAX) {
        give_up(p, n);
        return;
    }
    list_append(p->idle.next, &n->link);
    p->idle_n++;
}

void netns_leave(struct netns_pool *p, struct netns *n, pid_t pid)
{
    if (n == NULL)
        return;
    go(p->home);
    n->pid = pid;
    if (pid > 0)
        list_append(&p->used, &n->link);
    else
        keep(p, n);
}

/* One that was touched is replaced at once, so that as many are idle as pods have needed at a time. */
static void look_at(struct netns_pool *p, struct netns *n)
{
    struct errinfo info;
    struct netns *fresh = NULL;
    if (!n->watched) {
        go(n->fd);
        watch(p, n, getpid());
        go(p->home);
    }
    bool good = !p->checked || (n->watched && untouched.known && is_untouched(n));
    if (p->watched_n > WATCHED_MAX) /* more pods than that live at a time */
        unwatch(p, n);
    if (good) {
        keep(p, n);
        return;
    }
    give_up(p, n);
    if (p->idle_n < IDLE_MAX && make(p, &fresh, &info) == ERR_OK) /* else the next pod makes its own */
        keep(p, fresh);
}

void netns_on_exit(struct netns_pool *p, pid_t pid)
{
    list_each(n, &p->used, struct netns, link)
    {
        if (n->pid != pid)
            continue;
        list_remove(&n->link);
        look_at(p, n);
        return;
    }
}
