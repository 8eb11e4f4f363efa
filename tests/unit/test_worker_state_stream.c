/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/frame.h"
#include "worker/state_stream.h"
#include "worker/templates/template_proto.h"

#include <string.h>

static void record(struct buf *out, enum state_record kind, const char *payload)
{
    frame_append(out, (enum frame_type)kind, payload, strlen(payload));
}

/* What a good program says, in pieces of `piece` bytes. */
static void a_whole_state_is_taken_in_any_pieces(void **state)
{
    (void)state;
    auto_buf said = BUF_INIT(1 << 20);
    record(&said, STATE_RECORD_BYTES, "abc");
    record(&said, STATE_RECORD_WARNING, "{\"name\":\"g\",\"reason\":\"TypeError: cannot pickle\"}");
    record(&said, STATE_RECORD_BYTES, "def");
    record(&said, STATE_RECORD_END, "\1");
    for (size_t piece = 1; piece <= said.len; piece++) {
        struct state_stream s;
        state_stream_init(&s, 100);
        for (size_t at = 0; at < said.len; at += piece)
            state_stream_add(&s, (struct str){said.data + at, said.len - at < piece ? said.len - at : piece});
        auto_buf blob = BUF_INIT(0);
        struct sha256 hash;
        assert_int_equal(state_stream_take(&s, &blob, &hash), ERR_OK);
        assert_true(str_eq(buf_str(&blob), STR("\1abcdef")));
        assert_string_equal(buf_cstr(&s.warnings),
                            "{\"name\":\"g\",\"reason\":\"TypeError: cannot pickle\"}");
        state_stream_free(&s);
    }
}

static const char *broken(struct buf *said)
{
    struct state_stream s;
    auto_buf blob = BUF_INIT(0);
    struct sha256 hash;
    state_stream_init(&s, 10);
    state_stream_add(&s, buf_str(said));
    assert_int_equal(state_stream_take(&s, &blob, &hash), ERR_AGAIN);
    const char *why = s.broken;
    state_stream_free(&s);
    buf_reset(said);
    return why;
}

static void what_is_not_whole_is_not_taken(void **state)
{
    (void)state;
    auto_buf said = BUF_INIT(1 << 20);
    assert_null(broken(&said));
    record(&said, STATE_RECORD_BYTES, "abc");
    assert_null(broken(&said)); /* no end */
    record(&said, STATE_RECORD_BYTES, "abc");
    frame_append(&said, (enum frame_type)STATE_RECORD_END, "\0", 1);
    assert_null(broken(&said)); /* nothing is to be saved */
    record(&said, STATE_RECORD_END, "\1");
    assert_null(broken(&said)); /* nothing came */
    record(&said, STATE_RECORD_BYTES, "0123456789a");
    assert_string_equal(broken(&said), "it is larger than its limit");
    record(&said, STATE_RECORD_END, "\1");
    record(&said, STATE_RECORD_BYTES, "abc");
    assert_string_equal(broken(&said), "something came behind its end");
    record(&said, STATE_RECORD_WARNING, "no json");
    assert_string_equal(broken(&said), "a warning that is none");
    record(&said, STATE_RECORD_END, "\2");
    assert_string_equal(broken(&said), "an end that is none");
    frame_append(&said, (enum frame_type)9, "x", 1);
    assert_string_equal(broken(&said), "a record of an unknown kind");
    buf_append_cstr(&said, "\xff\xff\xff\xff garbage");
    assert_string_equal(broken(&said), "a record that is none");
}

static void warnings_are_bounded_and_clean(void **state)
{
    (void)state;
    struct state_stream s;
    char longer[1000];
    memset(longer, '\x01', sizeof longer);
    state_stream_init(&s, 10);
    for (int i = 0; i < 1000; i++)
        state_stream_warn(&s, STR("\xff"), (struct str){longer, sizeof longer});
    assert_int_equal(s.warning_count, STATE_WARNINGS_MAX);
    assert_int_equal(buf_status(&s.warnings), ERR_OK);
    state_stream_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_state_is_taken_in_any_pieces),
        cmocka_unit_test(what_is_not_whole_is_not_taken),
        cmocka_unit_test(warnings_are_bounded_and_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
