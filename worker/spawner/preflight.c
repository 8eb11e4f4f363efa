/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/preflight.h"

#include "base/cleanup.h"
#include "worker/spawner/cgroup_file.h"
#include "worker/spawner/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const struct {
    const char *name;
    bool fatal;
    const char *text;
} rows[] = {
#define P(NAME, name, fatal, text) {#name, fatal, text},
#include "worker/spawner/preflight.def"
#undef P
};

static bool has_user_namespaces(void)
{
    pid_t pid = fork();
    int status = 0;
    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool has_seccomp(void)
{
    const unsigned actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]) != 0)
            return false;
    }
    return true;
}

/* Absent calls say ENOSYS; with nonsense arguments present ones say something else. */
static bool has_call(long number)
{
    return syscall(number, -1, NULL, -1, NULL, 0) != -1 || errno != ENOSYS;
}

static bool has_swap(void)
{
    auto_buf text = BUF_INIT(1 << 16);
    if (!cgroup_read_file("/proc/swaps", &text))
        return false;
    const char *second = strchr(buf_cstr(&text), '\n');
    return second != NULL && second[1] != '\0';
}

static bool has_landlock(void)
{
    return syscall(444 /* landlock_create_ruleset */, NULL, 0, 1 /* VERSION */) >= 1;
}

uint64_t preflight_look(const struct cgroups *c, bool privileged)
{
    const bool present[] = {
        [PREFLIGHT_USER_NAMESPACES] = has_user_namespaces(),
        [PREFLIGHT_SECCOMP] = has_seccomp(),
        [PREFLIGHT_NEW_MOUNT_API] =
            has_call(SYS_mount_setattr) && has_call(SYS_open_tree) && has_call(SYS_move_mount),
        [PREFLIGHT_PIDFD] = has_call(SYS_pidfd_open) && has_call(SYS_close_range),
        [PREFLIGHT_SUBORDINATE_IDS] = privileged || idmap_has_subordinate(),
        [PREFLIGHT_MEMORY_LIMIT] = (c->has & 1U << CG_MEMORY) != 0,
        [PREFLIGHT_PIDS_LIMIT] = (c->has & 1U << CG_PIDS) != 0,
        [PREFLIGHT_CPU_LIMIT] = (c->has & 1U << CG_CPU) != 0,
        [PREFLIGHT_SWAP_LIMIT] = c->swap_accounted || !has_swap(),
        [PREFLIGHT_LANDLOCK] = has_landlock(),
    };
    uint64_t missing = 0;
    for (int i = 0; i < PREFLIGHT_COUNT; i++)
        missing |= present[i] ? 0 : 1ULL << i;
    return missing;
}

uint64_t preflight_acceptable(const char *name)
{
    for (int i = 0; i < PREFLIGHT_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0 && !rows[i].fatal)
            return 1ULL << i;
    }
    return 0;
}

void preflight_names(uint64_t missing, char *text, size_t size)
{
    text[0] = '\0';
    for (int i = 0; i < PREFLIGHT_COUNT; i++) {
        size_t at = strlen(text);
        if ((missing & 1ULL << i) != 0)
            snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", rows[i].name);
    }
}

void preflight_print(uint64_t missing, uint64_t accepted)
{
    for (int i = 0; i < PREFLIGHT_COUNT; i++) {
        uint64_t bit = 1ULL << i;
        const char *state = (missing & bit) == 0    ? "ok"
                            : rows[i].fatal         ? "MISSING, and no pod is safe without it"
                            : (accepted & bit) != 0 ? "missing, accepted"
                                                    : "MISSING; accept with --accept-missing=";
        bool named = (missing & bit) != 0 && !rows[i].fatal && (accepted & bit) == 0;
        fprintf(stderr, "%-18s %s%s  (%s)\n", rows[i].name, state, named ? rows[i].name : "", rows[i].text);
    }
}

bool preflight_passes(uint64_t missing, uint64_t accepted)
{
    return (missing & ~accepted) == 0; /* fatal rows cannot be accepted */
}
