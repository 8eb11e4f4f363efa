/* SPDX-License-Identifier: Apache-2.0 */
/* The waiting Bash: /bin/bash with this library loaded before it (LD_PRELOAD), in its pod ahead of demand. It stands where the C library
   calls main(): all is mapped and bound, and nothing of Bash has run. So there is nothing to undo when the job is there: main()
   gets the job's command and environment, as if it had been executed with them. */
#include "worker/runner/job.h"
#include "worker/runner/program_state.h"
#include "worker/templates/launcher.h"
#include "worker/templates/program.h"

#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int main_function(int argc, char **argv, char **env);
typedef int start_function(main_function *main, int argc, char **argv, void *init, void *fini,
                           void *loader_fini, void *stack_end);

__attribute__((visibility("default"))) start_function __libc_start_main;

static main_function *bash_main;

/* What Bash writes to in its short life: to make a page at its first write costs more than what is written. */
static void have_pages(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        char *end = line; /* "7f0c5a2b4000-7f0c5a2b6000 rw-p ..." */
        uintptr_t from = strtoul(line, &end, 16), to = *end == '-' ? strtoul(end + 1, &end, 16) : 0;
        /* A kernel without this makes them later. */
        if (to > from && strncmp(end, " rw", 3) == 0)
            (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
    }
    if (maps != NULL)
        fclose(maps);
}

/* The C library keeps what it has read for these; Bash begins by asking for both. */
static void have_files(void)
{
    if (setlocale(LC_ALL, "C.UTF-8") != NULL && setlocale(LC_ALL, "C") == NULL)
        _exit(JOB_NOT_STARTED);
    (void)getpwuid(getuid());
}

/* It is in its file; an execve would have taken it away too. */
static void drop(struct str bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)bytes.p + page - 1) / page * page,
              to = ((uintptr_t)bytes.p + bytes.n) / page * page;
    if (to > from)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

static enum err take_job(struct spec *spec, const char *command, struct errinfo *info)
{
    size_t len = 0;
    char *bytes = job_wait(GO_FD, &len);
    if (spec_parse(bytes, len, spec) != ERR_OK)
        return errinfo_set(info, ERR_PROTOCOL, 0, "the run specification is damaged");
    if (spec->argv.n == 0 || strcmp(spec->argv.at[0], command) != 0)
        return errinfo_set(info, ERR_INVALID, 0, "the job is not for %s", command);
    enum err e = spec->source_name != NULL ? job_write_source(spec, info) : ERR_OK;
    if (e == ERR_OK && spec->state_max > 0)
        e = program_state_open(GO_FD, spec, info);
    drop(spec->source);
    return e;
}

static int wait_for_job(int argc, char **argv, char **env)
{
    static struct spec spec; /* its strings are the command and the environment from now on */
    struct errinfo info = {0};
    (void)argc;
    (void)env;
    close(LAUNCHER_FD);
    have_files();
    have_pages();
    if (program_tell_ready(GO_FD, NULL) != ERR_OK)
        _exit(JOB_NOT_STARTED);
    enum err e = take_job(&spec, argv[0], &info);
    /* To one that keeps state the end of this socket would say nothing: it has another descriptor of it. */
    if ((e != ERR_OK || spec.state_max > 0) &&
        program_tell_ready(GO_FD, e != ERR_OK ? &info : NULL) != ERR_OK)
        e = ERR_CLOSED;
    if (e != ERR_OK)
        _exit(JOB_NOT_STARTED);
    close(GO_FD);
    environ = spec.env.at;
    return bash_main((int)spec.argv.n, spec.argv.at, spec.env.at);
}

int __libc_start_main(main_function *main, int argc, char **argv, void *init, void *fini, void *loader_fini,
                      void *stack_end)
{
    void *symbol = dlsym(RTLD_NEXT, "__libc_start_main");
    start_function *start;
    memcpy(&start, &symbol, sizeof start);
    if (start == NULL)
        _exit(JOB_NOT_STARTED);
    bash_main = main;
    return start(wait_for_job, argc, argv, init, fini, loader_fini, stack_end);
}
