/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of the S3 manual ("Signature Calculations for the Authorization Header") and of AWS's Signature Version 4
   test suite. */
#include "io/store/s3sign.h"
#include "unit.h"

#include <string.h>

struct vector {
    const char *method, *path, *payload, *signature, *target;
    struct s3sign_pair query[4], headers[8];
    bool suite; /* of the test suite, else of the S3 manual */
};

#define S3_HASH(hash)                                                                                        \
    {                                                                                                        \
        "x-amz-content-sha256", hash                                                                         \
    }
#define S3_HEAD                                                                                              \
    {"host", "examplebucket.s3.amazonaws.com"},                                                              \
    {                                                                                                        \
        "x-amz-date", "20130524T000000Z"                                                                     \
    }
#define SUITE_HEAD                                                                                           \
    {"host", "example.amazonaws.com"},                                                                       \
    {                                                                                                        \
        "x-amz-date", "20150830T123600Z"                                                                     \
    }
#define PUT_HASH "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static const struct vector vectors[] = {
    {"GET",
     "/test.txt",
     S3_EMPTY_SHA256,
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
     "/test.txt",
     {{0}},
     {S3_HASH(S3_EMPTY_SHA256), {"range", "bytes=0-9"}, S3_HEAD},
     false},
    {"PUT",
     "/test$file.text",
     PUT_HASH,
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
     "/test%24file.text",
     {{0}},
     {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
      S3_HASH(PUT_HASH),
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
      S3_HEAD},
     false},
    {"GET",
     "/",
     S3_EMPTY_SHA256,
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
     "/?lifecycle=",
     {{"lifecycle", ""}},
     {S3_HASH(S3_EMPTY_SHA256), S3_HEAD},
     false},
    {"GET",
     "/",
     S3_EMPTY_SHA256,
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
     "/?max-keys=2&prefix=J",
     {{"prefix", "J"}, {"max-keys", "2"}},
     {S3_HASH(S3_EMPTY_SHA256), S3_HEAD},
     false},
    {"GET",
     "/",
     S3_EMPTY_SHA256,
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "/",
     {{0}},
     {SUITE_HEAD},
     true},
    {"GET",
     "/",
     S3_EMPTY_SHA256,
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
     "/?Param1=value1&Param2=value2",
     {{"Param2", "value2"}, {"Param1", "value1"}},
     {SUITE_HEAD},
     true},
    {"GET",
     "/\xe1\x88\xb4",
     S3_EMPTY_SHA256,
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
     "/%E1%88%B4",
     {{0}},
     {SUITE_HEAD},
     true},
    {"GET",
     "/",
     S3_EMPTY_SHA256,
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
     "/?%E1%88%B4=bar",
     {{"\xe1\x88\xb4", "bar"}},
     {SUITE_HEAD},
     true},
    {"POST",
     "/",
     S3_EMPTY_SHA256,
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
     "/",
     {{0}},
     {SUITE_HEAD},
     true},
};

static struct s3sign_request request_of(const struct vector *v)
{
    struct s3sign_request r = {
        .method = v->method,
        .path = v->path,
        .query = v->query,
        .headers = v->headers,
        .payload_sha256 = v->payload,
        .date = v->suite ? "20150830T123600Z" : "20130524T000000Z",
        .region = "us-east-1",
        .service = v->suite ? "service" : "s3",
        .access_key = v->suite ? "AKIDEXAMPLE" : "AKIAIOSFODNN7EXAMPLE",
        .secret_key = v->suite ? "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
                               : "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    };
    while (r.query_count < 4 && v->query[r.query_count].name)
        r.query_count++;
    while (r.header_count < 8 && v->headers[r.header_count].name)
        r.header_count++;
    return r;
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct s3sign_request r = request_of(&vectors[i]);
        auto_buf out = BUF_INIT(4096);
        auto_buf target = BUF_INIT(4096);
        s3sign(&r, &out);
        s3sign_target(&r, &target);
        assert_string_equal(strstr(buf_cstr(&out), "Signature=") + 10, vectors[i].signature);
        assert_string_equal(buf_cstr(&target), vectors[i].target);
    }
}

static void test_the_whole_header(void **state)
{
    (void)state;
    struct s3sign_request r = request_of(&vectors[0]);
    auto_buf out = BUF_INIT(4096);
    s3sign(&r, &out);
    assert_string_equal(
        buf_cstr(&out),
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature="
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_date(void **state)
{
    (void)state;
    char date[S3_DATE_SIZE];
    s3sign_date(1369353600000, date);
    assert_string_equal(date, "20130524T000000Z");
    s3sign_date(1440938160999, date);
    assert_string_equal(date, "20150830T123600Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_the_whole_header),
        cmocka_unit_test(test_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
