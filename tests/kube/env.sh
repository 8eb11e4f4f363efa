# SPDX-License-Identifier: Apache-2.0
# Read by the scripts beside it: where things are.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kubernetes_version=1.34.4
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace/kube/$kubernetes_version
bin=$cache/bin      # all programs; `made` beside it says that they are whole
images=$cache/images # what every cluster has from its start
containerd_socket=/run/containerd/containerd.sock
claim=/run/millrace-kube
began() { { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; } 2>/dev/null; } # PID: when, in ticks since the machine's start
say() { printf 'kube: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
