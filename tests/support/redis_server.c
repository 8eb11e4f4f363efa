/* SPDX-License-Identifier: Apache-2.0 */
#include "support/redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "redis_server: %s: %s\n", what, strerror(errno));
    abort();
}

static int dial(const struct redis_server *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(fd >= 0, "socket");
    memcpy(a.sun_path, s->socket, strlen(s->socket));
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The cluster bus wants a port even where nobody else is. Below the range from which the kernel takes those of connections: in that
   range anybody's could have it before the server does. */
static unsigned free_port(void)
{
    uint16_t drawn;
    for (int tries = 0; tries < 100; tries++) {
        need(getrandom(&drawn, sizeof drawn, 0) == sizeof drawn, "getrandom");
        unsigned port = 10000 + drawn % 20000U;
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        need(fd >= 0, "socket");
        bool free = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
        close(fd);
        if (free)
            return port;
    }
    need(false, "a free port");
    return 0;
}

static void serve(const struct redis_server *s)
{
    char log[96], bus[12], tls[12], cert[96], key[96];
    snprintf(tls, sizeof tls, "%u", s->tls_port);
    snprintf(cert, sizeof cert, "%s/cert.pem", s->dir);
    snprintf(key, sizeof key, "%s/key.pem", s->dir);
    snprintf(bus, sizeof bus, "%u", s->cluster ? free_port() : 0);
    snprintf(log, sizeof log, "%s/log", s->dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open("/dev/null", O_RDWR);
    dup2(fd, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->socket, "--dir", s->dir,
           "--appendonly", "yes", "--appendfsync", s->fsync, "--save", "", "--maxmemory", "512mb",
           "--maxmemory-policy", "noeviction", "--logfile", log, "--daemonize", "no", "--cluster-enabled",
           s->cluster ? "yes" : "no", "--cluster-port", bus, "--bind", "127.0.0.1", "--busy-reply-threshold",
           "1000", s->tls_port ? "--tls-port" : NULL, tls, "--tls-auth-clients", "no", "--tls-cert-file",
           cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, (char *)NULL);
    _exit(127);
}

static void wait_ready(struct redis_server *s)
{
    char reply[64] = "";
    for (int i = 0; i < 6000; i++) { /* the condition is asked, the pause only keeps the processor free */
        int fd = dial(s);
        if (fd >= 0) {
            close(fd);
            redis_server_ask(s, "PING", reply, sizeof reply);
            if (strcmp(reply, "+PONG") == 0)
                return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    need(false, "it does not answer");
}

void redis_server_again(struct redis_server *s)
{
    s->pid = fork();
    need(s->pid >= 0, "fork");
    if (s->pid == 0)
        serve(s);
    wait_ready(s);
}

static void make_place(struct redis_server *s, const char *fsync, bool cluster)
{
    *s = (struct redis_server){.fsync = fsync, .cluster = cluster};
    snprintf(s->dir, sizeof s->dir, "/tmp/millrace-redis-XXXXXX");
    need(mkdtemp(s->dir), "mkdtemp");
    snprintf(s->socket, sizeof s->socket, "%s/s", s->dir);
    snprintf(s->url, sizeof s->url, "unix://%s", s->socket);
}

static void make_certificate(const struct redis_server *s)
{
    int status = 0;
    pid_t pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0) {
        int fd = open("/dev/null", O_RDWR);
        dup2(fd, 2);
        if (chdir(s->dir) == 0)
            execlp("openssl", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=millrace test",
                   "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
                   (char *)NULL);
        _exit(127);
    }
    need(waitpid(pid, &status, 0) == pid && status == 0, "openssl req");
}

void redis_server_start_tls(struct redis_server *s)
{
    make_place(s, "everysec", false);
    make_certificate(s);
    s->tls_port = free_port();
    redis_server_again(s);
}

/* ---- one node that is a cluster: it takes two seconds to believe that ---- */

enum { AHEAD = 4 };
static struct redis_server ahead[AHEAD]; /* a ring: for the next tests, while this one runs */
static size_t next_ahead;

static void stop_ahead(void)
{
    for (size_t i = 0; i < AHEAD; i++)
        redis_server_stop(&ahead[i]);
}

static void begin_cluster(struct redis_server *s, const char *fsync)
{
    char reply[64];
    make_place(s, fsync, true);
    redis_server_again(s);
    redis_server_ask(s, "CLUSTER ADDSLOTSRANGE 0 16383", reply, sizeof reply);
}

static void wait_cluster(const struct redis_server *s)
{
    char reply[4096];
    for (int i = 0; i < 6000; i++) {
        redis_server_ask(s, "CLUSTER INFO", reply, sizeof reply);
        if (strstr(reply, "cluster_state:ok"))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    need(false, "the cluster does not form");
}

static void take_cluster(struct redis_server *s, const char *fsync)
{
    struct redis_server *next = &ahead[next_ahead++ % AHEAD];
    if (next->pid == 0) {
        for (size_t i = 0; i < AHEAD; i++)
            begin_cluster(&ahead[i], fsync);
        atexit(stop_ahead);
    }
    need(strcmp(next->fsync, fsync) == 0, "one program tests one appendfsync on a cluster");
    *s = *next;
    begin_cluster(next, fsync);
    wait_cluster(s);
}

void redis_server_start(struct redis_server *s, const char *fsync, bool cluster)
{
    if (cluster) {
        take_cluster(s, fsync);
        return;
    }
    make_place(s, fsync, false);
    redis_server_again(s);
}

void redis_server_signal(struct redis_server *s, int sig)
{
    need(kill(s->pid, sig) == 0, "kill");
}

void redis_server_kill(struct redis_server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

void redis_server_stop(struct redis_server *s)
{
    redis_server_kill(s);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", s->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

void redis_server_ask(const struct redis_server *s, const char *command, char *ret_reply, unsigned long size)
{
    int fd = dial(s);
    size_t have = 0, want = 1;
    need(fd >= 0, "connect");
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    need(write(fd, command, strlen(command)) == (ssize_t)strlen(command) && write(fd, "\r\n", 2) == 2,
         "write");
    ret_reply[0] = '\0';
    while (have < want && have + 1 < size) {
        ssize_t n = read(fd, ret_reply + have, size - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        ret_reply[have] = '\0';
        char *end = strstr(ret_reply, "\r\n");
        want = !end ? have + 1 : 0;
        if (end && ret_reply[0] == '$' && ret_reply[1] != '-')
            want = (size_t)(end - ret_reply) + 4 + (size_t)strtoul(ret_reply + 1, NULL, 10);
    }
    close(fd);
    char *end = strstr(ret_reply, "\r\n");
    if (end && ret_reply[0] == '$' && ret_reply[1] != '-')
        memmove(ret_reply, end + 2, strlen(end + 2) + 1);
    else if (end)
        *end = '\0';
    end = strstr(ret_reply, "\r\n");
    if (end && end[2] == '\0')
        *end = '\0';
}
