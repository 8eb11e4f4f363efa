/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/canary.h"

#include "worker/canary.h"
#include "worker/landlock.h"
#include "worker/runner/contained.h"
#include "worker/runner/pod_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum {
    TASKS_MAX = 4200, /* a pod that may have more has no limit worth the name */
    TASK_BYTES =
        40 * 1024, /* what the kernel and a stack take of the container's memory for one, and a reserve */
    STACK_BYTES = 4096,
    REACH_MS = 2000,
    CANNOT = 78,
};

static const char *const names[CANARY_COUNT] = {
#define C(NAME, name, needed, text) #name,
#include "worker/canary.def"
#undef C
};

static struct {
    uint64_t work_bytes, tmp_bytes;
} asked;

/* ---- the container's control groups ---- */

/* The number that the first of these files begins with; UINT64_MAX: none is there, or it says "max". */
static uint64_t number_in(const char *v2, const char *v1)
{
    const char *const paths[] = {v2, v1};
    for (int i = 0; i < 2; i++) {
        char text[64] = "";
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
        if (fd >= 0)
            close(fd);
        if (n > 0)
            return text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : UINT64_MAX;
    }
    return UINT64_MAX;
}

static uint64_t memory_limit(void)
{
    return number_in("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

/* Version 1 writes "no limit" as a number that no machine has. */
static bool has_memory_limit(void)
{
    struct sysinfo machine;
    return sysinfo(&machine) == 0 && memory_limit() < (uint64_t)machine.totalram * machine.mem_unit;
}

/* Version 1 writes "no limit" as -1. */
static bool has_cpu_limit(void)
{
    return number_in("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us") != UINT64_MAX;
}

static bool has_exact_usage(void)
{
    const unsigned all =
        1U << RUNNER_FD_CPU | 1U << RUNNER_FD_MEMORY | 1U << RUNNER_FD_PEAK | 1U << RUNNER_FD_PIDS;
    return (contained_counters() & all) == all;
}

/* ---- processes ---- */

static int sleeper(void *arg)
{
    (void)arg;
    while (pause() < 0) {
    }
    return 0;
}

/* The limit is the pod's, whose files are not seen from its container: it is known by running into it. As many as the memory allows,
   so a small container may be told to have none. They end with this process. */
static bool has_pids_limit(void)
{
    uint64_t room = memory_limit() / 2 / TASK_BYTES;
    int most = room < TASKS_MAX ? (int)room : TASKS_MAX;
    char *stacks = mmap(NULL, (size_t)TASKS_MAX * STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        return false;
    for (int i = 0; i < most; i++)
        if (clone(sleeper, stacks + (size_t)(i + 1) * STACK_BYTES, CLONE_VM | CLONE_FS | CLONE_FILES, NULL) <
            0)
            return errno == EAGAIN;
    return false;
}

/* ---- volumes, filter, kernel ---- */

static bool fits(const char *path, uint64_t bytes)
{
    struct statvfs st;
    return statvfs(path, &st) == 0 && (uint64_t)st.f_blocks * st.f_frsize <= bytes + 4096;
}

static bool has_volume_limit(void)
{
    return fits("/mnt/data", asked.work_bytes) && fits("/tmp", asked.tmp_bytes);
}

static bool has_seccomp(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2;
}

static bool has_landlock(void)
{
    return landlock_abi() > 0;
}

/* ---- the network ---- */

static int try_to_connect(const char *host, const char *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {.v4 = {.sin_family = AF_INET}};
    in_port_t number = htons((uint16_t)strtoul(port, NULL, 10));
    socklen_t len = sizeof to.v4;
    to.v4.sin_port = number;
    if (inet_pton(AF_INET, host, &to.v4.sin_addr) != 1) {
        to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = number};
        len = sizeof to.v6;
        if (inet_pton(AF_INET6, host, &to.v6.sin6_addr) != 1)
            return -1;
    }
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)connect(fd, &to.any, len); /* poll and SO_ERROR tell how it went */
    return fd;
}

/* Whoever answers was reached, also with a refusal. */
static bool answered(int fd)
{
    int e = 0;
    socklen_t len = sizeof e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && (e == 0 || e == ECONNREFUSED);
}

static bool has_network_policy(void)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct pollfd to[2] = {{.fd = host && port ? try_to_connect(host, port) : -1, .events = POLLOUT},
                           {.fd = try_to_connect("169.254.169.254", "80"), .events = POLLOUT}};
    for (int left = 2; left > 0; left--) {
        if (poll(to, 2, REACH_MS) <= 0)
            return true;
        for (int i = 0; i < 2; i++) {
            if (to[i].fd < 0 || to[i].revents == 0)
                continue;
            if (answered(to[i].fd))
                return false;
            to[i].fd = -1;
        }
    }
    return true;
}

/* ---- the whole ---- */

/* Processes come last: they take memory until the end. */
static const struct {
    enum canary_row row;
    bool (*there)(void);
} probes[CANARY_COUNT] = {
    {CANARY_MEMORY_LIMIT, has_memory_limit},     {CANARY_CPU_LIMIT, has_cpu_limit},
    {CANARY_VOLUME_LIMIT, has_volume_limit},     {CANARY_SECCOMP, has_seccomp},
    {CANARY_EXACT_USAGE, has_exact_usage},       {CANARY_LANDLOCK, has_landlock},
    {CANARY_NETWORK_POLICY, has_network_policy}, {CANARY_PIDS_LIMIT, has_pids_limit},
};

static bool tell(const char *text, size_t n)
{
    int fd = open("/dev/termination-log", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, n) == (ssize_t)n;
}

int canary_main(const char *sizes)
{
    char text[512] = CANARY_MAGIC;
    size_t n = strlen(text);
    char *end = NULL;
    asked.work_bytes = strtoull(sizes, &end, 10);
    asked.tmp_bytes = *end == ',' ? strtoull(end + 1, &end, 10) : 0;
    if (*end != '\0' || asked.tmp_bytes == 0) {
        fprintf(stderr, "millrace-runner: %s%s: two sizes in bytes are needed\n", CANARY_OPTION, sizes);
        return CANNOT;
    }
    for (size_t i = 0; i < CANARY_COUNT; i++)
        if (!probes[i].there())
            n += (size_t)snprintf(text + n, sizeof text - n, " %s", names[probes[i].row]);
    if (tell(text, n))
        return 0;
    fprintf(stderr, "millrace-runner: /dev/termination-log: %s\n", strerror(errno));
    return CANNOT;
}
