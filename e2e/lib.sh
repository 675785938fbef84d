# shellcheck shell=bash disable=SC2034
# Sourced by the scripts of e2e/: names, places and helpers they share.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${QUORATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quorate}
mkdir -p "$cache"
# Each run of a continuous integration has a new checkout; what it compiles is
# of use to the next.
[ -z "${CI:-}" ] || export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

# The test bed has a cluster and a kubeconfig of its own: no script here reads
# or writes the user's.
cluster=quorate
context=kind-$cluster
export KUBECONFIG=$cache/kubeconfig
export PATH="$cache/kind/bin:$PATH"

target=${CARGO_TARGET_DIR:-$root/target}

# What we ship has the names and the version under which it is installed, so that the lines of the README install it.
chart=$root/charts/zookeeper-operator
registry=$(sed -n 's/^imageRegistry: *//p' "$chart/values.yaml")
version=$(sed -n 's/^appVersion: *//p' "$chart/Chart.yaml")
server_image=$registry/quorate:$version
operator_image=$registry/quorate-operator:$version
tag=dev # of the images that only the tests use
client_image=quorate/e2e-client:$tag
prometheus_image=quorate/e2e-prometheus:$tag
base_image=quorate/base:$tag
python_image=quorate/e2e-python:$tag

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# usage: the comment at the top of the script that runs.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# help_asked ARGUMENT...: prints what the script does and ends, if -h or --help
# comes first.
help_asked() {
	case ${1-} in
	-h | --help)
		usage
		exit
		;;
	esac
}

# no_arguments ARGUMENT...: what a script begins with that takes none: --help
# prints what it does, and anything else is refused before anything is done.
no_arguments() {
	help_asked "$@"
	[ $# -eq 0 ] || {
		usage >&2
		die "unknown argument: $1"
	}
}

# show_log FILE [LINES]: the tail of a log, indented, under a heading.
show_log() {
	[ -s "$1" ] || return 0
	printf -- '--- last lines of %s\n' "$1" >&2
	tail -n "${2:-30}" "$1" | sed 's/^/    /' >&2
}

# logged NAME COMMAND...: runs a noisy command with its output in a log of the
# cache, and shows the log when the command fails.
logged() {
	local log=$cache/log/$1.log
	shift
	mkdir -p "$cache/log"
	"$@" >"$log" 2>&1 && return
	show_log "$log"
	return 1
}

# need COMMAND HINT: what no package of Debian 12 brings in the right version.
need() {
	command -v "$1" >/dev/null || die "$1 is not installed: $2"
}

# apt_need COMMAND=PACKAGE...: installs the packages whose command is missing.
apt_need() {
	local pair missing=()
	for pair; do
		command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	apt_install "${missing[@]}"
}

apt_install() {
	[ "$(id -u)" = 0 ] || die "missing packages, and only root can install them: apt-get install $*"
	say "installing $*"
	apt_lists
	logged apt env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" ||
		die "apt-get install $* failed"
}

# apt_lists: fresh enough for a download, without asking the mirror each time.
apt_lists() {
	[ -z "$(find "$cache/apt-updated" -mmin -120 2>/dev/null)" ] || return 0
	logged apt-update apt-get update -qq || die 'apt-get update failed'
	touch "$cache/apt-updated"
}

# release_build: every program at once, for one choice of features in what they
# share: asked for apart, cargo would compile that again for each choice.
release_build() {
	(cd "$root" && cargo build --release --locked --workspace --bins)
}

k() { kubectl --context "$context" "$@"; }

# from_readme BEGINNING: runs the one line of the README that begins so, exactly as it is printed.
from_readme() {
	local lines
	mapfile -t lines < <(sed -n '/^```sh$/,/^```$/s/^# or: //; /^```sh$/,/^```$/p' "$root/README.md" | grep "^$1")
	[ ${#lines[@]} = 1 ] || die "README.md has ${#lines[@]} lines that begin with: $1"
	(cd "$root" && bash -c "${lines[0]}")
}

# sum FILE...: one checksum over the contents of files and trees and the names
# within these, wherever they lie.
sum() {
	local file
	for file; do
		(cd "$(dirname "$file")" && find "$(basename "$file")" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
	done | sha256sum | cut -c1-16
}

suite=bookworm # of the images: its systemd (252) still runs on cgroup v1

# debian VARIANT PACKAGES DIRECTORY: a root filesystem, from apt's own mirrors.
debian() {
	apt_need mmdebstrap=mmdebstrap
	apt_lists
	# shellcheck disable=SC2016 # $(...) here is apt's own syntax
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
		grep " $suite" |
		logged mmdebstrap mmdebstrap --quiet --mode=root --dpkgopt=force-unsafe-io --variant="$1" --include="$2" --format=directory \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
			--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/lib/*/gconv/*' \
			"$suite" "$3" -
}

# package NAME DIRECTORY: the files of one Debian package, nothing else.
package() {
	local work
	work=$(mktemp -d)
	apt_lists
	(cd "$work" && logged apt-download apt-get download -qq "$1") || die "apt-get download $1 failed"
	dpkg-deb -x "$work"/*.deb "$2"
	rm -rf "$work"
}
