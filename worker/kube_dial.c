/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to a pod's runner, and the token that it asks for. */
#include "base/cleanup.h"
#include "worker/knock.h"
#include "worker/kube_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEAD_PEER_MS = 30000 };

static bool address_of(const char *ip, unsigned port, struct sockaddr_storage *ret_address,
                       socklen_t *ret_len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    *ret_address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_len = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, ip, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *ret_len = sizeof *v6;
    return true;
}

static int connect_to(const char *ip, unsigned port)
{
    struct sockaddr_storage to;
    socklen_t len;
    const int one = 1, dead = DEAD_PEER_MS;
    if (!address_of(ip, port, &to, &len))
        return -1;
    auto_fd fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof dead) != 0 ||
        (connect(fd, (const struct sockaddr *)&to, len) != 0 && errno != EINPROGRESS))
        return -1;
    return steal_fd(&fd);
}

struct sha256 kube_token(const struct kubernetes *k, const char *name)
{
    const struct sha256 *secret = &k->options.keys->key[0].secret;
    char label[KUBE_NAME_MAX + 8];
    snprintf(label, sizeof label, "pod:%s", name);
    return hmac_sha256((struct str){.p = (const char *)secret->bytes, .n = SHA256_LEN}, str_of(label));
}

void kube_dial(struct kube_pod_of *kp)
{
    char knock[KNOCK_SIZE];
    struct sha256 token = kube_token(kp->k, kp->name);
    bool again = kp->dialled;
    kp->dialled = true;
    kp->dialled_ns = kube_now();
    memcpy(knock, KNOCK_MAGIC, KNOCK_MAGIC_SIZE);
    memcpy(knock + KNOCK_MAGIC_SIZE, token.bytes, KNOCK_TOKEN_SIZE);
    int fd = connect_to(kp->ip, (unsigned)kp->k->options.config->k8s_runner_port);
    if (fd < 0 || (again ? pod_reconnected(&kp->pod, fd) : pod_connected(&kp->pod, fd)) != ERR_OK) {
        kube_judge(kp, REASON_POD_LOST, "no connection to the pod can be begun");
        return; /* told by the tick */
    }
    pod_send_first(&kp->pod, (struct str){.p = knock, .n = sizeof knock});
}
