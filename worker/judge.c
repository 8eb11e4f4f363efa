/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/judge.h"

enum err judge_compare_parse(struct str name, enum judge_compare *ret_compare)
{
    static const struct {
        const char *name;
        enum judge_compare compare;
    } names[] = {{"", JUDGE_LINES}, {"lines", JUDGE_LINES}, {"tokens", JUDGE_TOKENS}, {"exact", JUDGE_EXACT}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!str_eq(name, str_of(names[i].name)))
            continue;
        *ret_compare = names[i].compare;
        return ERR_OK;
    }
    return ERR_INVALID;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* What counts of a text, each kind of comparison with its own. */
static void keep_lines(struct buf *out, struct str text)
{
    size_t end = 0; /* behind the last byte that counts */
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n')
            out->len = out->len > end ? end : out->len;
        buf_append_char(out, text.p[i]);
        if (!is_blank(text.p[i]) && buf_status(out) == ERR_OK)
            end = out->len;
    }
    out->len = out->len > end ? end : out->len;
    while (out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
}

static void keep_tokens(struct buf *out, struct str text)
{
    bool gap = false;
    for (size_t i = 0; i < text.n; i++) {
        bool between = is_blank(text.p[i]) || text.p[i] == '\n';
        if (!between && gap && out->len > 0)
            buf_append_char(out, ' ');
        if (!between)
            buf_append_char(out, text.p[i]);
        gap = between;
    }
}

enum err judge_begin(struct judge *judge, enum judge_compare compare, struct str expected)
{
    *judge = (struct judge){.compare = compare, .wanted = BUF_INIT(expected.n + 1)};
    if (compare == JUDGE_LINES)
        keep_lines(&judge->wanted, expected);
    else if (compare == JUDGE_TOKENS)
        keep_tokens(&judge->wanted, expected);
    else
        buf_append_str(&judge->wanted, expected);
    if (buf_status(&judge->wanted) != ERR_OK) {
        judge_free(judge);
        return ERR_NOMEM;
    }
    judge->on = true;
    judge_restart(judge);
    return ERR_OK;
}

void judge_free(struct judge *judge)
{
    buf_free(&judge->wanted);
    judge->on = false;
}

void judge_restart(struct judge *judge)
{
    judge->at = judge->breaks = judge->blanks = 0;
    judge->blanks_fit = true;
    judge->wrong = false;
}

static bool stands(const struct judge *judge, size_t at, char c)
{
    return at < judge->wanted.len && judge->wanted.data[at] == c;
}

/* A byte that counts, and before it what was put off. */
static void take(struct judge *judge, char c)
{
    for (size_t i = 0; i < judge->breaks && !judge->wrong; i++)
        judge->wrong = !stands(judge, judge->at + i, '\n');
    size_t at = judge->at + judge->breaks + judge->blanks;
    judge->wrong = judge->wrong || !judge->blanks_fit || !stands(judge, at, c);
    judge->at = at + 1;
    judge->breaks = judge->blanks = 0;
    judge->blanks_fit = true;
}

static void feed_line(struct judge *judge, char c)
{
    if (c == '\n') {
        judge->breaks++;
        judge->blanks = 0;
        judge->blanks_fit = true;
    } else if (is_blank(c)) {
        judge->blanks_fit = judge->blanks_fit && stands(judge, judge->at + judge->breaks + judge->blanks, c);
        judge->blanks++;
    } else {
        take(judge, c);
    }
}

/* Whatever is between two words is one blank, and none before the first. */
static void feed_token(struct judge *judge, char c)
{
    if (!is_blank(c) && c != '\n') {
        take(judge, c);
    } else if (judge->at > 0) {
        judge->blanks = 1;
        judge->blanks_fit = stands(judge, judge->at, ' ');
    }
}

void judge_feed(struct judge *judge, struct str bytes)
{
    static void (*const feeds[])(struct judge *, char) = {
        [JUDGE_LINES] = feed_line, [JUDGE_TOKENS] = feed_token, [JUDGE_EXACT] = take};
    for (size_t i = 0; judge->on && !judge->wrong && i < bytes.n; i++)
        feeds[judge->compare](judge, bytes.p[i]);
}

bool judge_right(const struct judge *judge)
{
    return !judge->wrong && judge->at == judge->wanted.len;
}
