/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/plan.h"

#include "schema/languages.h"
#include "worker/runner/pod_fds.h"

#include <sched.h>
#include <string.h>

static void add(struct plan *p, struct op op)
{
    if (p->n == PLAN_MAX) {
        p->overflow = true;
        return;
    }
    p->ops[p->n++] = op;
}

/* A row of a list belongs to a defence, or to none (ALWAYS). */
#define ALWAYS DEFENCE_COUNT
struct row {
    enum defence defence;
    struct op op;
};

static void add_rows(struct plan *p, const struct row *rows, size_t n, unsigned off)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].defence == ALWAYS || defence_on(off, rows[i].defence))
            add(p, rows[i].op);
    }
}

#define SAFE_TREE (PLAN_RDONLY | PLAN_NOSUID | PLAN_NODEV)

static const char etc_passwd[] = "root:x:0:0:root:/:/usr/sbin/nologin\n"
                                 "user:x:1000:1000:user:" POD_WORK_DIR ":/bin/sh\n"
                                 "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
static const char etc_group[] = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n";
static const char etc_hosts[] = "127.0.0.1 localhost pod\n::1 localhost\n";
static const char etc_nsswitch[] = "passwd: files\ngroup: files\nhosts: files\n";

static const struct row root_rows[] = {
    {ALWAYS, {.type = OP_DIR, .path = "etc"}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/passwd", .arg = etc_passwd}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/group", .arg = etc_group}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/hosts", .arg = etc_hosts}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/nsswitch.conf", .arg = etc_nsswitch}},
    {ALWAYS,
     {.type = OP_BIND,
      .path = "etc/ld.so.cache",
      .arg = "/etc/ld.so.cache",
      .flags = SAFE_TREE | PLAN_NOEXEC,
      .optional = true}},
    {ALWAYS,
     {.type = OP_BIND,
      .path = "etc/alternatives",
      .arg = "/etc/alternatives",
      .flags = SAFE_TREE | PLAN_NOEXEC,
      .optional = true}},
    {ALWAYS, {.type = OP_DIR, .path = "dev"}},
    {ALWAYS, {.type = OP_BIND, .path = "dev/null", .arg = "/dev/null"}},
    {ALWAYS, {.type = OP_BIND, .path = "dev/zero", .arg = "/dev/zero"}},
    {ALWAYS, {.type = OP_BIND, .path = "dev/full", .arg = "/dev/full"}},
    {ALWAYS, {.type = OP_BIND, .path = "dev/random", .arg = "/dev/random"}},
    {ALWAYS, {.type = OP_BIND, .path = "dev/urandom", .arg = "/dev/urandom"}},
    {ALWAYS, {.type = OP_LINK, .path = "dev/fd", .arg = "/proc/self/fd"}},
    {ALWAYS, {.type = OP_LINK, .path = "dev/stdin", .arg = "/proc/self/fd/0"}},
    {ALWAYS, {.type = OP_LINK, .path = "dev/stdout", .arg = "/proc/self/fd/1"}},
    {ALWAYS, {.type = OP_LINK, .path = "dev/stderr", .arg = "/proc/self/fd/2"}},
    {ALWAYS, {.type = OP_DIR, .path = "dev/shm"}},
    {ALWAYS, {.type = OP_DIR, .path = "tmp"}},
    {ALWAYS, {.type = OP_DIR, .path = "mnt"}},
    {ALWAYS, {.type = OP_DIR, .path = "mnt/data"}},
    {ALWAYS, {.type = OP_DIR, .path = "var"}},
    {ALWAYS, {.type = OP_LINK, .path = "var/tmp", .arg = "/tmp"}},
    {ALWAYS, {.type = OP_DIR, .path = "proc"}},
    /* Every pod's own /proc may only be mounted where one is to be seen already. This one shows the helper's. */
    {ALWAYS, {.type = OP_PROC, .path = "proc", .arg = ""}},
    {DEFENCE_LOCAL_MASK, {.type = OP_HIDE_DIR, .path = "usr/local", .optional = true}},
    {DEFENCE_READ_ONLY_ROOT, {.type = OP_PROTECT, .path = ".", .flags = SAFE_TREE}},
};

extern const char transpile_js[], launcher_php[];

static const struct row toolchain_rows[] = {
    {ALWAYS, {.type = OP_DIR, .path = "etc"}},
    {ALWAYS, {.type = OP_DIR, .path = "etc/millrace"}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/millrace/transpile.js", .arg = transpile_js}},
    {ALWAYS, {.type = OP_FILE, .path = "etc/millrace/launcher.php", .arg = launcher_php}},
    /* `import` does not look at NODE_PATH, but for this name in every folder above the program. */
    {ALWAYS, {.type = OP_LINK, .path = "node_modules", .arg = "/usr/share/nodejs"}},
};

static bool planned(const struct plan *p, const char *path)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->ops[i].path, path) == 0)
            return true;
    }
    return false;
}

/* What the toolchains of languages.def read below /etc, and files of ours that they run. */
static void add_toolchains(struct plan *p, unsigned off)
{
    add_rows(p, toolchain_rows, sizeof toolchain_rows / sizeof toolchain_rows[0], off);
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const char *const *etc = language_row((enum language)i)->etc;
        for (; etc != NULL && *etc != NULL; etc++) {
            if (!planned(p, *etc + 1))
                add(p, (struct op){.type = OP_BIND,
                                   .path = *etc + 1,
                                   .arg = *etc,
                                   .flags = SAFE_TREE | PLAN_NOEXEC,
                                   .optional = true});
        }
    }
}

void plan_root(struct plan *p, const struct host_facts *host, unsigned off)
{
    unsigned flags = defence_on(off, DEFENCE_READ_ONLY_ROOT) ? SAFE_TREE : 0U;
    *p = (struct plan){0};
    add(p, (struct op){.type = OP_BIND, .path = "usr", .arg = "/usr", .flags = flags, .recursive = true});
    for (size_t i = 0; i < host->top_n; i++) {
        const char *name = host->top[i].name;
        if (host->top[i].target != NULL)
            add(p, (struct op){.type = OP_LINK, .path = name, .arg = host->top[i].target});
        else
            add(p,
                (struct op){.type = OP_BIND, .path = name, .arg = name, .flags = flags, .recursive = true});
    }
    add_toolchains(p, off);
    add_rows(p, root_rows, sizeof root_rows / sizeof root_rows[0], off);
}

/* The user limit is written before its file becomes read-only. */
static const struct row proc_rows[] = {
    {DEFENCE_NESTED_NAMESPACES, {.type = OP_WRITE, .path = "proc/sys/user/max_user_namespaces", .arg = "0"}},
    {DEFENCE_PROC_MASKS, {.type = OP_READ_ONLY, .path = "proc/sys"}},
    {DEFENCE_PROC_MASKS, {.type = OP_READ_ONLY, .path = "proc/bus", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_READ_ONLY, .path = "proc/fs", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_READ_ONLY, .path = "proc/irq", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_READ_ONLY, .path = "proc/sysrq-trigger", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_CHECK_NULL, .path = "dev/null"}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/kcore", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/keys", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/key-users", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/timer_list", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/timer_stats", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/latency_stats", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/sched_debug", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/kallsyms", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/kmsg", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/config.gz", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_FILE, .path = "proc/cmdline", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_DIR, .path = "proc/acpi", .arg = "tmp", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_DIR, .path = "proc/scsi", .arg = "tmp", .optional = true}},
    {DEFENCE_PROC_MASKS, {.type = OP_HIDE_DIR, .path = "proc/asound", .arg = "tmp", .optional = true}},
    {DEFENCE_UTS_NAMESPACE, {.type = OP_HOSTNAME, .arg = "pod"}},
};

static void add_tmpfs(struct plan *p, const char *path, uint64_t bytes, uint64_t inodes, unsigned flags,
                      unsigned off)
{
    bool bounded = defence_on(off, DEFENCE_DISK_LIMITS);
    add(p, (struct op){.type = OP_TMPFS,
                       .path = path,
                       .flags = PLAN_NOSUID | PLAN_NODEV | flags,
                       .mode = 0700,
                       .id = POD_UID,
                       .bytes = bounded ? bytes : 0,
                       .inodes = bounded ? inodes : 0});
}

void plan_pod(struct plan *p, const struct pod_limits *limits, unsigned off)
{
    unsigned noexec = defence_on(off, DEFENCE_NOEXEC_TMP) ? PLAN_NOEXEC : 0U;
    *p = (struct plan){0};
    add(p, (struct op){.type = OP_PROC,
                       .path = "proc",
                       .arg = defence_on(off, DEFENCE_PROC_HIDEPID) ? "hidepid=2" : ""});
    add_rows(p, proc_rows, sizeof proc_rows / sizeof proc_rows[0], off);
    add_tmpfs(p, "dev/shm", limits->tmp_bytes, limits->work_inodes, noexec, off);
    add_tmpfs(p, "tmp", limits->tmp_bytes, limits->work_inodes, noexec, off);
    add_tmpfs(p, "mnt/data", limits->work_bytes, limits->work_inodes, 0, off);
}

static const struct {
    enum defence defence;
    unsigned long flag;
} namespaces[] = {
    {ALWAYS, CLONE_NEWUSER},
    {ALWAYS, CLONE_NEWPID},
    {ALWAYS, CLONE_NEWNS},
    {DEFENCE_NET_NAMESPACE, CLONE_NEWNET},
    {DEFENCE_IPC_NAMESPACE, CLONE_NEWIPC},
    {DEFENCE_UTS_NAMESPACE, CLONE_NEWUTS},
    {DEFENCE_CGROUP_NAMESPACE, CLONE_NEWCGROUP},
};

unsigned long plan_namespaces(unsigned off)
{
    unsigned long flags = 0;
    for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++) {
        if (namespaces[i].defence == ALWAYS || defence_on(off, namespaces[i].defence))
            flags |= namespaces[i].flag;
    }
    return flags;
}

/* The cgroup namespace begins where the program is, so the program makes it. */
unsigned long plan_clone_flags(unsigned off)
{
    return plan_namespaces(off) & ~(unsigned long)CLONE_NEWCGROUP;
}
