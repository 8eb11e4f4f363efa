/* SPDX-License-Identifier: Apache-2.0 */
/* A job whose program is compiled: taken from the cache, or given to it.

   The key is the hash of everything that the compiler's work depends on: the tenant (so no tenant gets another's program, and
   none can tell what another compiled), the language, the compiler and the state of the system's packages, the command, the
   environment, the source, and the name and hash of every input file. The program is taken by PID 1 after the compiler has
   ended (or waits, see runner.h: taking) and before any of the user's code runs, so only compiling a source can make the entry of that source. */
#include "worker/jobrun_internal.h"

#include "base/clock.h"
#include "worker/spec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TOLD_MAX = 64 * 1024, ITEM_HEADER = 8 };
#define PACKAGES "/var/lib/dpkg/status" /* written whenever a package is installed, upgraded or removed */

static bool is_part(unsigned tag)
{
    return tag == SPEC_COMPILE_ARGV || tag == SPEC_ENV || tag == SPEC_SOURCE_NAME || tag == SPEC_SOURCE;
}

/* The item at `at` of a specification that we wrote. */
static struct str item_at(struct str spec, size_t at, unsigned *ret_tag)
{
    const unsigned char *h = (const unsigned char *)spec.p + at;
    *ret_tag = h[0] | (unsigned)h[1] << 8;
    size_t n = h[4] | (size_t)h[5] << 8 | (size_t)h[6] << 16 | (size_t)h[7] << 24;
    return (struct str){.p = spec.p + at, .n = ITEM_HEADER + n};
}

static void add_file(struct sha256_state *hash, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        st = (struct stat){0};
    const int64_t facts[] = {(int64_t)st.st_ino, (int64_t)st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    sha256_add(hash, (struct str){.p = (const char *)facts, .n = sizeof facts});
}

static void add_text(struct sha256_state *hash, struct str text)
{
    uint64_t n = text.n;
    sha256_add(hash, (struct str){.p = (const char *)&n, .n = sizeof n});
    sha256_add(hash, text);
}

static void add_inputs(struct sha256_state *hash, const struct inputs *inputs)
{
    const struct input *in;
    for (size_t i = 0; inputs && (in = inputs_at(inputs, i)) != NULL; i++) {
        if (in->dropped)
            continue;
        add_text(hash, in->path);
        add_text(hash, str_of(in->hash));
    }
}

static struct sha256 key_of(const struct jobrun *run, const struct language_row *lang)
{
    struct str spec = buf_str(&run->plan.spec);
    struct sha256_state *hash = sha256_begin();
    add_text(hash, run->owner.tenant);
    add_text(hash, str_of(lang->id));
    add_file(hash, lang->compile[0]);
    add_file(hash, PACKAGES);
    for (size_t at = 0; at < spec.n;) {
        unsigned tag;
        struct str item = item_at(spec, at, &tag);
        if (is_part(tag))
            sha256_add(hash, item);
        at += item.n;
    }
    add_inputs(hash, run->inputs);
    return sha256_end(hash);
}

/* Its program would tell when it was compiled, so it is compiled each time. */
static bool tells_time(struct str code)
{
    static const char *const words[] = {"__DATE__", "__TIME__", "__TIMESTAMP__"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (memmem(code.p, code.n, words[i], strlen(words[i])) != NULL)
            return true;
    return false;
}

static enum err without_compiling(struct jobrun *run)
{
    struct buf spec = BUF_INIT(SPEC_SIZE_MAX);
    struct str old = buf_str(&run->plan.spec);
    for (size_t at = 0; at < old.n;) {
        unsigned tag;
        struct str item = item_at(old, at, &tag);
        if (tag != SPEC_COMPILE_ARGV)
            buf_append_str(&spec, item);
        at += item.n;
    }
    if (buf_status(&spec) != ERR_OK) {
        buf_free(&spec);
        return ERR_NOMEM;
    }
    buf_free(&run->plan.spec);
    run->plan.spec = spec;
    return ERR_OK;
}

void jobrun_compile_look(struct jobrun *run)
{
    struct compile_cache *cache = run->runs->options.compiled;
    const struct language_row *lang = language_row(run->plan.lang);
    if (run->compile || !cache || !lang->compile || lang->out || /* no file of its own */
        compile_cache_room(cache) == 0 || tells_time(run->request.code))
        return;
    struct run_compile *c = calloc(1, sizeof *c);
    if (!c)
        return;
    c->program = BUF_INIT(compile_cache_room(cache));
    for (int i = 0; i < COMPILE_OUTPUTS; i++)
        c->told[i] = BUF_INIT(TOLD_MAX);
    c->key = key_of(run, lang);
    run->compile = c;
    c->hit = compile_cache_hold(cache, &c->key);
    if (c->hit && without_compiling(run) != ERR_OK) {
        compiled_let_go(c->hit);
        c->hit = NULL;
    }
    if (!c->hit)
        spec_put_u64(&run->plan.spec, SPEC_KEEP, compile_cache_room(cache));
    metrics_add(run->runs->options.metrics, c->hit ? METRIC_COMPILE_HITS : METRIC_COMPILE_MISSES,
                run->plan.lang, 0, 1);
}

const struct pod_program *jobrun_compile_program(const struct jobrun *run)
{
    return run->compile && run->compile->hit ? &run->compile->hit->program : NULL;
}

void jobrun_compile_started(struct jobrun *run)
{
    struct run_compile *c = run->compile;
    for (int i = 0; c && c->hit && i < COMPILE_OUTPUTS; i++)
        if (c->hit->told[i].n > 0 &&
            coalesce_add(&run->out, (enum pod_stream)i, c->hit->told[i], clock_mono_ns()) != ERR_OK)
            return; /* a warning less, where there is no memory */
}

void jobrun_compile_output(struct jobrun *run, enum pod_stream stream, struct str bytes)
{
    struct run_compile *c = run->compile;
    if (c && !c->hit && !run->facts.staged)
        buf_append_str(&c->told[stream], bytes);
}

void jobrun_compile_piece(struct jobrun *run, struct str bytes, bool whole)
{
    struct run_compile *c = run->compile;
    if (!c || c->hit || run->facts.staged)
        return;
    buf_append_str(&c->program, bytes);
    c->whole = whole;
}

void jobrun_compile_staged(struct jobrun *run)
{
    struct run_compile *c = run->compile;
    const struct frame_exit *end = &run->facts.stage;
    if (!c || c->hit || !c->whole || end->end != PE_OWN || end->exit_code != 0 || end->signal != 0)
        return;
    const struct str told[COMPILE_OUTPUTS] = {buf_str(&c->told[0]), buf_str(&c->told[1])};
    if (buf_status(&c->program) == ERR_OK && buf_status(&c->told[0]) == ERR_OK &&
        buf_status(&c->told[1]) == ERR_OK)
        compile_cache_add(run->runs->options.compiled, &c->key, buf_str(&c->program), told);
    buf_free(&c->program);
    c->whole = false;
}

void jobrun_compile_free(struct jobrun *run)
{
    struct run_compile *c = run->compile;
    if (!c)
        return;
    compiled_let_go(c->hit);
    buf_free(&c->program);
    for (int i = 0; i < COMPILE_OUTPUTS; i++)
        buf_free(&c->told[i]);
    free(c);
    run->compile = NULL;
}
