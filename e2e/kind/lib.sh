# shellcheck shell=bash disable=SC2034
# Sourced by the scripts of e2e/kind: what they share beyond e2e/lib.sh.

# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here=$root/e2e/kind
kind_cache=$cache/kind
bin=$kind_cache/bin
mkdir -p "$bin" "$kind_cache/stamp"

k8s_version=$(sed -n 's|^.*k8s.io/kubernetes \(v1\.[0-9.]*\).*|\1|p' "$here/tools/kubernetes/go.mod")
: "${k8s_version:?not found in go.mod}"
built_node_image=quorate/node:$k8s_version

# The image that kind 0.33.0's release notes name for Kubernetes 1.34, the last
# line whose kubelet takes cgroup v1 without being told to.
public_node_image=kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d

pod_subnet=10.244.0.0/16 # kind's default
