/* SPDX-License-Identifier: Apache-2.0 */
/* Where the API server is and who we are there: of a kubeconfig, or of a pod's service account. */
#ifndef MILLRACE_KUBE_ACCESS_H
#define MILLRACE_KUBE_ACCESS_H

#include "base/arena.h"

enum { KUBE_EXEC_ARGS_MAX = 64, KUBE_ACCESS_FILE_MAX = 1 << 20 };

/* A program that prints credentials (client.authentication.k8s.io). */
struct kube_exec_plan {
    const char *command;                      /* NULL: none */
    const char *args[KUBE_EXEC_ARGS_MAX + 1]; /* without the command; ends with NULL */
    const char *env[KUBE_EXEC_ARGS_MAX + 1];  /* "NAME=value"; ends with NULL */
    const char *api_version, *hint;           /* hint: how to install it; "" none */
    bool cluster_info;                        /* it wants to know the cluster */
};

/* Texts live in `memory`; NULL where nothing is said. Data is PEM. */
struct kube_access {
    struct arena memory;
    const char *source; /* the file, for messages */
    const char *server; /* without '/' at its end */
    const char *ns;
    const char *tls_server_name;
    bool insecure;
    const char *ca_data, *ca_file;
    const char *cert_data, *cert_file, *key_data, *key_file;
    const char *token, *token_file;
    struct kube_exec_plan exec;
};

void kube_access_free(struct kube_access *a);

/* Pure. `path` is for messages, and paths inside the file are relative to its folder. `context` NULL: current-context. ERR_INVALID:
   `info` names the file, the key and what to do. */
MUST_CHECK enum err kube_access_parse(struct str text, const char *path, const char *context,
                                      bool allow_insecure, struct kube_access *ret_access,
                                      struct errinfo *info);
MUST_CHECK enum err kube_access_load(const char *path, const char *context, bool allow_insecure,
                                     struct kube_access *ret_access, struct errinfo *info);

#define KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
/* Of a pod: `directory` has token, ca.crt and namespace; `host` and `port` are those of KUBERNETES_SERVICE_HOST and _PORT. */
MUST_CHECK enum err kube_access_in_cluster(const char *directory, const char *host, const char *port,
                                           struct kube_access *ret_access, struct errinfo *info);

#endif
