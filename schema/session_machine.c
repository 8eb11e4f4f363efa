/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/session_machine.h"

enum action { DO_missing, DO_dup, DO_conflict, DO_make, DO_append, DO_compare, DO_back, DO_end };

static const enum action transitions[SESSION_STATES][SESSION_COMMAND_COUNT] = {
#define X(state, command, action) [SESSION_##state][SESSION_CMD_##command] = DO_##action,
#include "schema/session_machine.def"
#undef X
};

static const enum session_event events[SESSION_COMMAND_COUNT] = {
    [SESSION_CMD_create] = SESSION_EV_CREATED,
    [SESSION_CMD_add_file] = SESSION_EV_FILE_ADDED,
    [SESSION_CMD_remove_file] = SESSION_EV_FILE_REMOVED,
    [SESSION_CMD_commit] = SESSION_EV_STATE_COMMITTED,
    [SESSION_CMD_archive] = SESSION_EV_STATE_ARCHIVED,
    [SESSION_CMD_restore] = SESSION_EV_STATE_RESTORED,
    [SESSION_CMD_fork] = SESSION_EV_FORKED,
    [SESSION_CMD_rewind] = SESSION_EV_REWOUND,
    [SESSION_CMD_expire] = SESSION_EV_EXPIRED,
    [SESSION_CMD_remove] = SESSION_EV_DELETED,
};

const char *session_event_name(enum session_event event)
{
    static const char *const names[SESSION_EVENT_COUNT] = {
#define X(symbol, name, doc) [SESSION_EV_##symbol] = (name),
#include "schema/session_event.def"
#undef X
    };
    return names[event];
}

static enum session_answer guard(const struct session *s, enum action action, uint64_t base)
{
    static const enum session_answer answers[] = {
        [DO_missing] = SESSION_MISSING, [DO_dup] = SESSION_DUP,   [DO_conflict] = SESSION_CONFLICT,
        [DO_make] = SESSION_OK,         [DO_append] = SESSION_OK, [DO_end] = SESSION_OK,
    };
    if (action == DO_compare)
        return base == s->version ? SESSION_OK : SESSION_CONFLICT;
    if (action == DO_back)
        return base > 0 && base < s->version ? SESSION_OK : SESSION_CONFLICT;
    return answers[action];
}

void session_decide(const struct session *session, const struct session_input *in,
                    struct session_decision *ret_decision)
{
    enum action action = transitions[session->state][in->command];
    ret_decision->answer = guard(session, action, in->base);
    ret_decision->event = events[in->command];
}

void session_apply(struct session *session, enum session_event event)
{
    static const enum session_state becomes[SESSION_EVENT_COUNT] = {
        [SESSION_EV_CREATED] = SESSION_live,         [SESSION_EV_STATE_ARCHIVED] = SESSION_cold,
        [SESSION_EV_STATE_COMMITTED] = SESSION_live, [SESSION_EV_REWOUND] = SESSION_live,
        [SESSION_EV_STATE_RESTORED] = SESSION_live,  [SESSION_EV_EXPIRED] = SESSION_gone,
        [SESSION_EV_DELETED] = SESSION_gone,
    };
    session->seq++;
    if (becomes[event] != SESSION_none)
        session->state = becomes[event];
    session->version += event == SESSION_EV_STATE_COMMITTED || event == SESSION_EV_REWOUND;
    session->files += event == SESSION_EV_FILE_ADDED;
    session->files -= event == SESSION_EV_FILE_REMOVED && session->files > 0;
}
