/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/seccomp.h"

#include "base/cleanup.h"
#include "worker/spawner/bpf_ranges.h"
#include "worker/spawner/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#error "no system call list for this architecture"
#endif

enum { X32_BIT = 0x40000000, LAST_KNOWN = 462, DENIED = EPERM };

static const int allowed[] = {
#define A(name)         SCMP_SYS(name),
#define N(number, name) number,
#include "worker/spawner/seccomp.def"
#undef A
#undef N
};

#define NEW_NAMESPACES                                                                                       \
    ((unsigned)CLONE_NEWNS | (unsigned)CLONE_NEWCGROUP | (unsigned)CLONE_NEWUTS | (unsigned)CLONE_NEWIPC |   \
     (unsigned)CLONE_NEWUSER | (unsigned)CLONE_NEWPID | (unsigned)CLONE_NEWNET | 0x80U /* CLONE_NEWTIME */)
#define TYPE_MASK 0xfU

/* Allowed when the argument matches; several rows of one call are alternatives. */
static const struct {
    int call;
    unsigned count;
    struct scmp_arg_cmp args[2];
} conditional[] = {
    {SCMP_SYS(clone), 1, {{0, SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_UNIX, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_STREAM}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_UNIX, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_DGRAM}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_UNIX, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_SEQPACKET}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_STREAM}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_DGRAM}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_STREAM}}},
    {SCMP_SYS(socket), 2, {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_DGRAM}}},
    {SCMP_SYS(socketpair), 1, {{0, SCMP_CMP_EQ, AF_UNIX, 0}}},
    {SCMP_SYS(personality), 1, {{0, SCMP_CMP_EQ, 0, 0}}},
    {SCMP_SYS(personality), 1, {{0, SCMP_CMP_EQ, 0xffffffff, 0}}},
    {SCMP_SYS(adjtimex), 0, {{0}}}, /* reading; setting needs a capability that no pod has */
    {SCMP_SYS(mknod), 1, {{1, SCMP_CMP_MASKED_EQ, 0170000, 0010000}}}, /* fifos */
    {SCMP_SYS(mknod), 1, {{1, SCMP_CMP_MASKED_EQ, 0170000, 0100000}}},
    {SCMP_SYS(mknodat), 1, {{2, SCMP_CMP_MASKED_EQ, 0170000, 0010000}}},
    {SCMP_SYS(mknodat), 1, {{2, SCMP_CMP_MASKED_EQ, 0170000, 0100000}}},
};

/* Calls that are allowed but for some values of the low half of one argument (all that the kernel reads of an ioctl). */
static const struct {
    int call;
    unsigned arg;
    unsigned refused[4];
    unsigned count;
} excepted[] = {
    {SCMP_SYS(ioctl), 1, {TIOCSTI, 0x541c /* TIOCLINUX */, TIOCSETD, 0}, 3},
    {SCMP_SYS(fcntl), 1, {F_SETLEASE, F_NOTIFY, 0, 0}, 2},
};

/* prctl by option: what programs and their libraries use. */
static const unsigned prctl_options[] = {
    PR_SET_NAME,         PR_GET_NAME,       PR_SET_PDEATHSIG,       PR_GET_PDEATHSIG,
    PR_SET_DUMPABLE,     PR_GET_DUMPABLE,   PR_GET_SECCOMP,         PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS, PR_CAPBSET_READ,   PR_SET_TIMERSLACK,      PR_GET_TIMERSLACK,
    PR_GET_KEEPCAPS,     PR_GET_SECUREBITS, PR_CAP_AMBIENT,         PR_SET_THP_DISABLE,
    PR_GET_THP_DISABLE,  PR_GET_TSC,        PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER,
    PR_GET_TID_ADDRESS,  PR_SET_VMA,
};

static bool is_internet(size_t row)
{
    return conditional[row].call == SCMP_SYS(socket) && conditional[row].args[0].datum_a != AF_UNIX;
}

static int add_conditional(scmp_filter_ctx ctx, bool internet)
{
    for (size_t i = 0; i < sizeof conditional / sizeof conditional[0]; i++) {
        if (conditional[i].call < 0 || (!internet && is_internet(i)))
            continue; /* not a call of this architecture, or not wanted */
        int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, conditional[i].call, conditional[i].count,
                                       conditional[i].args);
        if (r != 0)
            return r;
    }
    for (size_t i = 0; i < sizeof prctl_options / sizeof prctl_options[0]; i++) {
        const struct scmp_arg_cmp option = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = prctl_options[i]};
        int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, &option);
        if (r != 0)
            return r;
    }
    return 0;
}

/* Their values are refused before the list. */
static int add_excepted(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < sizeof excepted / sizeof excepted[0]; i++) {
        int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, excepted[i].call, 0);
        if (r != 0)
            return r;
    }
    return 0;
}

static enum err build(scmp_filter_ctx ctx, bool internet, int fd, struct errinfo *info)
{
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = add_conditional(ctx, internet);
    if (r == 0)
        r = add_excepted(ctx);
    if (r == 0)
        r = seccomp_export_bpf(ctx, fd);
    return r == 0 ? ERR_OK : errinfo_set(info, ERR_SYSTEM, -r, "build the system call filter");
}

#define LOAD(field)               BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value)             BPF_STMT(BPF_RET | BPF_K, (value))
#define SKIP_UNLESS(op, value, n) BPF_JUMP(BPF_JMP | (op) | BPF_K, (value), 0, (n))

/* What libseccomp has no words for, before its list: foreign architectures and x32 die, calls younger than the list are
   ENOSYS, and single values of two calls are refused (low half of the argument). */
static enum err write_prologue(int fd, struct errinfo *info)
{
    const struct sock_filter head[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        SKIP_UNLESS(BPF_JGE, X32_BIT, 1),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        SKIP_UNLESS(BPF_JGT, LAST_KNOWN, 1),
        RETURN(SECCOMP_RET_ERRNO | ENOSYS),
    };
    struct sock_filter tree[BPF_RANGES_MAX];
    size_t count = 0;
    enum err e = bpf_ranges(allowed, sizeof allowed / sizeof allowed[0], SECCOMP_RET_ALLOW, tree, &count);
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "the list of system calls is too long");
    if (write(fd, head, sizeof head) != (ssize_t)sizeof head ||
        write(fd, tree, count * sizeof tree[0]) != (ssize_t)(count * sizeof tree[0]))
        return errinfo_set(info, ERR_SYSTEM, errno, "write the system call filter");
    for (size_t i = 0; i < sizeof excepted / sizeof excepted[0]; i++) {
        unsigned n = excepted[i].count;
        struct sock_filter part[4 + 2 * 4];
        size_t at = 0;
        part[at++] = (struct sock_filter)LOAD(nr);
        part[at++] =
            (struct sock_filter)SKIP_UNLESS(BPF_JEQ, (unsigned)excepted[i].call, (unsigned char)(1 + 2 * n));
        part[at++] = (struct sock_filter)BPF_STMT(
            BPF_LD | BPF_W | BPF_ABS, (unsigned)(offsetof(struct seccomp_data, args) + 8 * excepted[i].arg));
        for (unsigned k = 0; k < n; k++) {
            part[at++] = (struct sock_filter)SKIP_UNLESS(BPF_JEQ, excepted[i].refused[k], 1);
            part[at++] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | DENIED);
        }
        if (write(fd, part, at * sizeof part[0]) != (ssize_t)(at * sizeof part[0]))
            return errinfo_set(info, ERR_SYSTEM, errno, "write the system call filter");
    }
    return ERR_OK;
}

enum err seccomp_build(bool internet, int *ret_fd, struct errinfo *info)
{
    auto_fd fd = memfd_new("filter", false);
    if (fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "memfd");
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(DENIED));
    if (ctx == NULL)
        return errinfo_set(info, ERR_NOMEM, 0, "build the system call filter");
    enum err e = write_prologue(fd, info);
    if (e == ERR_OK)
        e = build(ctx, internet, fd, info);
    seccomp_release(ctx);
    if (e == ERR_OK && !memfd_seal(fd))
        e = errinfo_set(info, ERR_SYSTEM, errno, "seal the system call filter");
    if (e == ERR_OK)
        *ret_fd = steal_fd(&fd);
    return e;
}
