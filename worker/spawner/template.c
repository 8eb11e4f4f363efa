/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/template.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/runner/pod_fds.h"
#include "worker/spawner/fdmsg.h"
#include "worker/spawner/kinds.h"
#include "worker/spawner/plan.h"
#include "worker/spawner/preflight.h"
#include "worker/spawner/spawner.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(((struct template_setup *)0)->filter[0]) == sizeof(struct sock_filter),
              "the kernel's layout");

/* 0.1 s, doubled up to 10 s. */
#define BACKOFF_FIRST_NS  100000000LL
#define BACKOFF_DOUBLINGS 7U

/* Test builds only: MILLRACE_TEST_KINDS=py names the only kinds whose templates start. */
static bool left_out(const struct pod_kind_row *row)
{
#ifdef MILLRACE_TEST_BUILD
    struct str list = str_of(getenv("MILLRACE_TEST_KINDS"));
    if (list.p == NULL)
        return false;
    while (list.p != NULL) {
        if (str_eq(str_split(&list, ','), str_of(row->name)))
            return false;
    }
    return true;
#else
    (void)row;
    return false;
#endif
}

void templates_init(struct spawner *s)
{
    s->templates_n = 0;
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        const struct pod_kind_row *row = pod_kind_row((enum pod_kind)i);
        if (row->how != HOW_FORKED || (row->needs != NULL && access(row->needs, F_OK) != 0) || left_out(row))
            continue;
        assert(s->templates_n < TEMPLATES_MAX);
        struct template *t = &s->templates[s->templates_n++];
        *t = (struct template){
            .kind = row->name, .set = row->set, .control = -1, .wanted = row->imports == NULL};
        snprintf(t->why, sizeof t->why, "the template is starting");
    }
}

static void fill_rlimits(struct template_setup *setup)
{
    static const struct {
        uint32_t resource;
        uint64_t soft, hard;
    } limits[] = {
#define X(name, soft, hard) {RLIMIT_##name, soft, hard},
#include "worker/rlimits.def"
#undef X
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        setup->rlimits[i].resource = limits[i].resource;
        setup->rlimits[i].soft = limits[i].soft;
        setup->rlimits[i].hard = limits[i].hard;
    }
    setup->rlimit_count = sizeof limits / sizeof limits[0];
}

static enum err fill_filter(struct template_setup *setup, int filter)
{
    struct stat st;
    if (fstat(filter, &st) != 0 || st.st_size <= 0 || (size_t)st.st_size > sizeof setup->filter)
        return ERR_RANGE;
    if (pread(filter, setup->filter, (size_t)st.st_size, 0) != st.st_size)
        return ERR_IO;
    setup->filter_count = (uint32_t)((size_t)st.st_size / sizeof setup->filter[0]);
    return ERR_OK;
}

static enum err send_setup(const struct spawner *s, int control)
{
    static struct template_setup setup;
    setup = (struct template_setup){.magic = TEMPLATE_MAGIC,
                                    .type = TEMPLATE_SETUP,
                                    .version = TEMPLATE_VERSION,
                                    .uid = POD_UID,
                                    .gid = POD_GID,
                                    .umask = 077,
                                    .landlock = (s->missing & 1ULL << PREFLIGHT_LANDLOCK) == 0,
                                    .off = s->off,
                                    .namespaces = (uint32_t)plan_namespaces(s->off),
                                    .work_dir = POD_WORK_DIR,
                                    .source_dir = POD_WORK_DIR};
    fill_rlimits(&setup);
    enum err e = fill_filter(&setup, s->filter);
    if (e != ERR_OK)
        return e;
    size_t len = offsetof(struct template_setup, filter) + setup.filter_count * sizeof setup.filter[0];
    int size = 4 * (int)sizeof setup;
    /* One packet: the buffer has to hold it. */
    if (setsockopt(control, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) != 0)
        return ERR_SYSTEM;
    return send(control, &setup, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len ? ERR_OK : ERR_IO;
}

static enum err start(struct spawner *s, struct template *t, uint32_t index)
{
    int pair[2];
    struct helper_request q = {.type = HELPER_TEMPLATE, .fd_count = 1, .tag = index};
    snprintf(q.set, sizeof q.set, "%s", t->set);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return ERR_SYSTEM;
    auto_fd theirs = pair[1];
    t->control = pair[0];
    enum err e = send_setup(s, t->control);
    if (e == ERR_OK)
        e = fdmsg_send(s->helper, &q, sizeof q, &theirs, 1, true);
    return e == ERR_OK ? spawner_watch(s, t->control, SOURCE_TEMPLATE, index) : e;
}

int templates_keep(struct spawner *s)
{
    int64_t now = clock_mono_ns(), next = INT64_MAX;
    for (uint32_t i = 0; i < s->templates_n; i++) {
        struct template *t = &s->templates[i];
        if (t->control >= 0 || !t->wanted)
            continue;
        if (now >= t->retry_ns && start(s, t, i) != ERR_OK)
            template_lost(s, t, "the template could not be started");
        if (t->control < 0 && t->retry_ns < next)
            next = t->retry_ns;
    }
    if (next == INT64_MAX)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

void template_lost(struct spawner *s, struct template *t, const char *why)
{
    (void)s;
    unsigned doublings = t->failures < BACKOFF_DOUBLINGS ? t->failures : BACKOFF_DOUBLINGS;
    if (t->control >= 0)
        close(t->control);
    t->control = -1;
    t->ready = false;
    t->failures++;
    t->retry_ns = clock_mono_ns() + (BACKOFF_FIRST_NS << doublings);
    snprintf(t->why, sizeof t->why, "%s", why);
    log_limited(LOG_WARN, "a template is lost", F_STR("kind", t->kind), F_STR("why", t->why));
}

enum err template_fork(struct template *t, uint64_t tag, const int *fds, size_t n, size_t cgroups)
{
    struct template_fork f = {
        .magic = TEMPLATE_MAGIC, .type = TEMPLATE_FORK, .tag = tag, .cgroup_count = (uint32_t)cgroups};
    return t->ready ? fdmsg_send(t->control, &f, sizeof f, fds, n, true) : ERR_AGAIN;
}

enum err template_receive(struct template *t, struct template_reply *ret)
{
    size_t n = 0;
    enum err e = fdmsg_recv(t->control, ret, sizeof *ret, NULL, 0, &n, false);
    if (e == ERR_OK && ret->magic != TEMPLATE_MAGIC)
        e = ERR_PROTOCOL;
    ret->text[sizeof ret->text - 1] = '\0';
    if (e == ERR_OK && ret->type == TEMPLATE_READY) {
        t->ready = true;
        t->failures = 0;
        log_info("a template is ready", F_STR("kind", t->kind), F_STR("what", ret->text));
    }
    return e;
}
