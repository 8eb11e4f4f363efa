/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list. A node that is in no list points at itself after list_init/list_remove. */
#ifndef MILLRACE_BASE_LIST_H
#define MILLRACE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define list_first(head, type, member)  (list_empty(head) ? NULL : container_of((head)->next, type, member))
/* Safe against removal of `it` inside the loop. */
#define list_each(it, head, type, member)                                                                    \
    for (type *it = container_of((head)->next, type, member),                                                \
              *it##_next = container_of(it->member.next, type, member);                                      \
         &it->member != (head); it = it##_next, it##_next = container_of(it->member.next, type, member))

#endif
