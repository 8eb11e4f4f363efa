/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/cgroup.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "worker/spawner/cgroup_file.h"
#include "worker/spawner/defence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { IDLE_MAX = 2048, RESIDUE_MAX = 1 << 20, IDLE_LOOK = 4, IDLE_ENOUGH = 32 };

static const struct cgroup_tree *tree_of(const struct cgroups *c, enum cgroup_controller which,
                                         size_t *ret_index)
{
    for (size_t i = 0; i < c->trees_n; i++) {
        if ((c->trees[i].has & 1U << which) != 0) {
            *ret_index = i;
            return &c->trees[i];
        }
    }
    return NULL;
}

static int dir_of(const struct cgroups *c, const struct cgroup *g, enum cgroup_controller which, bool *ret_v2)
{
    size_t i = 0;
    const struct cgroup_tree *t = tree_of(c, which, &i);
    if (t == NULL)
        return -1;
    *ret_v2 = t->v2;
    return g->dir[i];
}

static void close_dirs(struct cgroup *g)
{
    int *fds[] = {&g->cpu, &g->memory, &g->peak};
    for (size_t i = 0; i < CG_CONTROLLERS; i++) {
        if (g->dir[i] >= 0)
            close(g->dir[i]);
        if (g->procs[i] >= 0)
            close(g->procs[i]);
    }
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
    }
}

static void destroy(struct cgroups *c, struct cgroup *g)
{
    char name[16];
    snprintf(name, sizeof name, "p%u", g->number);
    close_dirs(g);
    for (size_t i = 0; i < c->trees_n; i++) {
        if (!cgroup_remove(c->trees[i].base, name, c->trees[i].v2))
            log_limited(LOG_WARN, "a cgroup could not be removed", F_STR("name", name));
    }
    free(g);
}

static enum err make_in_tree(struct cgroup *g, const struct cgroup_tree *t, size_t i, struct errinfo *info)
{
    char name[16];
    snprintf(name, sizeof name, "p%u", g->number);
    if (mkdirat(t->base, name, 0755) != 0 && errno != EEXIST)
        return errinfo_set(info, ERR_SYSTEM, errno, "make cgroup %s/%s", t->path, name);
    g->dir[i] = openat(t->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (g->dir[i] < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "open cgroup %s/%s", t->path, name);
    g->procs[i] = openat(g->dir[i], "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (g->procs[i] < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "open cgroup.procs of %s/%s", t->path, name);
    return ERR_OK;
}

/* A kernel may lack one of them; that we may open no more files is another thing: the pod's end would be told wrongly. */
static enum err open_counters(const struct cgroups *c, struct cgroup *g, struct errinfo *info)
{
    const struct {
        enum cgroup_controller which;
        const char *v1, *v2;
        int *fd;
    } counters[] = {
        {CG_CPUACCT, "cpuacct.usage", "cpu.stat", &g->cpu},
        {CG_MEMORY, "memory.oom_control", "memory.events", &g->memory},
        {CG_MEMORY, "memory.max_usage_in_bytes", "memory.peak", &g->peak},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        bool v2 = false;
        int dir = dir_of(c, g, counters[i].which, &v2);
        const char *name = v2 ? counters[i].v2 : counters[i].v1;
        if (dir < 0)
            continue;
        *counters[i].fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
        if (*counters[i].fd < 0 && (errno == EMFILE || errno == ENFILE))
            return errinfo_set(info, ERR_SYSTEM, errno, "open %s of a cgroup", name);
    }
    return ERR_OK;
}

static struct cgroup *make(struct cgroups *c, struct errinfo *info)
{
    struct cgroup *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    list_init(&g->node);
    g->number = c->next++;
    g->cpu = g->memory = g->peak = -1;
    memset(g->dir, 0xff, sizeof g->dir);
    memset(g->procs, 0xff, sizeof g->procs);
    for (size_t i = 0; i < c->trees_n; i++) {
        if (make_in_tree(g, &c->trees[i], i, info) != ERR_OK) {
            destroy(c, g);
            return NULL;
        }
    }
    if (open_counters(c, g, info) != ERR_OK) {
        destroy(c, g);
        return NULL;
    }
    return g;
}

/* v1 keeps limit <= memsw at every moment, so the order depends on the direction. A new one has no limit. */
static bool set_memory_v1(const struct cgroups *c, int dir, uint64_t now, uint64_t bytes)
{
    static const char memory[] = "memory.limit_in_bytes", with_swap[] = "memory.memsw.limit_in_bytes";
    bool higher = now != 0 && bytes > now;
    if (!c->swap_accounted)
        return cgroup_write_u64(dir, memory, bytes);
    return cgroup_write_u64(dir, higher ? with_swap : memory, bytes) &&
           cgroup_write_u64(dir, higher ? memory : with_swap, bytes);
}

static bool set_memory_v2(int dir, uint64_t bytes)
{
    return cgroup_write_u64(dir, "memory.max", bytes) && cgroup_write_u64(dir, "memory.oom.group", 1) &&
           (cgroup_write_u64(dir, "memory.swap.max", 0) || errno == ENOENT);
}

static bool set_memory(const struct cgroups *c, const struct cgroup *g, uint64_t bytes)
{
    bool v2 = false;
    int dir = dir_of(c, g, CG_MEMORY, &v2);
    if (dir < 0)
        return true;
    if (v2)
        return set_memory_v2(dir, bytes);
    if (set_memory_v1(c, dir, g->limits.memory_bytes, bytes))
        return true;
    /* What an earlier pod left in the page cache may be more. */
    return errno == EBUSY && cgroup_write_u64(dir, "memory.force_empty", 0) &&
           set_memory_v1(c, dir, g->limits.memory_bytes, bytes);
}

static bool set_pids(const struct cgroups *c, const struct cgroup *g, uint64_t pids)
{
    bool v2 = false;
    int dir = dir_of(c, g, CG_PIDS, &v2);
    return dir < 0 || cgroup_write_u64(dir, "pids.max", pids);
}

static bool set_cpu(const struct cgroups *c, const struct cgroup *g, uint64_t millis)
{
    enum { PERIOD_US = 100000 };
    bool v2 = false;
    int dir = dir_of(c, g, CG_CPU, &v2);
    char text[48];
    if (dir < 0)
        return true;
    if (!v2)
        return cgroup_write_u64(dir, "cpu.cfs_quota_us", millis * (PERIOD_US / 1000));
    snprintf(text, sizeof text, "%" PRIu64 " %d", millis * (PERIOD_US / 1000), PERIOD_US);
    return cgroup_write_text(dir, "cpu.max", text);
}

enum err cgroup_set_limits(struct cgroups *c, struct cgroup *g, const struct pod_limits *l, unsigned off,
                           struct errinfo *info)
{
    const struct {
        enum defence defence;
        bool (*set)(const struct cgroups *, const struct cgroup *, uint64_t);
        uint64_t now, want;
        const char *name;
    } limits[] = {
        {DEFENCE_MEMORY_LIMIT, set_memory, g->limits.memory_bytes, l->memory_bytes, "memory"},
        {DEFENCE_PIDS_LIMIT, set_pids, g->limits.pids, l->pids, "pids"},
        {DEFENCE_CPU_SHARE, set_cpu, g->limits.cpu_millis, l->cpu_millis, "cpu"},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].now != limits[i].want && defence_on(off, limits[i].defence) &&
            !limits[i].set(c, g, limits[i].want))
            return errinfo_set(info, ERR_SYSTEM, errno, "set the %s limit", limits[i].name);
    }
    g->limits = *l;
    return ERR_OK;
}

/* A used one counts on from where its last pod ended, and its peak from what is charged to it still: what earlier pods were the
   first to read of the disk. */
static enum err reset(struct cgroups *c, struct cgroup *g, uint64_t *ret_charged)
{
    bool v2 = false;
    int dir = dir_of(c, g, CG_MEMORY, &v2);
    char text[32] = "";
    g->base = g->seen;
    *ret_charged = 0;
    if (dir < 0 || v2)
        return ERR_OK;
    if (!cgroup_write_u64(dir, "memory.max_usage_in_bytes", 0))
        return ERR_SYSTEM;
    if (g->peak >= 0 && pread(g->peak, text, sizeof text - 1, 0) > 0)
        *ret_charged = strtoull(text, NULL, 10);
    return ERR_OK;
}

/* The system forgets what it has read, and the next who needs it waits for the disk. */
static enum err empty(struct cgroups *c, struct cgroup *g)
{
    bool v2 = false;
    uint64_t charged = 0;
    cgroup_write_u64(dir_of(c, g, CG_MEMORY, &v2), "memory.force_empty", 0);
    return reset(c, g, &charged);
}

/* One that was used, or NULL: make one. The next pod would be told of the last one's memory as its own, so it is one to which
   little is charged; where there is none among the first few, and no more are to be made, one is emptied. */
static enum err take_idle(struct cgroups *c, struct cgroup **ret)
{
    struct cgroup *g = NULL;
    uint64_t charged = UINT64_MAX;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < IDLE_LOOK && i < c->idle_n && e == ERR_OK && charged > RESIDUE_MAX; i++) {
        g = list_first(&c->idle, struct cgroup, node);
        list_remove(&g->node);
        list_append(&c->idle, &g->node);
        e = reset(c, g, &charged);
    }
    bool dirty = e == ERR_OK && charged > RESIDUE_MAX;
    if (g == NULL || (dirty && c->idle_n < IDLE_ENOUGH))
        return ERR_OK;
    list_remove(&g->node);
    c->idle_n--;
    *ret = g;
    return dirty ? empty(c, g) : e;
}

enum err cgroup_take(struct cgroups *c, const struct pod_limits *limits, unsigned off, struct cgroup **ret,
                     struct errinfo *info)
{
    struct cgroup *g = NULL;
    enum err e = take_idle(c, &g);
    if (e != ERR_OK)
        e = errinfo_set(info, e, errno, "reset the cgroup");
    else if (g == NULL)
        g = make(c, info);
    if (g == NULL)
        return info->code != ERR_OK ? info->code : ERR_NOMEM;
    if (e == ERR_OK)
        e = cgroup_set_limits(c, g, limits, off, info);
    if (e == ERR_OK)
        *ret = g;
    else
        destroy(c, g);
    return e;
}

static uint64_t since(uint64_t now, uint64_t base)
{
    return now > base ? now - base : 0;
}

static uint64_t read_cpu_ns(const struct cgroup *g, bool v2)
{
    char text[512];
    ssize_t n = g->cpu < 0 ? -1 : pread(g->cpu, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    /* v2 begins with "usage_usec N". */
    return v2 ? strtoull(text + strcspn(text, " "), NULL, 10) * 1000 : strtoull(text, NULL, 10);
}

void cgroup_usage(struct cgroups *c, struct cgroup *g, struct pod_usage *ret)
{
    struct pod_usage u = {0};
    bool v2 = false;
    if (dir_of(c, g, CG_CPUACCT, &v2) >= 0)
        u.cpu_ns = read_cpu_ns(g, v2);
    int dir = dir_of(c, g, CG_MEMORY, &v2);
    if (dir >= 0) {
        u.memory_peak_bytes = cgroup_read_u64(dir, v2 ? "memory.peak" : "memory.max_usage_in_bytes");
        u.oom_kills = cgroup_read_key(dir, v2 ? "memory.events" : "memory.oom_control", "oom_kill");
    }
    dir = dir_of(c, g, CG_PIDS, &v2);
    if (dir >= 0)
        u.pids_refused = cgroup_read_key(dir, "pids.events", "max");
    g->seen = u;
    u.cpu_ns = since(u.cpu_ns, g->base.cpu_ns);
    u.oom_kills = since(u.oom_kills, g->base.oom_kills);
    u.pids_refused = since(u.pids_refused, g->base.pids_refused);
    *ret = u;
}

/* v2 cannot reset its peak, so only v1 cgroups are used twice. Whoever is in one tree is in all. */
static bool reusable(const struct cgroups *c, const struct cgroup *g)
{
    for (size_t i = 0; i < c->trees_n; i++) {
        if (c->trees[i].v2)
            return false;
    }
    return c->idle_n < IDLE_MAX && c->trees_n > 0 && cgroup_is_empty(g->dir[0]);
}

void cgroup_give_back(struct cgroups *c, struct cgroup *g)
{
    if (!reusable(c, g)) {
        destroy(c, g);
        return;
    }
    list_append(&c->idle, &g->node);
    c->idle_n++;
}

enum err cgroups_adopt(struct cgroups *c, int pid, struct errinfo *info)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    for (size_t i = 0; i < c->trees_n; i++) {
        auto_fd dir = openat(c->trees[i].base, "runners", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || !cgroup_write_text(dir, "cgroup.procs", text))
            return errinfo_set(info, ERR_SYSTEM, errno, "enter cgroup %s/runners", c->trees[i].path);
    }
    return ERR_OK;
}

bool cgroups_close(struct cgroups *c)
{
    bool clean = true;
    if (c->idle.next == NULL)
        return true; /* never opened */
    list_each(g, &c->idle, struct cgroup, node)
    {
        list_remove(&g->node);
        destroy(c, g);
    }
    for (size_t i = 0; i < c->trees_n; i++) {
        close(c->trees[i].base);
        clean = cgroup_remove_all(c->trees[i].path, c->trees[i].v2) && clean;
    }
    c->trees_n = 0;
    return clean;
}

static const char *const controller_names[] = {
    [CG_MEMORY] = "memory", [CG_PIDS] = "pids", [CG_CPU] = "cpu", [CG_CPUACCT] = "cpuacct"};

static bool v2_offers(const struct cgroup_place *p, enum cgroup_controller which)
{
    char path[2 * CGROUP_PATH_MAX], text[256];
    if (which == CG_CPUACCT)
        return true; /* cpu.stat is always there */
    snprintf(path, sizeof path, "%s%s", p->mount, p->own);
    auto_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !cgroup_read_text(dir, "cgroup.controllers", text, sizeof text))
        return false;
    return cgroup_has_word(str_trim(str_of(text)), ' ', str_of(controller_names[which]));
}

/* The name's own directory, first where we have the right to be, then where we are. */
static bool open_base(struct cgroup_tree *t, const struct cgroup_place *p, const char *name, bool privileged)
{
    const char *parents[] = {privileged ? "" : p->own, p->own};
    for (size_t i = 0; i < 2; i++) {
        snprintf(t->path, sizeof t->path, "%.200s%.200s/%.80s", p->mount, parents[i], name);
        cgroup_remove_all(t->path, p->v2);
        if (mkdir(t->path, 0755) != 0 && errno != EEXIST)
            continue;
        t->base = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (t->base >= 0 && (mkdirat(t->base, "runners", 0755) == 0 || errno == EEXIST))
            return true;
    }
    return false;
}

static void enable_v2(const struct cgroup_tree *t, enum cgroup_controller which)
{
    char text[16];
    if (which == CG_CPUACCT)
        return;
    snprintf(text, sizeof text, "+%s", controller_names[which]);
    auto_fd parent = openat(t->base, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Either may be on already, or not ours to switch: what counts is whether the limit can be written. */
    (void)cgroup_write_text(parent, "cgroup.subtree_control", text);
    (void)cgroup_write_text(t->base, "cgroup.subtree_control", text);
}

static void add_controller(struct cgroups *c, const struct cgroup_place *p, enum cgroup_controller which,
                           const char *name, bool privileged)
{
    struct cgroup_tree *t = NULL;
    for (size_t i = 0; i < c->trees_n; i++) {
        if (strncmp(c->trees[i].path, p->mount, strlen(p->mount)) == 0 &&
            c->trees[i].path[strlen(p->mount)] == '/')
            t = &c->trees[i];
    }
    if (t == NULL) {
        t = &c->trees[c->trees_n];
        *t = (struct cgroup_tree){.v2 = p->v2, .base = -1};
        if (!open_base(t, p, name, privileged))
            return;
        c->trees_n++;
    }
    if (p->v2)
        enable_v2(t, which);
    t->has |= 1U << which;
    c->has |= 1U << which;
}

enum err cgroups_open(struct cgroups *c, const char *name, bool privileged, struct errinfo *info)
{
    auto_buf mounts = BUF_INIT(1 << 20);
    auto_buf own = BUF_INIT(1 << 16);
    *c = (struct cgroups){.next = 1};
    list_init(&c->idle);
    if (!cgroup_read_file("/proc/self/mountinfo", &mounts) || !cgroup_read_file("/proc/self/cgroup", &own))
        return errinfo_set(info, ERR_SYSTEM, errno, "read /proc/self/mountinfo");
    for (int which = 0; which < CG_CONTROLLERS; which++) {
        struct cgroup_place place;
        if (cgroup_find(buf_str(&mounts), buf_str(&own), str_of(controller_names[which]), &place) != ERR_OK)
            continue;
        if (place.v2 && !v2_offers(&place, (enum cgroup_controller)which))
            continue;
        add_controller(c, &place, (enum cgroup_controller)which, name, privileged);
    }
    /* A tree that only counts time is not worth its moves. */
    size_t i = 0;
    const struct cgroup_tree *memory = tree_of(c, CG_MEMORY, &i);
    c->swap_accounted =
        memory != NULL && !memory->v2 && cgroup_has_file(memory->base, "runners/memory.memsw.limit_in_bytes");
    return ERR_OK;
}
