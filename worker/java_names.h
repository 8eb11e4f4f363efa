/* SPDX-License-Identifier: Apache-2.0 */
/* How a Java program wants to be called: javac wants the file named as its public class, java the class with main().
   Pure; a look at the tokens, not a parser: what it does not understand is called Main, and javac says what is wrong. */
#ifndef MILLRACE_WORKER_JAVA_NAMES_H
#define MILLRACE_WORKER_JAVA_NAMES_H

#include "base/str.h"

enum { JAVA_NAME_MAX = 100 };

struct java_names {
    char file_class[JAVA_NAME_MAX];     /* public, else the one with main(), else Main */
    char main_class[2 * JAVA_NAME_MAX]; /* with its package */
};

void java_names_find(struct str code, struct java_names *ret_names);

#endif
