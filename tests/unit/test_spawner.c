/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/bpf_ranges.h"
#include "worker/spawner/cgroup_path.h"
#include "worker/spawner/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <sched.h>

#include <cmocka.h>

static const struct host_facts merged = {.top = {{"bin", "usr/bin"}, {"lib64", "usr/lib64"}}, .top_n = 2};
static const struct pod_limits limits = {.memory_bytes = 1,
                                         .pids = 2,
                                         .cpu_millis = 3,
                                         .work_bytes = 4096 * 5,
                                         .work_inodes = 6,
                                         .tmp_bytes = 4096 * 7};

static const struct op *find(const struct plan *p, enum op_type type, const char *path)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->ops[i].type == type && p->ops[i].path != NULL && strcmp(p->ops[i].path, path) == 0)
            return &p->ops[i];
    }
    return NULL;
}

static void the_root_shows_the_system_read_only(void **state)
{
    (void)state;
    struct plan p;
    plan_root(&p, &merged, 0);
    assert_false(p.overflow);
    const struct op *usr = find(&p, OP_BIND, "usr");
    assert_non_null(usr);
    assert_true(usr->recursive);
    assert_int_equal(usr->flags, PLAN_RDONLY | PLAN_NOSUID | PLAN_NODEV);
    assert_string_equal(find(&p, OP_LINK, "bin")->arg, "usr/bin");
    assert_non_null(find(&p, OP_HIDE_DIR, "usr/local"));
    const struct op *last = &p.ops[p.n - 1];
    assert_int_equal(last->type, OP_PROTECT); /* nothing can be made behind it */
    assert_string_equal(last->path, ".");
}

static void the_root_binds_nothing_that_is_not_listed(void **state)
{
    (void)state;
    static const char *const sources[] = {"/usr", "/etc/ld.so.cache", "/etc/alternatives", "/dev/null",
                                          "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
                                          /* toolchains */
                                          "/etc/matplotlibrc", "/etc/fonts", "/etc/mime.types",
                                          "/etc/java-17-openjdk", "/etc/php", "/etc/R", "/etc/ldc2.conf"};
    struct plan p;
    plan_root(&p, &merged, 0);
    for (size_t i = 0; i < p.n; i++) {
        bool listed = p.ops[i].type != OP_BIND;
        for (size_t k = 0; !listed && k < sizeof sources / sizeof sources[0]; k++)
            listed = strcmp(sources[k], p.ops[i].arg) == 0;
        assert_true(listed);
        if (p.ops[i].type == OP_BIND && strncmp(p.ops[i].arg, "/etc/", 5) == 0)
            assert_int_equal(p.ops[i].flags, PLAN_RDONLY | PLAN_NOSUID | PLAN_NODEV | PLAN_NOEXEC);
    }
}

static void a_directory_at_the_top_is_bound(void **state)
{
    (void)state;
    const struct host_facts old = {.top = {{"lib", NULL}}, .top_n = 1};
    struct plan p;
    plan_root(&p, &old, 0);
    assert_non_null(find(&p, OP_BIND, "lib"));
    assert_null(find(&p, OP_LINK, "lib"));
}

static void the_pod_bounds_every_writable_place(void **state)
{
    (void)state;
    struct plan p;
    plan_pod(&p, &limits, 0);
    assert_false(p.overflow);
    size_t n = 0;
    for (size_t i = 0; i < p.n; i++) {
        if (p.ops[i].type != OP_TMPFS)
            continue;
        n++;
        assert_true(p.ops[i].bytes > 0 && p.ops[i].inodes > 0);
        assert_int_equal(p.ops[i].flags & (PLAN_NOSUID | PLAN_NODEV), PLAN_NOSUID | PLAN_NODEV);
    }
    assert_int_equal(n, 3);
    assert_true(find(&p, OP_TMPFS, "mnt/data")->bytes == limits.work_bytes);
    assert_true((find(&p, OP_TMPFS, "tmp")->flags & PLAN_NOEXEC) != 0);
}

static void nested_namespaces_are_closed_before_proc_is_read_only(void **state)
{
    (void)state;
    struct plan p;
    plan_pod(&p, &limits, 0);
    const struct op *proc = find(&p, OP_PROC, "proc");
    const struct op *close = find(&p, OP_WRITE, "proc/sys/user/max_user_namespaces");
    const struct op *sys = find(&p, OP_READ_ONLY, "proc/sys");
    assert_true(proc < close && close < sys);
    assert_string_equal(proc->arg, "hidepid=2");
}

static void a_pod_has_every_namespace(void **state)
{
    (void)state;
    assert_true(plan_clone_flags(0) ==
                (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS));
}

static void a_defence_that_is_off_leaves_the_plan(void **state)
{
    (void)state;
    struct plan on, off;
    plan_pod(&on, &limits, 0);
    plan_pod(&off, &limits, 1U << DEFENCE_PROC_MASKS);
#ifdef MILLRACE_TEST_BUILD
    assert_true(off.n < on.n);
    assert_null(find(&off, OP_HIDE_FILE, "proc/kcore"));
    assert_int_equal(plan_clone_flags(1U << DEFENCE_NET_NAMESPACE) & CLONE_NEWNET, 0);
#else
    assert_int_equal(off.n, on.n); /* a release knows no switch */
    assert_true((plan_clone_flags(1U << DEFENCE_NET_NAMESPACE) & CLONE_NEWNET) != 0);
#endif
}

static void defences_have_names(void **state)
{
    (void)state;
    for (int d = 0; d < DEFENCE_COUNT; d++) {
        const char *name = defence_name((enum defence)d);
        assert_int_equal(defence_named(str_of(name)), d);
    }
    assert_int_equal(defence_named(STR("seccompx")), DEFENCE_COUNT);
}

#define MOUNTS                                                                                               \
    "21 1 254:0 / / rw - ext4 /dev/vda rw\n"                                                                 \
    "30 29 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"                      \
    "31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"                            \
    "33 29 0:28 / /sys/fs/cgroup/unified rw shared:4 master:1 - cgroup2 cgroup2 rw\n"
#define OWN "5:memory:/user/x\n4:cpu,cpuacct:/\n0::/init.scope\n"

static void a_v1_controller_is_found(void **state)
{
    (void)state;
    struct cgroup_place p;
    assert_int_equal(cgroup_find(STR(MOUNTS), STR(OWN), STR("memory"), &p), ERR_OK);
    assert_false(p.v2);
    assert_string_equal(p.mount, "/sys/fs/cgroup/memory");
    assert_string_equal(p.own, "/user/x");
    assert_int_equal(cgroup_find(STR(MOUNTS), STR(OWN), STR("cpuacct"), &p), ERR_OK);
    assert_string_equal(p.mount, "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(p.own, "");
}

static void what_v1_has_not_is_looked_for_in_v2(void **state)
{
    (void)state;
    struct cgroup_place p;
    assert_int_equal(cgroup_find(STR(MOUNTS), STR(OWN), STR("pids"), &p), ERR_OK);
    assert_true(p.v2);
    assert_string_equal(p.mount, "/sys/fs/cgroup/unified");
    assert_string_equal(p.own, "/init.scope");
    assert_int_equal(cgroup_find(STR("21 1 254:0 / / rw - ext4 /dev/vda rw\n"), STR(OWN), STR("pids"), &p),
                     ERR_NOT_FOUND);
}

static void a_part_of_a_hierarchy_makes_our_path_relative(void **state)
{
    (void)state;
    struct cgroup_place p;
    assert_int_equal(cgroup_find(STR("30 29 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n"),
                                 STR("0::/docker/abc/inner\n"), STR("pids"), &p),
                     ERR_OK);
    assert_string_equal(p.own, "/inner");
}

static void damaged_lines_are_skipped(void **state)
{
    (void)state;
    struct cgroup_place p;
    assert_int_equal(
        cgroup_find(STR("\n30\n30 29 0:26 / /x rw\n-\n- - - - - -\n"), STR(":::\n\n0"), STR("memory"), &p),
        ERR_NOT_FOUND);
}

/* What the kernel does with the three instructions that are used. True: the verdict. False: behind the end. */
static bool walk(const struct sock_filter *f, size_t count, unsigned number)
{
    for (size_t at = 0; at < count; at++) {
        if (f[at].code == (BPF_RET | BPF_K)) {
            assert_int_equal(f[at].k, 42);
            return true;
        }
        if (f[at].code == (BPF_JMP | BPF_JA))
            at += f[at].k;
        else
            at += number >= f[at].k ? f[at].jt : f[at].jf;
    }
    return false;
}

static void check_set(const int *numbers, size_t n)
{
    struct sock_filter f[BPF_RANGES_MAX];
    size_t count = 0;
    assert_int_equal(bpf_ranges(numbers, n, 42, f, &count), ERR_OK);
    for (int i = 0; i < 1000; i++) {
        bool in = false;
        for (size_t k = 0; k < n; k++)
            in = in || numbers[k] == i;
        assert_int_equal(walk(f, count, (unsigned)i), in);
    }
}

static void ranges_hold_what_they_were_given(void **state)
{
    (void)state;
    static const int one[] = {5}, first[] = {0}, mixed[] = {7, 3, -10, 4, 4, 0, 900, 5};
    int many[240], dense[500];
    check_set(one, 0);
    check_set(one, 1);
    check_set(first, 1);
    check_set(mixed, 8);
    for (int i = 0; i < 240; i++)
        many[i] = 3 * i;
    check_set(many, 240);
    for (int i = 0; i < 500; i++)
        dense[i] = i;
    check_set(dense, 500);
    for (size_t n = 90; n < 110; n++)
        check_set(many, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_hold_what_they_were_given),
        cmocka_unit_test(the_root_shows_the_system_read_only),
        cmocka_unit_test(the_root_binds_nothing_that_is_not_listed),
        cmocka_unit_test(a_directory_at_the_top_is_bound),
        cmocka_unit_test(the_pod_bounds_every_writable_place),
        cmocka_unit_test(nested_namespaces_are_closed_before_proc_is_read_only),
        cmocka_unit_test(a_pod_has_every_namespace),
        cmocka_unit_test(a_defence_that_is_off_leaves_the_plan),
        cmocka_unit_test(defences_have_names),
        cmocka_unit_test(a_v1_controller_is_found),
        cmocka_unit_test(what_v1_has_not_is_looked_for_in_v2),
        cmocka_unit_test(a_part_of_a_hierarchy_makes_our_path_relative),
        cmocka_unit_test(damaged_lines_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
