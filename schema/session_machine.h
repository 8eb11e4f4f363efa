/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a session as pure functions (see job_machine.h). Versions of its state are a chain: 1, 2, 3, ..., each
   committed with the one before as its base; 0 is "no state yet". */
#ifndef MILLRACE_SCHEMA_SESSION_MACHINE_H
#define MILLRACE_SCHEMA_SESSION_MACHINE_H

#include "base/str.h"

enum session_event {
#define X(symbol, name, doc) SESSION_EV_##symbol,
#include "schema/session_event.def"
#undef X
    SESSION_EVENT_COUNT,
};

enum session_state { SESSION_none, SESSION_live, SESSION_cold, SESSION_gone, SESSION_STATES };

#define SESSION_COMMANDS(X)                                                                                  \
    X(create) X(add_file) X(remove_file) X(commit) X(archive) X(restore) X(fork) X(rewind) X(expire) X(remove)
enum session_command {
#define X(name) SESSION_CMD_##name,
    SESSION_COMMANDS(X)
#undef X
        SESSION_COMMAND_COUNT,
};

enum session_answer { SESSION_OK, SESSION_DUP, SESSION_CONFLICT, SESSION_MISSING };

struct session {
    enum session_state state;
    uint64_t version, files, seq;
};

struct session_input {
    enum session_command command;
    uint64_t base; /* commit, archive, restore: the version it is about; rewind: the version to go back to */
};

struct session_decision {
    enum session_answer answer;
    enum session_event event; /* with SESSION_OK */
};

const char *session_event_name(enum session_event event);
void session_decide(const struct session *session, const struct session_input *in,
                    struct session_decision *ret_decision);
void session_apply(struct session *session, enum session_event event);

#endif
