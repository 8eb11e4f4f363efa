/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/cleanup.h"
#include "worker/compile_cache.h"
#include "worker/spawner/memfd.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char bytes[1 << 17];
enum { FILES = 8 };
static const struct str nothing[COMPILE_OUTPUTS];

static struct sha256 key(unsigned n)
{
    struct sha256 k = {.bytes = {1, 2, 3}};
    memcpy(k.bytes + 8, &n, sizeof n); /* all in one bucket */
    return k;
}

static void add(struct compile_cache *c, unsigned n, size_t size)
{
    struct sha256 k = key(n);
    compile_cache_add(c, &k, (struct str){.p = bytes, .n = size}, nothing);
}

static struct compiled *hold(struct compile_cache *c, unsigned n)
{
    struct sha256 k = key(n);
    return compile_cache_hold(c, &k);
}

static bool there(struct compile_cache *c, unsigned n)
{
    struct compiled *e = hold(c, n);
    compiled_let_go(e);
    return e != NULL;
}

static void everything_is_copied(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(1 << 16, FILES);
    char program[] = "program", warning[] = "warning";
    const struct str told[COMPILE_OUTPUTS] = {[1] = {.p = warning, .n = 7}};
    struct sha256 k = key(1);
    compile_cache_add(c, &k, (struct str){.p = program, .n = 7}, told);
    memset(program, 'x', 7);
    memset(warning, 'x', 7);
    struct compiled *e = hold(c, 1);
    assert_non_null(e);
    assert_true(e->program.fd < 0 && str_eq(e->program.bytes, STR("program")) &&
                str_eq(e->told[1], STR("warning")) && e->told[0].n == 0);
    compiled_let_go(e);
    assert_null(hold(c, 2));
    compile_cache_free(c);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(5 * (1000 + sizeof(struct compiled)), FILES);
    for (unsigned n = 0; n < 5; n++)
        add(c, n, 1000);
    assert_int_equal(compile_cache_stats(c).entries, 5);
    assert_true(there(c, 0));
    add(c, 5, 1000);
    assert_false(there(c, 1));
    assert_true(there(c, 0));
    assert_int_equal(compile_cache_stats(c).evicted, 1);
    assert_true(compile_cache_stats(c).bytes <= 5 * (1000 + sizeof(struct compiled)));
    compile_cache_free(c);
}

static void what_is_too_large_is_not_kept(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(4096, FILES), *none = compile_cache_open(0, FILES);
    add(c, 1, compile_cache_room(c));
    assert_int_equal(compile_cache_stats(c).entries, 0);
    add(c, 1, compile_cache_room(c) - sizeof(struct compiled));
    add(c, 1, 10); /* there already */
    assert_int_equal(compile_cache_stats(c).entries, 1);
    add(none, 1, 1);
    assert_int_equal(compile_cache_stats(none).bytes, 0);
    compile_cache_free(c);
    compile_cache_free(none);
}

/* Programs of two pages more than are kept as bytes, in a cache that has room for some of them. */
enum { LARGE = COMPILE_FILE_MIN + 8192 };

static bool has_bytes(int fd, char with)
{
    static char found[LARGE + 1];
    char wanted[LARGE];
    memset(wanted, with, sizeof wanted);
    return pread(fd, found, sizeof found, 0) == LARGE && memcmp(found, wanted, LARGE) == 0;
}

static void the_large_are_in_files(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(16 * LARGE, 2);
    for (unsigned n = 0; n < 3; n++) {
        memset(bytes, 'a' + (int)n, LARGE);
        add(c, n, LARGE);
    }
    struct compiled *e = hold(c, 1), *over = hold(c, 2);
    assert_true(e->program.fd >= 0 && e->program.bytes.n == 0 && has_bytes(e->program.fd, 'b'));
    assert_true(over->program.fd < 0 && over->program.bytes.n == LARGE); /* no more files */
    assert_int_equal(compile_cache_stats(c).files, 2);
    assert_int_equal(compile_cache_stats(c).bytes, 3 * (LARGE + sizeof(struct compiled)));
    compiled_let_go(over);
    compile_cache_free(c);
    assert_true(has_bytes(e->program.fd, 'b'));
    compiled_let_go(e);
}

static void a_file_stays_while_it_is_used(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(5 * LARGE, FILES);
    memset(bytes, 'u', LARGE);
    add(c, 0, LARGE);
    struct compiled *e = hold(c, 0);
    memset(bytes, 'o', LARGE);
    for (unsigned n = 1; n < 6; n++)
        add(c, n, LARGE);
    assert_false(there(c, 0));
    assert_true(compile_cache_stats(c).bytes <= 5 * LARGE);
    assert_int_equal(compile_cache_stats(c).files, compile_cache_stats(c).entries);
    assert_true(has_bytes(e->program.fd, 'u'));
    int fd = e->program.fd;
    compiled_let_go(e);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* and its descriptor with the last who holds it */
    compile_cache_free(c);
}

/* Everything that whoever got hold of the descriptor could try. How many of them did harm. */
static unsigned attacked(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    auto_fd again = open(path, O_RDWR | O_CLOEXEC);
    void *map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned harm = map != MAP_FAILED;
    if (map != MAP_FAILED)
        munmap(map, LARGE);
    harm += pwrite(fd, "evil", 4, 0) == 4;
    harm += pwrite(again, "evil", 4, 0) == 4;
    harm += fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
    harm += ftruncate(fd, LARGE + 1) == 0;
    harm += truncate(path, 0) == 0;
    harm += fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) == 0;
    return harm;
}

static void nobody_writes_to_a_file(void **state)
{
    (void)state;
    struct compile_cache *c = compile_cache_open(16 * LARGE, FILES);
    memset(bytes, 'g', LARGE);
    add(c, 1, LARGE);
    struct compiled *e = hold(c, 1);
    assert_int_equal(attacked(e->program.fd), 0);
    assert_true(has_bytes(e->program.fd, 'g'));
    compiled_let_go(e);
    compile_cache_free(c);
    auto_fd open_to_all = memfd_new("unsealed", false);
    assert_int_equal(ftruncate(open_to_all, LARGE), 0);
    assert_int_equal(attacked(open_to_all), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_copied),          cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(what_is_too_large_is_not_kept), cmocka_unit_test(the_large_are_in_files),
        cmocka_unit_test(a_file_stays_while_it_is_used), cmocka_unit_test(nobody_writes_to_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
