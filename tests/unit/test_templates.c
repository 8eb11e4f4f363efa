/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the templates, as their readers take them. */
#include "unit.h"

#include "base/cleanup.h"
#include "worker/templates/control.h"
#include "worker/templates/program.h"
#include "worker/templates/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct template_setup good_setup(void)
{
    return (struct template_setup){.magic = TEMPLATE_MAGIC,
                                   .type = TEMPLATE_SETUP,
                                   .version = TEMPLATE_VERSION,
                                   .uid = 1000,
                                   .gid = 1000,
                                   .rlimit_count = 1,
                                   .filter_count = 2,
                                   .namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                                                 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
                                   .work_dir = "/mnt/data",
                                   .source_dir = "/mnt/data",
                                   .rlimits = {{.resource = RLIMIT_CORE, .soft = 1, .hard = 2}},
                                   .filter = {{.code = 6, .k = 7}, {.code = 6, .k = 8}}};
}

static enum err through(int type, const void *message, size_t len, enum err (*read_it)(int fd))
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
    auto_fd near = pair[0];
    if (len > 0)
        assert_int_equal(send(near, message, len, 0), (ssize_t)len);
    assert_int_equal(shutdown(near, SHUT_WR), 0);
    auto_fd far = pair[1];
    return read_it(far);
}

static struct control_setup read_setup;

static enum err take_setup(int fd)
{
    return control_read_setup(fd, &read_setup);
}

static enum err setup_with(const struct template_setup *s, size_t cut)
{
    size_t len = offsetof(struct template_setup, filter) + s->filter_count % 4 * sizeof s->filter[0];
    return through(SOCK_SEQPACKET, s, len - cut, take_setup);
}

static void setup_is_taken_apart(void **state)
{
    (void)state;
    struct template_setup s = good_setup();
    assert_int_equal(setup_with(&s, 0), ERR_OK);
    const struct lockdown *l = &read_setup.lockdown;
    assert_int_equal(l->uid, 1000);
    assert_int_equal(l->rlimit_count, 1);
    assert_int_equal(l->rlimits[0].resource, RLIMIT_CORE);
    assert_int_equal(l->rlimits[0].limit.rlim_cur, 1);
    assert_int_equal(l->rlimits[0].limit.rlim_max, 2);
    assert_int_equal(l->filter_count, 2);
    assert_int_equal(l->filter[1].k, 8);
    assert_string_equal(l->work_dir, "/mnt/data");
    assert_false(l->need_landlock);
}

static void setup_that_is_wrong_is_refused(void **state)
{
    (void)state;
    assert_int_equal(through(SOCK_SEQPACKET, NULL, 0, take_setup), ERR_CLOSED);
#define REFUSED(change)                                                                                      \
    do {                                                                                                     \
        struct template_setup s = good_setup();                                                              \
        s.change;                                                                                            \
        assert_int_equal(setup_with(&s, 0), ERR_PROTOCOL);                                                   \
    } while (0)
    REFUSED(magic = 1);
    REFUSED(type = TEMPLATE_FORK);
    REFUSED(version = TEMPLATE_VERSION + 1);
    REFUSED(uid = 0);
    REFUSED(gid = 0);
    REFUSED(rlimit_count = TEMPLATE_RLIMITS_MAX + 1);
    REFUSED(filter_count = 0); /* a pod without a filter */
    REFUSED(filter_count = TEMPLATE_FILTER_MAX + 2);
    REFUSED(work_dir[0] = 'x');
    REFUSED(source_dir[0] = '\0');
#undef REFUSED
    struct template_setup s = good_setup();
    memset(s.work_dir, '/', sizeof s.work_dir); /* no end */
    assert_int_equal(setup_with(&s, 0), ERR_PROTOCOL);
    s = good_setup();
    assert_int_equal(setup_with(&s, 1), ERR_PROTOCOL);
    assert_int_equal(setup_with(&s, offsetof(struct template_setup, filter) + 8), ERR_PROTOCOL);
}

static void fork_needs_its_descriptors(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    auto_fd near = pair[0];
    auto_fd far = pair[1];
    struct template_fork f = {.magic = TEMPLATE_MAGIC, .type = TEMPLATE_FORK, .tag = 77, .cgroup_count = 1};
    for (size_t n = 0; n <= 7; n++) {
        union {
            char bytes[CMSG_SPACE(7 * sizeof(int))];
            struct cmsghdr align;
        } control = {.bytes = {0}};
        struct iovec iov = {.iov_base = &f, .iov_len = sizeof f};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (n > 0) {
            msg.msg_control = control.bytes;
            msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(n * sizeof(int));
            for (size_t i = 0; i < n; i++)
                memcpy(CMSG_DATA(c) + i * sizeof(int), &near, sizeof near);
        }
        assert_int_equal(sendmsg(near, &msg, 0), (ssize_t)sizeof f);
        struct control_fork got;
        enum err e = control_read_fork(far, &got);
        assert_int_equal(e, n == TEMPLATE_FD_CGROUPS + 1 ? ERR_OK : ERR_PROTOCOL);
        if (e == ERR_OK)
            assert_int_equal(got.tag, 77);
        control_close(&got);
        for (size_t i = 0; i < sizeof got.fds / sizeof got.fds[0]; i++)
            assert_int_equal(got.fds[i], -1);
    }
}

static struct spec spec;
static char *spec_bytes;

static enum err take_spec(int fd)
{
    struct errinfo info = {.code = ERR_OK};
    return program_wait(fd, &spec, &spec_bytes, &info);
}

static void program_waits_for_all_of_it(void **state)
{
    (void)state;
    auto_buf b = BUF_INIT(4096);
    struct program_go go = {.magic = TEMPLATE_MAGIC};
    buf_append(&b, &go, sizeof go);
    spec_put(&b, SPEC_SOURCE_NAME, STR("a.py"));
    spec_put(&b, SPEC_SOURCE, STR("x\0y"));
    go.length = (uint32_t)(b.len - sizeof go);
    memcpy(b.data, &go, sizeof go);
    assert_int_equal(through(SOCK_STREAM, b.data, b.len, take_spec), ERR_OK);
    assert_string_equal(spec.source_name, "a.py");
    assert_int_equal(spec.source.n, 3);
    free(spec_bytes);
    for (size_t cut = 1; cut <= b.len; cut++)
        assert_int_equal(through(SOCK_STREAM, b.data, b.len - cut, take_spec), ERR_CLOSED);
    go.length = SPEC_SIZE_MAX + 1;
    assert_int_equal(through(SOCK_STREAM, &go, sizeof go, take_spec), ERR_PROTOCOL);
    go = (struct program_go){.magic = 1};
    assert_int_equal(through(SOCK_STREAM, &go, sizeof go, take_spec), ERR_PROTOCOL);
}

static void source_is_a_fresh_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/millrace-test-XXXXXX", path[PROGRAM_PATH_MAX], back[16] = "";
    struct errinfo info = {.code = ERR_OK};
    assert_non_null(mkdtemp(folder));
    struct spec s = {.source_name = "m.py", .source = STR("print(1)")};
    auto_fd fd = -1;
    assert_int_equal(program_write_source(folder, &s, path, &fd, &info), ERR_OK);
    assert_int_equal(read(fd, back, sizeof back), 8);
    assert_string_equal(back, "print(1)");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int second = -1;
    assert_int_equal(program_write_source(folder, &s, path, &second, &info), ERR_SYSTEM);
    assert_int_equal(info.sys, EEXIST);
    assert_int_equal(second, -1);
    char name[PROGRAM_PATH_MAX];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    s.source_name = name;
    assert_int_equal(program_write_source(folder, &s, path, &second, &info), ERR_RANGE);
    snprintf(name, sizeof name, "%s/m.py", folder);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void sealed_is_sealed(void **state)
{
    (void)state;
    enum { AT = 90 };
    assert_int_equal(sealed_place("x", "hello", 5, AT), 0);
    auto_fd at = AT;
    char back[8] = "";
    assert_int_equal(pread(at, back, sizeof back, 0), 5);
    assert_string_equal(back, "hello");
    assert_int_equal(pwrite(at, "j", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(at, 0), -1);
    assert_int_equal(fcntl(at, F_GETFD), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setup_is_taken_apart),       cmocka_unit_test(setup_that_is_wrong_is_refused),
        cmocka_unit_test(fork_needs_its_descriptors), cmocka_unit_test(program_waits_for_all_of_it),
        cmocka_unit_test(source_is_a_fresh_file),     cmocka_unit_test(sealed_is_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
