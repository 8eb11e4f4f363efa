/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/helper.h"

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/slice.h"
#include "schema/languages.h"
#include "worker/runner/pod_fds.h"
#include "worker/runner/runner_main.h"
#include "worker/spawner/apply.h"
#include "worker/spawner/clone_owned.h"
#include "worker/spawner/fdmsg.h"
#include "worker/spawner/helper_template.h"
#include "worker/spawner/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Low descriptors are kept occupied, so that none that we receive collides with the numbers a runner is given. */
enum { LOW_FDS = 32, TEXT = 256 };

struct helper {
    int control, filter, signals;
    unsigned off, owner;
    unsigned long clone_flags;
    struct netns_pool nets;
};

/* Everything the child needs, made before it starts. */
struct birth {
    struct helper *helper;
    const struct helper_request *request;
    const int *fds;
    int go_read, go_write;     /* we close our end: the maps are written */
    int told_read, told_write; /* the child: closed when all is done, or a text */
    struct plan plan;
};

/* What ps shows of us; a child writes its own name there. */
static char *own_name;
static size_t own_name_size;

static enum err take_ids(struct errinfo *info)
{
    if (syscall(SYS_setresgid, 0, 0, 0) != 0 || syscall(SYS_setresuid, 0, 0, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "become root of the pod");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "death signal");
    return ERR_OK;
}

static bool entered(const struct helper_request *q, uint32_t i)
{
    return q->enter_first != 0 && q->roles[i] >= RUNNER_FD_CGROUP &&
           q->roles[i] < RUNNER_FD_CGROUP + RUNNER_CGROUPS_MAX;
}

/* The runner's descriptors at their numbers, and nothing else: the end of `told_write` says that all went well. */
static enum err place_fds(const struct birth *b, unsigned *ret_present, struct errinfo *info)
{
    unsigned present = 0;
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "/dev/null");
    for (uint32_t i = 0; i < b->request->fd_count; i++) {
        if (entered(b->request, i))
            continue;
        if (dup2(b->fds[i], b->request->roles[i]) < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "descriptors");
        present |= 1U << b->request->roles[i];
    }
    if (b->request->program != PROGRAM_FORKED) {
        if (dup2(b->helper->filter, RUNNER_FD_FILTER) < 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "descriptors");
        present |= 1U << RUNNER_FD_FILTER;
    }
    for (int fd = RUNNER_FD_CONTROL; fd < RUNNER_FD_END; fd++) {
        if ((present & 1U << fd) == 0)
            close(fd);
    }
    if (close_range(RUNNER_FD_END, ~0U, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "close_range");
    *ret_present = present;
    return ERR_OK;
}

static enum err become_first(const struct birth *b, struct runner_start *start, struct errinfo *info)
{
    char byte;
    if (read(b->go_read, &byte, 1) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "wait for the maps");
    enum err e = take_ids(info);
    if (e == ERR_OK && chdir("/") != 0)
        e = errinfo_set(info, ERR_SYSTEM, errno, "enter the root");
    if (e == ERR_OK)
        e = apply_plan(&b->plan, info);
    /* A template may only join who can be looked at; the runner ends that when the program is there. */
    if (e == ERR_OK && b->request->program == PROGRAM_FORKED && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
        e = errinfo_set(info, ERR_SYSTEM, errno, "dumpable");
    return e == ERR_OK ? place_fds(b, &start->fds, info) : e;
}

/* What a run in a pod with this launcher may have when it asks for nothing. */
static uint64_t usual_memory(const struct helper_request *q)
{
    unsigned percent = 100;
    for (unsigned i = 0; i < LANG_COUNT; i++)
        if (strcmp(language_row((enum language)i)->warm, q->set) == 0)
            percent = language_memory_percent(language_row((enum language)i));
    return q->limits.memory_bytes * percent / 100;
}

static _Noreturn void child_main(const struct birth *b)
{
    struct errinfo info = {0};
    struct runner_start start = {.off = b->helper->off};
    fault_enter(FAULT_FIRST);
    close(b->go_write);
    snprintf(own_name, own_name_size, "millrace-runner");
    prctl(PR_SET_NAME, "millrace-runner", 0, 0, 0);
    if (become_first(b, &start, &info) != ERR_OK) {
        ssize_t n = write(b->told_write, info.text, strnlen(info.text, sizeof info.text));
        _exit(n > 0 ? 1 : 2); /* without a text the parent says so */
    }
    if (b->request->program == PROGRAM_WARM)
        start.warm = launcher_named(b->request->set), start.memory = usual_memory(b->request);
    _exit(runner_main(&start));
}

static enum err write_map(const char *dir, const char *file, uint32_t base, struct errinfo *info)
{
    char path[64], text[96];
    int len = snprintf(text, sizeof text, "0 %u 1\n%d %u 1\n", base, POD_UID, base + 1);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        return errinfo_set(info, ERR_SYSTEM, errno, "write %s", file);
    return ERR_OK;
}

static enum err enter_cgroups(const struct birth *b, int pid, struct errinfo *info)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d", pid);
    for (uint32_t i = 0; i < b->request->fd_count; i++) {
        if (entered(b->request, i) && write(b->fds[i], text, (size_t)len) != len)
            return errinfo_set(info, ERR_SYSTEM, errno, "enter the cgroup");
    }
    return ERR_OK;
}

static enum err write_maps(const struct birth *b, int pid, struct errinfo *info)
{
    char dir[32];
    snprintf(dir, sizeof dir, "/proc/%d", pid);
    enum err e = enter_cgroups(b, pid, info);
    if (e == ERR_OK)
        e = write_map(dir, "gid_map", b->request->uid, info);
    return e == ERR_OK ? write_map(dir, "uid_map", b->request->uid, info) : e;
}

static enum err clone_child(const struct birth *b, int *ret_pid, int *ret_pidfd, struct errinfo *info)
{
    struct helper *h = b->helper;
    struct netns *net = NULL;
    unsigned owner = b->request->program == PROGRAM_FORKED ? h->owner : 0;
    enum err e = netns_enter(&h->nets, &net, info);
    if (e != ERR_OK)
        return e;
    int pid = clone_owned(owner, (h->clone_flags & ~(unsigned long)CLONE_NEWNET) | CLONE_PIDFD, ret_pidfd);
    if (pid == 0)
        child_main(b);
    if (pid < 0)
        e = errinfo_set(info, ERR_SYSTEM, errno, "clone");
    netns_leave(&h->nets, net, pid);
    *ret_pid = pid;
    return e;
}

static enum err wait_until_made(struct birth *b, struct errinfo *info)
{
    char text[TEXT];
    ssize_t n = read(b->told_read, text, sizeof text - 1);
    if (n == 0)
        return ERR_OK;
    text[n > 0 ? n : 0] = '\0';
    return errinfo_set(info, ERR_SYSTEM, 0, "%s", n > 0 ? text : "the pod's first process was lost");
}

static enum err raise_child(struct birth *b, int *ret_pidfd, struct errinfo *info)
{
    auto_fd pidfd = -1;
    int pid = -1;
    enum err e = clone_child(b, &pid, &pidfd, info);
    if (e == ERR_OK)
        e = write_maps(b, pid, info);
    close(b->told_write);
    if (e != ERR_OK && pidfd >= 0)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    close(b->go_write);
    if (e == ERR_OK)
        e = wait_until_made(b, info);
    if (e == ERR_OK)
        *ret_pidfd = steal_fd(&pidfd);
    return e;
}

static enum err give_birth(struct birth *b, int *ret_pidfd, struct errinfo *info)
{
    int go[2], told[2];
    if (pipe2(go, O_CLOEXEC) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "pipe");
    if (pipe2(told, O_CLOEXEC) != 0) {
        close(go[0]);
        close(go[1]);
        return errinfo_set(info, ERR_SYSTEM, errno, "pipe");
    }
    b->go_read = go[0];
    b->go_write = go[1];
    b->told_read = told[0];
    b->told_write = told[1];
    enum err e = raise_child(b, ret_pidfd, info);
    close(go[0]);
    close(told[0]);
    return e;
}

static enum err make_pod(struct helper *h, const struct helper_request *q, const int *fds, int *ret_pidfd,
                         struct errinfo *info)
{
    struct birth b;
    for (uint32_t i = 0; i < q->fd_count; i++) {
        if (q->roles[i] < RUNNER_FD_CONTROL || q->roles[i] >= RUNNER_FD_END)
            return errinfo_set(info, ERR_INVALID, 0, "unknown descriptor role");
    }
    if (q->program == PROGRAM_WARM && launcher_named(q->set) == NULL)
        return errinfo_set(info, ERR_INVALID, 0, "unknown launcher");
    b = (struct birth){.helper = h, .request = q, .fds = fds};
    plan_pod(&b.plan, &q->limits, h->off);
    return give_birth(&b, ret_pidfd, info);
}

static void answer(struct helper *h, enum helper_type type, uint64_t tag, int fd, const char *text)
{
    struct helper_reply r = {.type = type, .tag = tag};
    snprintf(r.text, sizeof r.text, "%s", text);
    enum err e = fdmsg_send(h->control, &r, sizeof r, &fd, fd >= 0 ? 1 : 0, true);
    if (e == ERR_FULL && fd >= 0) { /* a pod that nobody can be given */
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        answer(h, HELPER_FAILED, tag, -1, "too many descriptors are on their way");
    } else if (e != ERR_OK) {
        _exit(0); /* the spawner is gone; PID 1's end is everybody's */
    }
}

static void on_request(struct helper *h)
{
    struct helper_request q;
    struct errinfo info = {0};
    int fds[HELPER_FDS_MAX];
    size_t n = 0;
    enum err e = fdmsg_recv(h->control, &q, sizeof q, fds, HELPER_FDS_MAX, &n, false);
    if (e == ERR_AGAIN)
        return;
    if (e == ERR_FULL) {
        answer(h, HELPER_FAILED, q.tag, -1, "the helper may open no more descriptors");
        return;
    }
    if (e != ERR_OK || n != q.fd_count)
        _exit(e == ERR_CLOSED ? 0 : 70);
    auto_fd pidfd = -1;
    fault_enter(FAULT_HELPER_POD);
    if (q.type == HELPER_POD)
        e = make_pod(h, &q, fds, &pidfd, &info);
    else if (q.type == HELPER_TEMPLATE && n == 1)
        e = helper_start_template(q.set, fds[0], h->owner, &info);
    else
        _exit(70);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    if (e != ERR_OK)
        answer(h, HELPER_FAILED, q.tag, -1, info.text);
    else
        answer(h, q.type == HELPER_POD ? HELPER_MADE : HELPER_STARTED, q.tag, pidfd, "");
    fault_enter(FAULT_NONE);
}

static void reap(struct helper *h)
{
    struct signalfd_siginfo info[16];
    while (read(h->signals, info, sizeof info) > 0)
        ;
    for (pid_t pid = 1; pid > 0;) {
        pid = waitpid(-1, NULL, WNOHANG);
        if (pid > 0)
            netns_on_exit(&h->nets, pid);
    }
}

/* What of the top level the host has as links into /usr, and what as directories. */
static void look_at_host(struct host_facts *host, char targets[HOST_TOP_MAX][32])
{
    static const char *const names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[16];
        struct stat st;
        snprintf(path, sizeof path, "/%s", names[i]);
        if (lstat(path, &st) != 0)
            continue;
        host->top[host->top_n].name = names[i];
        ssize_t n = readlink(path, targets[i], sizeof targets[i] - 1);
        if (n > 0) {
            targets[i][n] = '\0';
            host->top[host->top_n].target = targets[i];
        }
        host->top_n++;
    }
}

static enum err build_root(unsigned off, struct errinfo *info)
{
    static struct plan plan;
    struct host_facts host = {.top_n = 0};
    char targets[HOST_TOP_MAX][32];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=256,mode=755") != 0 ||
        chdir("/tmp") != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "begin the root file system");
    look_at_host(&host, targets);
    plan_root(&plan, &host, off);
    enum err e = apply_plan(&plan, info);
    if (e != ERR_OK)
        return e;
    if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "change the root");
    char cwd[8];
    if (getcwd(cwd, sizeof cwd) == NULL || strcmp(cwd, "/") != 0)
        return errinfo_set(info, ERR_SYSTEM, 0, "the root is not ours");
    return ERR_OK;
}

static int move_up(int fd)
{
    int up = fcntl(fd, F_DUPFD_CLOEXEC, LOW_FDS);
    if (up < 0)
        _exit(71);
    return up;
}

static enum err set_up(struct helper *h, struct errinfo *info)
{
    sigset_t all, child;
    struct rlimit files;
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            return errinfo_set(info, ERR_SYSTEM, errno, "setrlimit");
    }
    if (sigprocmask(SIG_SETMASK, &all, NULL) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "signals");
    h->control = move_up(HELPER_FD_CONTROL);
    h->filter = move_up(HELPER_FD_FILTER);
    h->signals = move_up(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
    enum err e = build_root(h->off, info);
    if (e == ERR_OK)
        e = netns_open(&h->nets, h->off, h->owner, info);
    if (e != ERR_OK)
        return e;
    h->nets.home = move_up(h->nets.home);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 3; fd < LOW_FDS; fd++) {
        if (null < 0 || (fd != null && dup3(null, fd, O_CLOEXEC) < 0))
            return errinfo_set(info, ERR_SYSTEM, errno, "/dev/null");
    }
    return ERR_OK;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("millrace-podhelper is started by millrace-spawner\n", stderr);
        return 64;
    }
    struct helper h = {.off = (unsigned)strtoul(argv[1], NULL, 16),
                       .owner = (unsigned)strtoul(argv[2], NULL, 10)};
    h.clone_flags = plan_clone_flags(h.off);
    own_name = argv[0];
    own_name_size = (size_t)(argv[2] + strlen(argv[2]) - argv[0]) + 1;
    struct errinfo info = {0};
    fault_enter(FAULT_HELPER_START);
    slice_default(); /* templates and pods are our forks, so both are as if nobody had set anything */
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL); /* two cannot be set */
    if (set_up(&h, &info) != ERR_OK) {
        answer(&h, HELPER_FAILED, 0, -1, info.text);
        return 1;
    }
    answer(&h, HELPER_UP, 0, -1, "");
    fault_enter(FAULT_NONE);
    for (;;) {
        struct pollfd p[] = {{.fd = h.control, .events = POLLIN}, {.fd = h.signals, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            _exit(71);
        if (p[1].revents != 0)
            reap(&h);
        if (p[0].revents != 0)
            on_request(&h);
    }
}
