/* SPDX-License-Identifier: Apache-2.0 */
/* `millrace up-guard COMMAND...` runs as root under sudo, between an ordinary user's supervisor and the spawner. The
   user may not signal root's processes, and sudo loses the death signal: so the supervisor speaks over our standard
   input. 'T': SIGTERM, 'K': SIGKILL; its end (the supervisor has gone): SIGTERM. Exit code: the command's, 128+N. */
#include "tools/millrace/up.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static _Noreturn void guard_exec(char **argv)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, 0) < 0)
        _exit(127);
    execv(argv[0], argv);
    fprintf(stderr, "cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* False when nothing more will be said. */
static bool guard_listen(pid_t child)
{
    char word = 'T';
    ssize_t n = read(0, &word, 1);
    if (n < 0)
        return errno == EINTR;
    kill(child, word == 'K' ? SIGKILL : SIGTERM);
    return n > 0;
}

int up_guard(char **argv)
{
    sigset_t set;
    int status;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT); /* of a terminal: the supervisor says what is to be done */
    if (!argv[0] || sigprocmask(SIG_BLOCK, &set, NULL))
        return EXIT_USAGE;
    pid_t child = fork();
    if (child == 0)
        guard_exec(argv);
    struct pollfd fds[] = {{.fd = 0, .events = POLLIN},
                           {.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN}};
    while (child > 0 && fds[1].fd >= 0 && waitpid(child, &status, WNOHANG) == 0) {
        struct signalfd_siginfo info;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents && !guard_listen(child))
            fds[0].fd = -1; /* poll() passes over it */
        if (fds[1].revents && read(fds[1].fd, &info, sizeof info) < 0)
            break;
        fds[0].revents = fds[1].revents = 0;
    }
    if (child <= 0 || fds[1].fd < 0)
        return EXIT_CANNOT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL_BASE + WTERMSIG(status);
}

/* ---- the supervisor's side ---- */

static bool run_quietly(const char *const *argv)
{
    pid_t pid = fork();
    int status = -1;
    if (pid == 0) {
        union {
            const char *const *in;
            char *const *out;
        } words = {.in = argv};
        execvp(argv[0], words.out);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool up_sudo_works(bool may_ask)
{
    static const char *const try[] = {"sudo", "-n", "true", NULL};
    static const char *const ask[] = {"sudo", "-v", "-p",
                                      "up: password of %u, for the process that makes pods: ", NULL};
    if (geteuid() == 0)
        return false;
    return (may_ask && isatty(STDIN_FILENO) && run_quietly(ask)) || run_quietly(try);
}
