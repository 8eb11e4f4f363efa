/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls of a run as its log tells them, and the results that a client brings. Pure. */
#ifndef MILLRACE_API_TOOL_RESULTS_H
#define MILLRACE_API_TOOL_RESULTS_H

#include "api/fault.h"
#include "base/list.h"
#include "schema/event.h"
#include "json/json.h"

enum { TOOL_RESULTS_MAX = 1000, TOOL_RESULT_BYTES = 5 * 1024 * 1024, TOOL_RESULTS_BYTES = 40 * 1024 * 1024 };

struct tool_calls {
    struct list list;
    unsigned count;
};

void tool_calls_init(struct tool_calls *calls);
void tool_calls_free(struct tool_calls *calls); /* also after {0} */
/* Event `tool_call`. True: the program waits now (for this one and those before it). A call that is told again by a later
   attempt takes the place of the earlier one. */
bool tool_calls_add(struct tool_calls *calls, const struct event *event);
/* Data of event `tool_result`. The first answer to a call counts. */
void tool_calls_answered(struct tool_calls *calls, struct str data);
unsigned tool_calls_count(const struct tool_calls *calls);
/* Calls of this attempt that have no answer. */
unsigned tool_calls_pending(const struct tool_calls *calls, uint32_t attempt);
/* [{"id", "name", "input"}, ...] of these. */
void tool_calls_write_pending(const struct tool_calls *calls, uint32_t attempt, struct buf *out);

/* `tool_results` of a continuation: views of its body. */
struct tool_answers {
    struct tool_answer {
        struct str id; /* as in the text, without quotes */
        struct str value;
        bool failed;
    } * list;
    size_t count;
};

/* `body` is the text that `root` was. ERR_INVALID: `fault` says why. */
MUST_CHECK enum err tool_answers_read(const json_t *root, struct str body, struct tool_answers *ret_answers,
                                      struct api_fault *fault);
void tool_answers_free(struct tool_answers *answers);
/* The data of the event that brings those that the log does not have yet; `out` stays empty when it has them all. ERR_INVALID: a call
   that was never made (400), or that has another answer already (409). */
MUST_CHECK enum err tool_answers_match(const struct tool_answers *answers, const struct tool_calls *calls,
                                       struct buf *out, struct api_fault *fault);

#endif
