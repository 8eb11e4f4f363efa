/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed keys and tokens: made once with OpenSSL, valid from second 1790000000 for 300 s. Their private halves exist no more. */
#ifndef MILLRACE_TESTS_UNIT_TOKENS_H
#define MILLRACE_TESTS_UNIT_TOKENS_H

enum { TOKENS_FROM_S = 1790000000, TOKENS_TTL_S = 300 };

/* clang-format off */
#define ED_PUBLIC \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MCowBQYDK2VwAyEAXtCQqGgQveuO3MAiHSPN9DX2yKuhejSKo7GWkIYjwpc=\n" \
    "-----END PUBLIC KEY-----\n"
#define RSA_PUBLIC \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmNNd4FDO6h2LNJeO1mCZ\n" \
    "g4dLQYPGi1X2zFfj3NL1tBnASyRfGlAO1sTHLuk+5/PbY33ivu9HgdT6bxk0JWhk\n" \
    "3nczeQsFMezmeFZDResJSqlbw6a7ZI3aRPNOyWYbNEbD9aHo3Vsc+cnayLgBl5m3\n" \
    "exTR8bhhK72h9Eg/07PMr3gj6cS8McP0dGymLAk6ey6f0hBcwTZ7uB/82gfaX+/O\n" \
    "UPlw94Qp4LOzMs0VVXkctJDM6d23exhPqI1LII/vvkro9PRu8NPvmm7ZodXLmh+z\n" \
    "HH+7/5yKSS9CToLnfN6nvR3QsFwF1vbRTJJwBIM7+DH80tSM9v6TKOoCwoFYzjxT\n" \
    "cwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"
/* The same as members of a JSON Web Key. */
#define ED_X "XtCQqGgQveuO3MAiHSPN9DX2yKuhejSKo7GWkIYjwpc"
#define RSA_N \
    "mNNd4FDO6h2LNJeO1mCZg4dLQYPGi1X2zFfj3NL1tBnASyRfGlAO1sTHLuk-5_PbY33ivu9HgdT6bxk0JWhk3nczeQ" \
    "sFMezmeFZDResJSqlbw6a7ZI3aRPNOyWYbNEbD9aHo3Vsc-cnayLgBl5m3exTR8bhhK72h9Eg_07PMr3gj6cS8McP0" \
    "dGymLAk6ey6f0hBcwTZ7uB_82gfaX-_OUPlw94Qp4LOzMs0VVXkctJDM6d23exhPqI1LII_vvkro9PRu8NPvmm7Zod" \
    "XLmh-zHH-7_5yKSS9CToLnfN6nvR3QsFwF1vbRTJJwBIM7-DH80tSM9v6TKOoCwoFYzjxTcw"
#define SMALL_PUBLIC \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCZDg6z4rduVkUGQP0mOrEZ46PG\n" \
    "seLhvaeTw541fvb38ZVN+nHGSq5zh5hc5X6z7l6JVhcLzsCCBW/gZZ9T1YvAlodj\n" \
    "w1k4Tosz06ArD3ZB6HC81sEjw2dQGXic7MX5+5/yCAG0a8oG7DtkuVzDaG3AQmsz\n" \
    "UyrlfD4863/qOqCHLwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"
#define ED_TOKEN \
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6ImxjLWNvZGVhcGktMjAyNi0wNSJ9.eyJpc3MiOiJsaWJyZWNoYXQ" \
    "iLCJhdWQiOiJjb2RlYXBpIiwic3ViIjoiNjY1ZjBjMmU5YjFkNGEwMDEyYWIzNGNkIiwiaWF0IjoxNzkwMDAwMDAwLCJuYmY" \
    "iOjE3OTAwMDAwMDAsImV4cCI6MTc5MDAwMDMwMCwianRpIjoiMGQ3YjZjMWUtOGYyYS00YjRlLTlhNTUtMmY0ZjdkMWM5ZTE" \
    "wIiwidGVuYW50X2lkIjoibGVnYWN5Iiwicm9sZSI6IlVTRVIiLCJwcmluY2lwYWxfc291cmNlIjoibGlicmVjaGF0X2p3dCJ" \
    "9.8ex43kT3MwQMYpR1zzXb7Y0iGKnr-mG17hm6xFXf0aaSs8_Z351Lxx2430eLmAXcobMTjoXvGhSnvPKM8GULCA"
#define RSA_TOKEN \
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImxjLWNvZGVhcGktMjAyNi0wNSJ9.eyJpc3MiOiJsaWJyZWNoYXQ" \
    "iLCJhdWQiOiJjb2RlYXBpIiwic3ViIjoiNjY1ZjBjMmU5YjFkNGEwMDEyYWIzNGNkIiwiaWF0IjoxNzkwMDAwMDAwLCJuYmY" \
    "iOjE3OTAwMDAwMDAsImV4cCI6MTc5MDAwMDMwMCwianRpIjoiMGQ3YjZjMWUtOGYyYS00YjRlLTlhNTUtMmY0ZjdkMWM5ZTE" \
    "wIiwidGVuYW50X2lkIjoibGVnYWN5Iiwicm9sZSI6IlVTRVIiLCJwcmluY2lwYWxfc291cmNlIjoibGlicmVjaGF0X2p3dCJ" \
    "9.MeRqO_riz6M6MWzrdC3D5nun-mP5rH8tQuVGa9rGkDjkxZPCN6BFc-CDeXqFdO0gclhLgoEzhUmuI7XdXseNfCx0F_bIZh" \
    "XCSaYI5c3FJBcTM8NX5Pew8MahMNytidXjUfClGJB4RivnU5tWrlhxd7dYNxVhcpMtjqqHfRSFPKH3fMElROuuNxZbyUQQ4-" \
    "aq68BbFxqtDKoAnaA4wbWTMMGAti3tFL4q__B2mvJA9292cV67urJgJEZ1HNWggVB6IrmRVNOXbLkINuneECIPSXa6gkEzl0" \
    "NJjgwmpySfDYvbEcKIpRAPCTAQjnGdUaNVTjJ1ZgWxY9NgAl6GyJ697g"
#define ED_OTHER_TENANT \
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6ImxjLWNvZGVhcGktMjAyNi0wNSJ9.eyJpc3MiOiJsaWJyZWNoYXQ" \
    "iLCJhdWQiOiJjb2RlYXBpIiwic3ViIjoiNjY1ZjBjMmU5YjFkNGEwMDEyYWIzNGNkIiwiaWF0IjoxNzkwMDAwMDAwLCJuYmY" \
    "iOjE3OTAwMDAwMDAsImV4cCI6MTc5MDAwMDMwMCwianRpIjoiMGQ3YjZjMWUtOGYyYS00YjRlLTlhNTUtMmY0ZjdkMWM5ZTE" \
    "wIiwidGVuYW50X2lkIjoiYWNtZSIsInJvbGUiOiJVU0VSIiwicHJpbmNpcGFsX3NvdXJjZSI6ImxpYnJlY2hhdF9qd3QifQ." \
    "E1j-biPI1nQJvUOViLvwwKijPUCZqTMQyNJKV51EO4R3YxZc40C6J8x5pu9cjfqgKiN5daTUF0SOP2iGFIVfBw"
#define HS_TOKEN \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJsaWJyZWNoYXQiLCJhdWQiOiJjb2RlYXBpIiwic3ViIjoiNjY" \
    "1ZjBjMmU5YjFkNGEwMDEyYWIzNGNkIiwiaWF0IjoxNzkwMDAwMDAwLCJuYmYiOjE3OTAwMDAwMDAsImV4cCI6MTc5MDAwMDM" \
    "wMCwianRpIjoiMGQ3YjZjMWUtOGYyYS00YjRlLTlhNTUtMmY0ZjdkMWM5ZTEwIiwidGVuYW50X2lkIjoibGVnYWN5Iiwicm9" \
    "sZSI6IlVTRVIiLCJwcmluY2lwYWxfc291cmNlIjoibGlicmVjaGF0X2p3dCJ9.OXdLv9j8Hmw1oKj3M9D1DQJ8o2YhZR0uY7" \
    "iGG_jVniU"
#define RS_SIGNED_BY_ED \
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImxjLWNvZGVhcGktMjAyNi0wNSJ9.eyJpc3MiOiJsaWJyZWNoYXQ" \
    "iLCJhdWQiOiJjb2RlYXBpIiwic3ViIjoiNjY1ZjBjMmU5YjFkNGEwMDEyYWIzNGNkIiwiaWF0IjoxNzkwMDAwMDAwLCJuYmY" \
    "iOjE3OTAwMDAwMDAsImV4cCI6MTc5MDAwMDMwMCwianRpIjoiMGQ3YjZjMWUtOGYyYS00YjRlLTlhNTUtMmY0ZjdkMWM5ZTE" \
    "wIiwidGVuYW50X2lkIjoibGVnYWN5Iiwicm9sZSI6IlVTRVIiLCJwcmluY2lwYWxfc291cmNlIjoibGlicmVjaGF0X2p3dCJ" \
    "9.m90raJnkxdbZXAhmFWZ-N07fz7ZUQtNdvFBHjObN5ikgFior5u7bwE5MhuTAbtJZmQRdjyQzL7ctvPzhTNxiAg"
/* clang-format on */

#endif
