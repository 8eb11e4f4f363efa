/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawner/bpf_ranges.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Jumps reach 255 instructions: so many borders share their two leaves. */
enum { CHUNK_MAX = 200, REACH = 255 };

struct tree {
    unsigned border[BPF_RANGES_MAX]; /* sorted: the set begins at even ones and ends before odd ones */
    struct sock_filter *out;
    unsigned verdict;
    size_t end;
    bool failed;
};

static int by_number(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static size_t find_borders(struct tree *t, const int *sorted, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (sorted[i] < 0 || (i > 0 && sorted[i] == sorted[i - 1]))
            continue;
        unsigned number = (unsigned)sorted[i];
        if (count > 0 && t->border[count - 1] == number) {
            t->border[count - 1] = number + 1;
            continue;
        }
        if (count + 2 > BPF_RANGES_MAX)
            return BPF_RANGES_MAX + 1;
        t->border[count++] = number;
        t->border[count++] = number + 1;
    }
    return count;
}

static size_t size_of(size_t lo, size_t hi)
{
    size_t m = (lo + hi) / 2;
    return hi - lo <= CHUNK_MAX ? hi - lo + 2 : 1 + size_of(lo, m) + size_of(m + 1, hi);
}

/* Where a search goes that has [lo, hi) left: the node at `at`, or, with nothing left, the leaf. */
static size_t target(size_t lo, size_t hi, size_t at, size_t leaves)
{
    if (lo < hi)
        return at;
    return leaves + (lo % 2 == 1 ? 0 : 1);
}

static void put_jump(struct tree *t, size_t at, unsigned border, size_t less, size_t not_less)
{
    size_t jt = not_less - at - 1, jf = less - at - 1;
    if (jt > REACH || jf > REACH) {
        t->failed = true;
        return;
    }
    t->out[at] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, border, (unsigned char)jt, (unsigned char)jf);
}

static void put_nodes(struct tree *t, size_t lo, size_t hi, size_t at, size_t leaves)
{
    if (lo == hi)
        return;
    size_t m = (lo + hi) / 2, left = at + 1, right = left + (m - lo);
    put_jump(t, at, t->border[m], target(lo, m, left, leaves), target(m + 1, hi, right, leaves));
    put_nodes(t, lo, m, left, leaves);
    put_nodes(t, m + 1, hi, right, leaves);
}

static void put_tree(struct tree *t, size_t lo, size_t hi, size_t at)
{
    size_t m = (lo + hi) / 2, leaves = at + (hi - lo);
    if (hi - lo > CHUNK_MAX) {
        size_t right = at + 1 + size_of(lo, m);
        put_jump(t, at, t->border[m], at + 1, right);
        put_tree(t, lo, m, at + 1);
        put_tree(t, m + 1, hi, right);
        return;
    }
    put_nodes(t, lo, hi, at, leaves);
    /* An empty chunk has no node to jump over the wrong leaf; its search ends outside the set or inside it. */
    if (lo == hi && lo % 2 == 0)
        t->out[leaves] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (unsigned)(t->end - leaves - 1));
    else
        t->out[leaves] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, t->verdict);
    t->out[leaves + 1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (unsigned)(t->end - leaves - 2));
}

enum err bpf_ranges(const int *numbers, size_t n, unsigned verdict, struct sock_filter out[BPF_RANGES_MAX],
                    size_t *ret_count)
{
    int sorted[BPF_RANGES_MAX];
    struct tree t = {.out = out, .verdict = verdict};
    if (n > BPF_RANGES_MAX)
        return ERR_FULL;
    memcpy(sorted, numbers, n * sizeof *numbers);
    qsort(sorted, n, sizeof *sorted, by_number);
    size_t borders = find_borders(&t, sorted, n);
    if (borders > BPF_RANGES_MAX || size_of(0, borders) > BPF_RANGES_MAX)
        return ERR_FULL;
    t.end = size_of(0, borders);
    put_tree(&t, 0, borders, 0);
    if (t.failed)
        return ERR_FULL;
    *ret_count = t.end;
    return ERR_OK;
}
