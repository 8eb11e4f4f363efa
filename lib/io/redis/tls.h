/* SPDX-License-Identifier: Apache-2.0 */
/* TLS as a filter between memory buffers (OpenSSL). The peer's name is checked, always. */
#ifndef MILLRACE_IO_REDIS_TLS_H
#define MILLRACE_IO_REDIS_TLS_H

#include "base/buf.h"

struct tls;

/* `ca_file` NULL: the system's authorities. ERR_SYSTEM with the reason. */
MUST_CHECK enum err tls_new(const char *host, const char *ca_file, struct tls **ret_tls,
                            struct errinfo *info);
void tls_free(struct tls *tls);

/* Begin or go on with the handshake; bytes for the peer go to `out`. ERR_OK when done, ERR_AGAIN, ERR_DENIED. */
MUST_CHECK enum err tls_handshake(struct tls *tls, struct buf *out, struct errinfo *info);
/* Bytes from the peer. */
MUST_CHECK enum err tls_feed(struct tls *tls, struct str bytes);
/* Decrypted bytes: > 0 how many, 0 none now, < 0 the connection is over. May leave bytes for the peer in `out`. */
long tls_read(struct tls *tls, char *data, size_t size, struct buf *out);
MUST_CHECK enum err tls_write(struct tls *tls, struct str bytes, struct buf *out);

#endif
