/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/contained.h"

#include "worker/runner/container_python.h"
#include "worker/runner/door.h"
#include "worker/runner/pod_fds.h"
#include "worker/spawner/defence.h"
#include "worker/templates/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char container_filter[];
extern const size_t container_filter_len;

enum { NEEDS_MAX = 16, CANNOT = 78 };

struct contained {
    unsigned port;
    uint8_t digest[DIGEST_SIZE];
    bool has_digest;
    const char *warm;
    unsigned off; /* defences that a test took out */
    const char *needs[NEEDS_MAX];
    size_t need_count;
};

/* ---- the command line ---- */

static bool hex_digit(char c, uint8_t *ret_value)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    if (at == NULL)
        return false;
    *ret_value = (uint8_t)(at - digits);
    return true;
}

static bool take_digest(const char *hex, uint8_t ret_digest[DIGEST_SIZE])
{
    for (int i = 0; i < DIGEST_SIZE; i++) {
        uint8_t high, low;
        if (!hex_digit(hex[2 * i], &high) || !hex_digit(hex[2 * i + 1], &low))
            return false;
        ret_digest[i] = (uint8_t)(high << 4 | low);
    }
    return hex[2 * DIGEST_SIZE] == '\0';
}

static const char *after(const char *arg, const char *key)
{
    size_t n = strlen(key);
    return strncmp(arg, key, n) == 0 ? arg + n : NULL;
}

/* In a release there is no such option. */
static bool take_off(const char *list, unsigned *ret_off)
{
#ifdef MILLRACE_TEST_BUILD
    struct str rest = str_of(list);
    while (rest.p != NULL) {
        enum defence d = defence_named(str_split(&rest, ','));
        if (d == DEFENCE_COUNT)
            return false;
        *ret_off |= 1U << d;
    }
    return true;
#else
    (void)list;
    (void)ret_off;
    return false;
#endif
}

static bool take_option(struct contained *c, const char *arg)
{
    const char *v;
    char *end = NULL;
    if ((v = after(arg, "--listen=")) != NULL) {
        unsigned long port = strtoul(v, &end, 10);
        c->port = (unsigned)port;
        return *v != '\0' && *end == '\0' && port > 0 && port < 65536;
    }
    if ((v = after(arg, "--token=")) != NULL)
        return c->has_digest = take_digest(v, c->digest);
    if ((v = after(arg, "--warm=")) != NULL)
        return (c->warm = v) != NULL;
    if ((v = after(arg, "--off=")) != NULL)
        return take_off(v, &c->off);
    v = after(arg, "--needs=");
    if (v == NULL || c->need_count == NEEDS_MAX)
        return false;
    c->needs[c->need_count++] = v;
    return true;
}

/* ---- what the engine and the image must have given ---- */

static bool cannot(const char *what, const char *why)
{
    fprintf(stderr, "millrace-runner: %s: %s\n", what, why);
    return false;
}

static bool folder_is_good(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return cannot(path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return cannot(path, "is a link in this image; it must be a folder");
    if (!S_ISDIR(st.st_mode))
        return cannot(path, "is not a folder");
    return access(path, R_OK | W_OK | X_OK) == 0 || cannot(path, "cannot be written by this user");
}

static bool image_is_good(const struct contained *c)
{
    for (size_t i = 0; i < c->need_count; i++)
        if (access(c->needs[i], F_OK) != 0)
            return cannot(c->needs[i], "is missing in this image");
    struct stat st;
    if (lstat("/mnt", &st) != 0 || !S_ISDIR(st.st_mode))
        return cannot("/mnt", "is not a folder in this image");
    return folder_is_good(POD_WORK_DIR) && folder_is_good("/tmp");
}

static bool place_is_good(void)
{
    if (getpid() != 1)
        return cannot("PID 1", "this process is not it; processes of the pod must not be shared");
    if (getuid() == 0 || geteuid() != getuid())
        return cannot("user", "must not be root");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return cannot("prctl", strerror(errno));
    return prctl(PR_CAPBSET_READ, 0, 0, 0, 0) == 0 ||
           cannot("capabilities", "the container has some; drop ALL");
}

/* ---- descriptors ---- */

/* Their numbers are fixed; what else is opened must not take them. */
static bool reserve(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool good = null >= 0;
    for (int fd = RUNNER_FD_CONTROL; good && fd < RUNNER_FD_END; fd++)
        good = fd == null || dup3(null, fd, O_CLOEXEC) == fd;
    return good || cannot("/dev/null", strerror(errno));
}

/* The container's own counters, where the engine shows them: the first of each that is there. */
unsigned contained_counters(void)
{
    static const struct {
        int at;
        const char *path;
    } counters[] = {
        {RUNNER_FD_CPU, "/sys/fs/cgroup/cpu.stat"},
        {RUNNER_FD_CPU, "/sys/fs/cgroup/cpuacct/cpuacct.usage"},
        {RUNNER_FD_CPU, "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"},
        {RUNNER_FD_MEMORY, "/sys/fs/cgroup/memory.events"},
        {RUNNER_FD_MEMORY, "/sys/fs/cgroup/memory/memory.oom_control"},
        {RUNNER_FD_PEAK, "/sys/fs/cgroup/memory.peak"},
        {RUNNER_FD_PEAK, "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"},
        {RUNNER_FD_PIDS, "/sys/fs/cgroup/pids.current"},
        {RUNNER_FD_PIDS, "/sys/fs/cgroup/pids/pids.current"},
    };
    unsigned there = 0;
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        if (there & 1U << counters[i].at)
            continue;
        int fd = open(counters[i].path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
            continue;
        if (dup3(fd, counters[i].at, O_CLOEXEC) == counters[i].at)
            there |= 1U << counters[i].at;
        close(fd);
    }
    return there;
}

static bool place_filter(void)
{
    int e = sealed_place("filter", container_filter, container_filter_len, RUNNER_FD_FILTER);
    return (e == 0 && fcntl(RUNNER_FD_FILTER, F_SETFD, FD_CLOEXEC) == 0) ||
           cannot("the system call filter", strerror(-e));
}

/* ---- the whole ---- */

static const struct launcher *launcher_for(const char *warm)
{
    const struct launcher *l = container_python_named(warm);
    return l != NULL ? l : launcher_named(warm);
}

static bool prepare(const struct contained *c, struct runner *r)
{
    if (c->warm != NULL && (r->warm = launcher_for(c->warm)) == NULL)
        return cannot(c->warm, "is no interpreter that can be started ahead");
    if (!place_is_good() || !image_is_good(c) || !reserve() || !place_filter())
        return false;
    r->off = c->off;
    r->contained = r->files.contained = true;
    r->fds = 1U << RUNNER_FD_CONTROL | 1U << RUNNER_FD_FILTER | contained_counters();
    return runner_block_signals() || cannot("signals", strerror(errno));
}

int contained_main(int argc, char **argv)
{
    static struct door door;
    struct contained c = {.port = 0};
    struct errinfo info = {0};
    struct runner *r = runner_context();
    for (int i = 1; i < argc; i++)
        if (!take_option(&c, argv[i])) {
            (void)cannot(argv[i], "is no option, or has no such value");
            return CANNOT;
        }
    if (c.port == 0 || !c.has_digest) {
        (void)cannot("--listen and --token", "are needed");
        return CANNOT;
    }
    if (!prepare(&c, r))
        return CANNOT;
    r->channel.fd = -1;
    /* First: the cluster calls the pod running, and the worker comes, before the interpreter has started. */
    if (door_open(&door, c.port, c.digest, &info) != ERR_OK) {
        (void)cannot("the door", info.text);
        return CANNOT;
    }
    runner_begin(r);
    door_wait(&door, r);
    runner_run(r);
}
