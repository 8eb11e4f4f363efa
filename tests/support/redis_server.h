/* SPDX-License-Identifier: Apache-2.0 */
/* A redis-server of the test's own, on a unix socket in a temporary directory. Failures abort: there is no test then. */
#ifndef MILLRACE_TESTS_REDIS_SERVER_H
#define MILLRACE_TESTS_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    char dir[64], url[128], socket[96];
    pid_t pid;
    const char *fsync; /* always, everysec, no */
    bool cluster;      /* one node that owns all slots */
    unsigned tls_port; /* 0: none */
};

void redis_server_start(struct redis_server *s, const char *fsync, bool cluster);
/* Besides the socket a TLS port with a certificate for 127.0.0.1 alone, which is its own authority: DIR/cert.pem. */
void redis_server_start_tls(struct redis_server *s);
void redis_server_kill(struct redis_server *s);  /* kill -9 */
void redis_server_again(struct redis_server *s); /* with the data that it had */
void redis_server_signal(struct redis_server *s, int sig);
void redis_server_stop(struct redis_server *s); /* and removes the directory */

/* One command over a blocking connection of its own; the reply's first line, or the text of a bulk reply. */
void redis_server_ask(const struct redis_server *s, const char *command, char *ret_reply, unsigned long size);

#endif
