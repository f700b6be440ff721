#!/usr/bin/env bash
# Installs what building and testing need and the machine does not have. Does nothing on a machine
# that has it all, so every make target calls it.
#   setup.sh build|check|test|bench
set -euo pipefail

need=${1:-build}
# Tools that are built once, outside the checkout, so that a second clone has them.
tools=${CLOUDSTORE_TOOLS:-$HOME/.cache/cloudstore/tools}
nextest_version=0.9.143
deny_version=0.20.2

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE...: only what is missing.
apt_install() {
    local missing=()
    for package in "$@"; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || {
        say "please install: ${missing[*]} (this script knows only Debian's apt-get)"
        exit 1
    }
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

ensure_rust() {
    command -v cc >/dev/null || apt_install gcc libc6-dev
    command -v cargo >/dev/null && return
    say "installing Rust"
    command -v curl >/dev/null || apt_install curl ca-certificates
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default
    # shellcheck disable=SC1091
    . "$HOME/.cargo/env"
}

# cargo_tool COMMAND CRATE VERSION
cargo_tool() {
    command -v "$1" >/dev/null || [ -x "$tools/bin/$1" ] && return
    say "building $2 $3 (once)"
    cargo install --quiet --locked --root "$tools" "$2@$3"
}

ensure_rust
case $need in
    build) ;;
    check) cargo_tool cargo-deny cargo-deny "$deny_version" ;;
    # diffutils for the comparison of trees, mount for the full disk.
    test) apt_install diffutils mount; cargo_tool cargo-nextest cargo-nextest "$nextest_version" ;;
    bench) apt_install nginx-light ;;
    *) say "setup.sh: unknown need '$need'"; exit 2 ;;
esac
