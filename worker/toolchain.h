/* SPDX-License-Identifier: Apache-2.0 */
/* Which languages of languages.def this host can run, in which versions: looked at once, when the worker starts. No
   program is run for it: commands and files are looked for, versions stand in the package manager's list. */
#ifndef MILLRACE_WORKER_TOOLCHAIN_H
#define MILLRACE_WORKER_TOOLCHAIN_H

#include "schema/languages.h"

struct toolchains {
    const char *missing[LANG_COUNT]; /* the file without which it cannot run; NULL: it can */
    /* {"py": {"version": "3.11.2", "libraries": {"numpy": "1.24.2", ...}}, "php": {"missing": "/usr/bin/php"}, ...} */
    struct buf offer;
};

/* `there`: is this file on the host, and may it be run? `packages`: dpkg's list of what is installed, which may be
   absent; then no version is known. */
MUST_CHECK enum err toolchains_look(bool (*there)(const char *path), const char *packages,
                                    struct toolchains *ret_toolchains);
bool toolchain_there(const char *path);
void toolchains_free(struct toolchains *toolchains);
/* "php: /usr/bin/php; ..." of what cannot run; "" when all can. */
void toolchains_missing(const struct toolchains *toolchains, struct buf *out);

/* What a package's version says to people: without epoch, Debian's revision and its marks. A view of `version`. */
struct str toolchain_version(struct str version);

#define TOOLCHAIN_PACKAGES "/var/lib/dpkg/status"

#endif
