/* SPDX-License-Identifier: Apache-2.0 */
/* The template's side of its control socket. */
#ifndef MILLRACE_WORKER_TEMPLATES_CONTROL_H
#define MILLRACE_WORKER_TEMPLATES_CONTROL_H

#include "base/err.h"
#include "worker/lockdown.h"
#include "worker/templates/template_proto.h"

struct control_setup {
    struct lockdown lockdown; /* points into `wire` */
    struct template_setup wire;
};

struct control_fork {
    uint64_t tag;
    int fds[TEMPLATE_FD_CGROUPS + TEMPLATE_CGROUPS_MAX]; /* enum template_fd; -1 where none */
    unsigned cgroup_count;
};

/* Blocks. ERR_CLOSED at the end of file, ERR_PROTOCOL for anything that is not this message, whole and in its
 * bounds. */
MUST_CHECK enum err control_read_setup(int fd, struct control_setup *ret_setup);
MUST_CHECK enum err control_read_fork(int fd, struct control_fork *ret_fork);
void control_close(struct control_fork *fork); /* its descriptors */

MUST_CHECK enum err control_reply(int fd, const struct template_reply *reply);

#endif
