/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

struct tls {
    SSL_CTX *ctx;
    SSL *ssl; /* owns the two BIOs */
    BIO *from_peer, *to_peer;
};

static enum err openssl_error(struct errinfo *info, enum err code, const char *what)
{
    char text[160] = "unknown";
    unsigned long e = ERR_get_error();
    if (e)
        ERR_error_string_n(e, text, sizeof text);
    ERR_clear_error();
    return errinfo_set(info, code, 0, "%s: %s", what, text);
}

static enum err trust(struct tls *t, const char *ca_file, struct errinfo *info)
{
    if (!ca_file || SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL))
        return ERR_OK;
    char what[300];
    snprintf(what, sizeof what, "REDIS_CA_FILE %.200s", ca_file);
    return openssl_error(info, ERR_INVALID, what);
}

static bool set_up(struct tls *t, const char *host, const char *ca_file)
{
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx || !SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION))
        return false;
    if (!ca_file && !SSL_CTX_set_default_verify_paths(t->ctx))
        return false;
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    t->ssl = SSL_new(t->ctx);
    t->from_peer = BIO_new(BIO_s_mem());
    t->to_peer = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->from_peer || !t->to_peer) {
        BIO_free(t->from_peer);
        BIO_free(t->to_peer);
        return false;
    }
    SSL_set_bio(t->ssl, t->from_peer, t->to_peer);
    SSL_set_connect_state(t->ssl);
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1 &&
        (SSL_set1_host(t->ssl, host) != 1 ||
         /* SSL_set_tlsext_host_name without its cast that drops the const */
         SSL_ctrl(t->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host) !=
             1))
        return false;
    ERR_clear_error();
    return true;
}

enum err tls_new(const char *host, const char *ca_file, struct tls **ret_tls, struct errinfo *info)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return errinfo_set(info, ERR_NOMEM, 0, "TLS");
    enum err e = set_up(t, host, ca_file) ? trust(t, ca_file, info)
                                          : openssl_error(info, ERR_SYSTEM, "TLS can not be set up");
    if (e)
        tls_free(t);
    else
        *ret_tls = t;
    return e;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->ctx);
    free(tls);
}

static void drain(struct tls *t, struct buf *out)
{
    size_t waiting;
    while ((waiting = BIO_ctrl_pending(t->to_peer)) > 0) {
        char *room = buf_reserve(out, waiting);
        int got = room ? BIO_read(t->to_peer, room, (int)waiting) : 0;
        if (got <= 0)
            return;
        out->len += (size_t)got;
    }
}

enum err tls_handshake(struct tls *tls, struct buf *out, struct errinfo *info)
{
    int done = SSL_do_handshake(tls->ssl);
    drain(tls, out);
    if (done == 1)
        return ERR_OK;
    if (SSL_get_error(tls->ssl, done) == SSL_ERROR_WANT_READ)
        return ERR_AGAIN;
    long verify = SSL_get_verify_result(tls->ssl);
    if (verify != X509_V_OK) {
        ERR_clear_error();
        return errinfo_set(info, ERR_DENIED, 0, "TLS: the server's certificate: %s",
                           X509_verify_cert_error_string(verify));
    }
    return openssl_error(info, ERR_DENIED, "TLS");
}

enum err tls_feed(struct tls *tls, struct str bytes)
{
    return BIO_write(tls->from_peer, bytes.p, (int)bytes.n) == (int)bytes.n ? ERR_OK : ERR_NOMEM;
}

long tls_read(struct tls *tls, char *data, size_t size, struct buf *out)
{
    int got = SSL_read(tls->ssl, data, (int)size);
    drain(tls, out);
    if (got > 0)
        return got;
    bool again = SSL_get_error(tls->ssl, got) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return again ? 0 : -1;
}

enum err tls_write(struct tls *tls, struct str bytes, struct buf *out)
{
    while (bytes.n > 0) {
        int part = bytes.n > 1 << 20 ? 1 << 20 : (int)bytes.n;
        int sent = SSL_write(tls->ssl, bytes.p, part);
        if (sent <= 0)
            return ERR_IO;
        bytes.p += sent;
        bytes.n -= (size_t)sent;
        drain(tls, out);
    }
    return buf_status(out);
}
