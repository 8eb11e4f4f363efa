/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /exec (first byte even) or POST /v1/jobs: refused with a sentence, or a canonical request
   that the worker can read. */
#include "api/exec_request.h"
#include "fuzz.h"
#include "worker/request.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    static struct config cfg;
    static struct exec_rules rules;
    if (rules.max_code == 0) {
        MUST(config_begin(&config_table, &cfg.base) == ERR_OK);
        limits_configure(&cfg, &rules.bounds);
        rules.max_code = (size_t)cfg.max_code_bytes;
    }
    rules.sync = (data[0] & 1) == 0;
    struct exec_request request;
    struct api_fault fault;
    memset(&request, 0, sizeof request);
    memset(&fault, 0, sizeof fault);
    struct str body = {.p = (const char *)data + 1, .n = size - 1};
    if (exec_request_parse(body, &rules, &request, &fault) != ERR_OK)
        return 0;
    struct run_request run;
    struct errinfo info = {0};
    MUST(run_request_parse(buf_str(&request.canonical), &run, &info) == ERR_OK);
    MUST(run.code.n > 0 && run.code.n <= rules.max_code && run.limits.wall_ms > 0 &&
         run.limits.memory_bytes > 0);
    run_request_free(&run);
    exec_request_free(&request);
    return 0;
}
