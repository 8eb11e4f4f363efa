/* SPDX-License-Identifier: Apache-2.0 */
/* The native half of Warm.java, which loads it: what a Java program cannot do to its own process. It is used without the JDK's
   headers, so that it is there wherever we are built: the function tables of JNI are fixed by its specification, which numbers
   them ("JNI Functions", "The Invocation API"). */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LAUNCHER_FIRST_FD = 5,
    LAUNCHER_LAST_FD = 8,
    JNI_VERSION = 0x00010008,
    STACK_BYTES = 1 << 20,
    FAILED = 1
};

typedef void *object;
typedef union {
    int64_t j;
    object l;
} value;

struct env_functions;

struct thread_args {
    int32_t version;
    const char *name;
    object group;
};

/* struct JNIInvokeInterface and JNINativeInterface by their numbers. Only what is called has its type. */
struct vm_functions {
    void *skipped_0[4];
    int32_t (*attach_current_thread)(struct vm_functions **vm, struct env_functions ***ret_env,
                                     struct thread_args *args); /* 4 */
    int32_t (*detach_current_thread)(struct vm_functions **vm); /* 5 */
};

struct env_functions {
    void *skipped_0[6];
    object (*find_class)(struct env_functions **env, const char *name); /* 6 */
    void *skipped_7[10];
    void (*exception_clear)(struct env_functions **env); /* 17 */
    void *skipped_18[3];
    object (*new_global_ref)(struct env_functions **env, object o); /* 21 */
    void *skipped_22[91];
    void *(*get_static_method_id)(struct env_functions **env, object c, const char *name,
                                  const char *type); /* 113 */
    void *skipped_114[29];
    void (*call_static_void_method_a)(struct env_functions **env, object c, void *method,
                                      const value *args); /* 143 */
    void *skipped_144[27];
    int32_t (*get_array_length)(struct env_functions **env, object array); /* 171 */
    void *skipped_172[28];
    void (*get_byte_array_region)(struct env_functions **env, object array, int32_t at, int32_t n,
                                  void *to); /* 200 */
    void *skipped_201[18];
    int32_t (*get_java_vm)(struct env_functions **env, struct vm_functions ***ret_vm); /* 219 */
    void *skipped_220[8];
    uint8_t (*exception_check)(struct env_functions **env); /* 228 */
};

void Java_Warm_environment(struct env_functions **env, object warm, object texts);
void Java_Warm_enter(struct env_functions **env, object warm, object program, object args);
void Java_Warm_leaveWith(struct env_functions **env, object warm, object hook);
void Java_Warm_00024Leaver_run(struct env_functions **env, object hook);

void Java_Warm_environment(struct env_functions **env, object warm, object texts)
{
    (void)warm;
    int32_t n = (*env)->get_array_length(env, texts);
    char *bytes = malloc((size_t)n + 1); /* the environment is in it from now on */
    if (bytes == NULL || clearenv() != 0)
        abort();
    (*env)->get_byte_array_region(env, texts, 0, n, bytes);
    bytes[n] = '\0';
    for (char *at = bytes; at < bytes + n; at += strlen(at) + 1)
        if (putenv(at) != 0)
            abort();
}

/* One program a process, and its thread may outlive who started it. */
static struct {
    struct vm_functions **vm;
    object warm, class, args;
    sem_t begun;
    pthread_t leaver; /* java's own first thread, which ends the process when all others have ended */
    bool entered;
    volatile bool failed;
} program;

/* java ends with 1 when main() threw, once all threads have ended: by now that is so. */
static void at_end(int status, void *none)
{
    (void)none;
    if (status == 0 && program.failed)
        _exit(FAILED);
}

/* Of the hooks that java runs at its end this is the last: behind the program's own and the files that are deleted at the end. A java
   without it ends as it would. */
void Java_Warm_leaveWith(struct env_functions **env, object warm, object hook)
{
    enum { LAST_SLOT = 9 };
    (void)warm;
    object shutdown = (*env)->find_class(env, "java/lang/Shutdown");
    void *add = shutdown == NULL
                    ? NULL
                    : (*env)->get_static_method_id(env, shutdown, "add", "(IZLjava/lang/Runnable;)V");
    if (add != NULL)
        (*env)->call_static_void_method_a(env, shutdown, add,
                                          (const value[]){{.j = LAST_SLOT}, {.j = false}, {.l = hook}});
    (*env)->exception_clear(env);
}

/* All threads of the program have ended and nothing is left to do: java would wait here, 10 ms at a time, for compilers that nobody
   needs any more. When System.exit() came to it another thread is here, and the status is not known. */
void Java_Warm_00024Leaver_run(struct env_functions **env, object hook)
{
    (void)env;
    (void)hook;
    if (program.entered && pthread_equal(pthread_self(), program.leaver))
        _exit(program.failed ? FAILED : 0);
}

/* As the first thread of java, which has no Java frame below main(); detaching tells what it threw. */
static void *first_thread(void *none)
{
    (void)none;
    struct env_functions **env = NULL;
    struct thread_args name = {.version = JNI_VERSION, .name = "main"};
    if ((*program.vm)->attach_current_thread(program.vm, &env, &name) != 0)
        abort();
    sem_post(&program.begun);
    void *begin = (*env)->get_static_method_id(env, program.warm, "begin", "()V");
    if (begin != NULL)
        (*env)->call_static_void_method_a(env, program.warm, begin, NULL);
    void *method = (*env)->get_static_method_id(env, program.class, "main", "([Ljava/lang/String;)V");
    if (method != NULL)
        (*env)->call_static_void_method_a(env, program.class, method, &(value){.l = program.args});
    program.failed = (*env)->exception_check(env) != 0;
    (*program.vm)->detach_current_thread(program.vm);
    return NULL;
}

void Java_Warm_enter(struct env_functions **env, object warm, object class, object args)
{
    pthread_t thread;
    pthread_attr_t attributes;
    for (int fd = LAUNCHER_FIRST_FD; fd <= LAUNCHER_LAST_FD; fd++)
        close(fd);
    program.warm = (*env)->new_global_ref(env, warm);
    program.class = (*env)->new_global_ref(env, class);
    program.args = (*env)->new_global_ref(env, args);
    program.leaver = pthread_self();
    program.entered = true;
    if ((*env)->get_java_vm(env, &program.vm) != 0 || on_exit(at_end, NULL) != 0 ||
        sem_init(&program.begun, 0, 0) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, STACK_BYTES) != 0 ||
        pthread_create(&thread, &attributes, first_thread, NULL) != 0)
        abort();
    while (sem_wait(&program.begun) != 0)
        ;
    pthread_detach(thread);
}
