/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the pages and schemas that are made from the tables, or checks that the ones in the tree are
   current: gen_docs --write ROOT | --check ROOT        see tools/docs */
#include "base/cleanup.h"
#include "schema/config_print.h"
#include "schema/env_names.h"
#include "schema/errors.h"
#include "schema/event.h"
#include "schema/languages.h"
#include "schema/limits.h"
#include "schema/metrics.h"
#include "schema/reasons.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 1 << 20 };

#define MADE_FROM(table) "<!-- Made from " table " by tools/docs; edit that, then run tools/docs. -->\n"

static void page_configuration(struct buf *out)
{
    buf_append_cstr(
        out, MADE_FROM("schema/config.def") "# Configuration\n\n"
                                            "Later sources win: the defaults below; a YAML file, when "
                                            "`MILLRACE_CONFIG` or `--config PATH` names one; `.env` in the\n"
                                            "working directory; the environment; `--set NAME=VALUE`. Every "
                                            "program reads the same settings. A name that begins\n"
                                            "like one of ours and is none, or a value that is not allowed, "
                                            "stops the program with a sentence that names it, its\n"
                                            "source and the nearest right name. Secrets are never shown, and "
                                            "are refused on the command line.\n\n"
                                            "`millrace config validate` checks, `summary` shows every value "
                                            "and its source, `template` prints a `.env` to start\n"
                                            "from, `export` prints what is set; all take `--json`.\n\n"
                                            "Times are in seconds and may have a fraction or a unit (`0.5`, "
                                            "`500ms`, `2m`, `1h`); sizes are in MiB. Lists are\n"
                                            "separated by commas. In YAML a setting stands under its section "
                                            "or at the top, in any case of letters:\n\n"
                                            "```yaml\napi:\n  api_port: 8000\nLEASE_SECONDS: 10\n```\n\n"
                                            "In `.env`, a value may stand in 'single quotes' (taken as it "
                                            "is) or \"double quotes\" (with \\n \\t \\r \\\\ \\\" \\$);\n"
                                            "nothing is expanded.\n");
    config_print_markdown(out);
}

static void page_errors(struct buf *out)
{
    buf_append_cstr(
        out,
        MADE_FROM("schema/errors.def and schema/reasons.def") "# Errors\n\n"
                                                              "Every refusal has the body `{error, "
                                                              "error_type, details, request_id}`. `error` is "
                                                              "a sentence for people, `error_type`\n"
                                                              "is stable and for programs, `details` is a "
                                                              "list of `{field, message, code}`. A refused "
                                                              "request has had no effect. A 429\n"
                                                              "or 503 has `Retry-After`, and the same number "
                                                              "as `retry_after_seconds`.\n\n"
                                                              "| status | error_type | meaning | what to do "
                                                              "|\n|---|---|---|---|\n");
    for (unsigned i = 0; i < CE_COUNT; i++) {
        const struct client_error_row *row = client_error_row((enum client_error)i);
        buf_printf(out, "| %d | `%s` | %s | %s |\n", row->status, row->type, row->text, row->fix);
    }
    buf_append_cstr(out, "\n## Reasons of a failed run\n\nA run that we ended, or could not start, is "
                         "`failed` and names its `reason`; a\n"
                         "program's own failure is `completed` with its exit code or signal.\n\n"
                         "| reason | tried again | meaning |\n|---|---|---|\n");
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        const struct reason_row *row = reason_row((enum reason)i);
        buf_printf(out, "| `%s` | %s | %s |\n", row->name, row->retryable ? "if the job allows it" : "no",
                   row->text);
    }
}

static void page_limits(struct buf *out)
{
    buf_append_cstr(
        out,
        MADE_FROM("schema/limits.def and schema/env_refused.def") "# Limits\n\n"
                                                                  "A request may ask for less than the "
                                                                  "configured limit, never for more; what it "
                                                                  "does not ask for is the configured\n"
                                                                  "limit. Outside the range is 422 with the "
                                                                  "range. All limits are always finite.\n\n"
                                                                  "| field | default | least | most "
                                                                  "(setting's bound) | unit | what "
                                                                  "|\n|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = limit_row((enum limit)i);
        buf_printf(out, "| `%s` | %" PRId64 " | %" PRId64 " | %" PRId64 " | %s | %s |\n", row->field,
                   row->fallback, row->min, row->max, row->unit, row->help);
    }
    buf_append_cstr(
        out,
        "\nThe defaults are those of the settings in the section `limits` of CONFIGURATION.md. For some languages the default and the "
        "most of `timeout_ms`,\n`cpu_ms` and `memory_mb` are higher: LANGUAGES.md says by how much.\n\n"
        "## Variables that `env` may not set\n\n"
        "They change what a loader or an interpreter does before the program's first line: 422.\n\n");
    const char *owner = "";
    for (const struct env_refused_row *row = env_refused_rows; row->pattern != NULL; row++) {
        bool same = strcmp(owner, row->owner) == 0;
        buf_printf(out, same ? ", `%s`" : "%s`%s`",
                   same               ? row->pattern
                   : owner[0] != '\0' ? "\n- "
                                      : "- ",
                   row->pattern);
        owner = row->owner;
    }
    buf_append_char(out, '\n');
}

static void write_command(const char *const *argv, struct buf *out)
{
    buf_append_char(out, '`');
    for (size_t i = 0; argv[i] != NULL; i++)
        buf_printf(out, "%s%s", i > 0 ? " " : "", argv[i]);
    buf_append_char(out, '`');
}

static void write_names(const char *list, char sep, struct buf *out)
{
    for (struct str rest = str_of(list); rest.n > 0;) {
        struct str item = str_split(&rest, sep);
        item = str_split(&item, '='); /* of name=package, the name */
        buf_printf(out, STR_FMT "%s", STR_ARG(item), rest.n > 0 ? ", " : "");
    }
}

static void write_language(const struct language_row *row, struct buf *out)
{
    buf_printf(out, "\n## `%s`\n\n%s.\n\n- also called: ", row->id, row->text);
    write_names(row->aliases, '|', out);
    buf_printf(out, "\n- the program is `%s`", row->source_name);
    if (row->compile != NULL) {
        buf_append_cstr(out, ", compiled by ");
        write_command(row->compile, out);
    }
    buf_append_cstr(out, "\n- run by ");
    write_command(row->run, out);
    for (size_t i = 0; row->env != NULL && row->env[i] != NULL; i++)
        buf_printf(out, "%s `%s`", i == 0 ? "\n- environment:" : ",", row->env[i]);
    buf_printf(out, "\n- limits: %u %% of the wall and CPU time, %u %% of the memory that are configured",
               language_wall_percent(row), language_memory_percent(row));
    buf_printf(out, "\n- Debian packages: %s", row->packages);
    if (row->libraries != NULL) {
        buf_append_cstr(out, "\n- with it come: ");
        write_names(row->libraries, ' ', out);
    }
    buf_append_char(out, '\n');
}

static void page_languages(struct buf *out)
{
    buf_append_cstr(
        out, MADE_FROM(
                 "schema/languages.def") "# Languages\n\n"
                                         "`lang` takes the name or an alias, in any case of letters. The "
                                         "user's `args` follow the command; the working\n"
                                         "directory is `/mnt/data`. Toolchains and libraries are the "
                                         "distribution's, whatever else the machine has.\n"
                                         "`{source}` is the program's file and `{out}` the compiled program, "
                                         "both in the working directory; neither is an output file.\n"
                                         "A compile error is an end like any other: `stage: \"compile\"` and "
                                         "the compiler's exit code. Compiling and running share\n"
                                         "the run's limits. What is installed: `GET /v1/languages`; to "
                                         "install more: `tools/install --languages all` or a list.\n");
    for (unsigned i = 0; i < LANG_COUNT; i++)
        write_language(language_row((enum language)i), out);
}

static void page_metrics(struct buf *out)
{
    buf_append_cstr(
        out, MADE_FROM("schema/metrics.def") "# Metrics\n\n"
                                             "Prometheus text at `/metrics` of every program. Labels come "
                                             "from fixed sets, so the number of series is bounded.\n\n"
                                             "| metric | type | labels | api | worker | archiver | what "
                                             "|\n|---|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        struct metric_row row = metric_row((enum metric)i);
        buf_printf(out, "| `%s` | %s | %s%s%s | %s | %s | %s | %s |\n", row.name, row.type,
                   row.labels[0] != NULL ? row.labels[0] : "", row.labels[1] != NULL ? ", " : "",
                   row.labels[1] != NULL ? row.labels[1] : "", (row.programs & METRICS_API) != 0 ? "x" : "",
                   (row.programs & METRICS_WORKER) != 0 ? "x" : "",
                   (row.programs & METRICS_ARCHIVER) != 0 ? "x" : "", row.help);
    }
}

static const struct event_doc {
    const char *name, *doc;
    unsigned flags;
} event_docs[] = {
#define X(symbol, name_, flags_, doc_) {.name = (name_), .doc = (doc_), .flags = (flags_)},
#include "schema/event.def"
#undef X
};

static void page_events(struct buf *out)
{
    buf_append_cstr(
        out, MADE_FROM("schema/event.def") "# Events of a job\n\n"
                                           "An event that a reader gets is `{id, type, job_id, attempt, seq, "
                                           "time, ...}`: `id` is the offset to resume behind, `seq`\n"
                                           "counts 1, 2, ... within the job, `time` is in milliseconds since "
                                           "1970. `data` is text, or base64 with\n"
                                           "`\"encoding\":\"base64\"` where the bytes are not UTF-8. Rows "
                                           "and fields are only added: skip what you do not know.\n"
                                           "After `retried` every view of the job starts anew.\n\n"
                                           "| type | last | from a client | what it says; its fields "
                                           "|\n|---|---|---|---|\n");
    for (size_t i = 0; i < EV_COUNT; i++) {
        buf_printf(out, "| `%s` | %s | %s | ", event_docs[i].name,
                   (event_docs[i].flags & EVF_TERMINAL) != 0 ? "x" : "",
                   (event_docs[i].flags & EVF_CLIENT) != 0 ? "x" : "");
        for (const char *p = event_docs[i].doc; *p != '\0'; p++) /* a bar would end the cell */
            buf_append(out, *p == '|' ? "\\|" : p, *p == '|' ? 2 : 1);
        buf_append_cstr(out, " |\n");
    }
}

static void schema_of_event(size_t i, struct buf *out)
{
    bool bytes = (event_docs[i].flags & EVF_BYTES) != 0;
    buf_printf(out, "%s\n    {\"description\": ", i > 0 ? "," : "");
    json_write_string(out, str_of(event_docs[i].doc));
    buf_printf(out,
               ",\n     \"properties\": {\"type\": {\"const\": \"%s\"}%s},\n     \"required\": [\"type\"%s]}",
               event_docs[i].name,
               bytes ? ", \"data\": {\"type\": \"string\"}, \"encoding\": {\"const\": \"base64\"}" : "",
               bytes ? ", \"data\"" : "");
}

static void schema_events(struct buf *out)
{
    buf_append_cstr(out, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                         "  \"$comment\": \"Made from schema/event.def by tools/docs.\",\n"
                         "  \"title\": \"An event of a job, as readers get it\",\n  \"type\": \"object\",\n"
                         "  \"properties\": {\n"
                         "    \"id\": {\"type\": \"string\", \"pattern\": \"^[0-9]+-[0-9]+$\"},\n"
                         "    \"type\": {\"type\": \"string\"},\n"
                         "    \"job_id\": {\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9_-]{21}$\"},\n"
                         "    \"attempt\": {\"type\": \"integer\", \"minimum\": 0},\n"
                         "    \"seq\": {\"type\": \"integer\", \"minimum\": 1},\n"
                         "    \"time\": {\"type\": \"integer\", \"minimum\": 0}\n  },\n"
                         "  \"required\": [\"id\", \"type\", \"job_id\", \"attempt\", \"seq\", \"time\"],\n"
                         "  \"oneOf\": [");
    for (size_t i = 0; i < EV_COUNT; i++)
        schema_of_event(i, out);
    buf_append_cstr(out, "\n  ]\n}\n");
}

static const struct page {
    const char *path;
    void (*write)(struct buf *out);
} pages[] = {
    {"docs/CONFIGURATION.md", page_configuration},
    {"docs/ERRORS.md", page_errors},
    {"docs/EVENTS.md", page_events},
    {"docs/LANGUAGES.md", page_languages},
    {"docs/LIMITS.md", page_limits},
    {"docs/METRICS.md", page_metrics},
    {"schema/event.schema.json", schema_events},
};

static FILE *open_page(const char *root, const struct page *page, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, page->path);
    FILE *file = fopen(path, mode);
    if (file == NULL)
        perror(path);
    return file;
}

static bool write_page(const char *root, const struct page *page, const struct buf *text)
{
    FILE *file = open_page(root, page, "we");
    if (file == NULL)
        return false;
    bool good = fwrite(text->data, 1, text->len, file) == text->len;
    return fclose(file) == 0 && good;
}

static bool check_page(const char *root, const struct page *page, const struct buf *text)
{
    FILE *file = open_page(root, page, "re");
    if (file == NULL)
        return false;
    auto_buf there = BUF_INIT(PAGE_MAX + 1);
    char *room = buf_reserve(&there, PAGE_MAX + 1);
    size_t n = room != NULL ? fread(room, 1, PAGE_MAX + 1, file) : 0;
    fclose(file);
    bool same = room != NULL && n == text->len && memcmp(room, text->data, n) == 0;
    if (!same)
        fprintf(stderr, "%s is not what the tables say; run tools/docs\n", page->path);
    return same;
}

int main(int argc, char **argv)
{
    bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
    if (!check && (argc != 3 || strcmp(argv[1], "--write") != 0)) {
        fprintf(stderr, "usage: gen_docs --write ROOT | --check ROOT\n");
        return 2;
    }
    bool good = true;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        auto_buf text = BUF_INIT(PAGE_MAX);
        pages[i].write(&text);
        bool done =
            buf_status(&text) == ERR_OK && (check ? check_page : write_page)(argv[2], &pages[i], &text);
        good = done && good;
    }
    return good ? 0 : 1;
}
