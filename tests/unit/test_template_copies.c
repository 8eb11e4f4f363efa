/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/copies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 64 };
static const unsigned written[] = {2, 3, 9, 40};

static volatile char *page(const void *area, unsigned n)
{
    return (volatile char *)(uintptr_t)area + n * (size_t)sysconf(_SC_PAGESIZE);
}

static void write_all(const void *area)
{
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        *page(area, written[i]) = 'b';
}

static bool live(const void *area)
{
    write_all(area);
    return true;
}

static bool live_badly(const void *area)
{
    write_all(area);
    return false;
}

static long faults(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

/* In a child: 0 when what is written by every one is copied already, unchanged, and what is not is not. */
static int look(const void *area)
{
    if (!copies_make())
        return 1;
    (void)faults();
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (*page(area, written[i]) != 'a')
            return 2;
    long before = faults();
    write_all(area);
    long after = faults();
    *page(area, 20) = 'b';
    if (after != before)
        return 3;
    return faults() > after ? 0 : 4;
}

static int in_child(int (*run)(const void *), const void *area)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(area));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *new_area(void)
{
    const size_t size = PAGES * (size_t)sysconf(_SC_PAGESIZE);
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(area, MAP_FAILED);
    memset(area, 'a', size);
    return area;
}

static void test_what_every_child_writes_is_copied_ahead(void **state)
{
    (void)state;
    void *area = new_area();
    copies_learn(live, area);
    assert_int_equal(in_child(look, area), 0);
    for (unsigned i = 0; i < PAGES; i++)
        assert_int_equal(*page(area, i), 'a');
}

static void test_a_child_that_fails_teaches_nothing(void **state)
{
    (void)state;
    void *area = new_area();
    copies_learn(live, area);
    copies_learn(live_badly, area);
    assert_int_equal(in_child(look, area), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_every_child_writes_is_copied_ahead),
        cmocka_unit_test(test_a_child_that_fails_teaches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
