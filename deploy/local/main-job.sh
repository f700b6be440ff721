#!/usr/bin/env bash
# The main job on real input: register, upload the whole Rust toolchain, kill the server in the
# middle, restart it, finish by running the same command again, see a second upload that sends
# nothing, download everything and compare.
#   main-job.sh [TREE]            on the embedded default; on a terminal it keeps running afterwards
#   main-job.sh --stack [TREE]    on the running stack (stack.sh up); both upload-svc are killed, one
#                                 after the other
# CLOUDSTORE_BIN has the programs (target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

on_stack=
[ "${1:-}" = --stack ] && on_stack=yes && shift
bin=$(cd "${CLOUDSTORE_BIN:-target/release}" && pwd)/cloudstore
run=$PWD/.run
source_tree=${1:-$(rustc --print sysroot)}
address=127.0.0.1:0
[ -t 1 ] && address=127.0.0.1:${PORT:-8080}

server=
log=$run/server.log
say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'main job FAILED: %s\n' "$*" >&2; [ -f "$log" ] && tail -20 "$log" >&2; exit 1; }
cleanup() {
    [ -n "$server" ] && kill "$server" 2>/dev/null
    [ -z "$on_stack" ] || "$here/stack.sh" start upload-1 upload-2
    wait 2>/dev/null || true
}
trap cleanup EXIT

# Everything of this run, the client's configuration included, stays below .run.
rm -rf "$run" && mkdir -p "$run"
export XDG_CONFIG_HOME=$run/config XDG_STATE_HOME=$run/state

# The server is killed once the account holds these bytes: in the middle of the upload. Of the two
# of the stack each gets its turn.
size=$(du -sb "$source_tree" | cut -f1)
kill_at=($((size / 3)))
[ -z "$on_stack" ] || kill_at=($((size / 4)) $((size / 2)))

start_server() {
    : >"$run/ready"
    "$bin" serve --data "$run/data" --listen "$address" >"$run/ready" 2>>"$log" &
    server=$!
    until grep -q '^listening on ' "$run/ready"; do
        kill -0 "$server" 2>/dev/null || fail "the server did not start"
        sleep 0.05
    done
    CLOUDSTORE_SERVER=$(sed -n 's/^listening on //p' "$run/ready")
    export CLOUDSTORE_SERVER
    # A restart comes back at the same address.
    address=${CLOUDSTORE_SERVER#http://}
}

# kill_and_restart NUMBER: kill -9 of the server, or of that upload-svc, which is soon back.
kill_and_restart() {
    if [ -n "$on_stack" ]; then
        "$here/stack.sh" kill "upload-$1"
        say "killed upload-$1 (kill -9) after $((SECONDS - started)) s"
        "$here/stack.sh" start "upload-$1" || fail "upload-$1 does not come back"
    else
        kill -9 "$server"
        say "killed the server (kill -9) after $((SECONDS - started)) s"
        wait "$server" 2>/dev/null || true
        start_server
    fi
    say "restarted; the upload goes on"
}

# field NAME: a number from the JSON lines on standard input, the last one that has it.
field() { grep -o "\"$1\":[0-9.]*" | tail -1 | cut -d: -f2; }

user=demo
if [ -n "$on_stack" ]; then
    # The stack may hold this content, and an account of this name, from another run.
    # shellcheck source-path=SCRIPTDIR source=servers.env
    . "$here/servers.env"
    export CLOUDSTORE_SERVER=$GATEWAY_URL
    user=demo-$(date +%s)-$$
    cp -r "$source_tree" "$run/source"
    source_tree=$run/source
    find "$source_tree" -type f -exec sh -c 'user=$1; shift; for file; do chmod u+w "$file"; printf %s "$user" >>"$file"; done' - "$user" {} +
else
    start_server
fi
say "serving at $CLOUDSTORE_SERVER"
password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')
printf '%s' "$password" | "$bin" register "$user" --password-stdin >/dev/null
printf '%s' "$password" | "$bin" login "$user" --password-stdin >/dev/null

say "uploading $source_tree ($(du -sh "$source_tree" | cut -f1), $(find "$source_tree" -type f | wc -l) files)"
started=$SECONDS
"$bin" upload "$source_tree/" --to /toolchain --json >"$run/upload-1.json" 2>"$run/upload-1.log" &
client=$!
turn=0
for bytes in "${kill_at[@]}"; do
    while [ "$("$bin" whoami --json | field used_bytes)" -lt "$bytes" ]; do
        kill -0 "$client" 2>/dev/null || fail "the upload ended before the server could be killed in the middle of it"
        sleep 0.1
    done
    kill_and_restart $((turn += 1))
done
wait "$client" || true
# The same command again finishes what is left.
"$bin" upload "$source_tree/" --to /toolchain --json >"$run/upload-2.json" || fail "the upload did not finish"
say "uploaded in $((SECONDS - started)) s, the kill included"

started=$SECONDS
"$bin" upload "$source_tree/" --to /again --json >"$run/upload-3.json" || fail "the second upload failed"
sent=$(field bytes_sent <"$run/upload-3.json")
instant=$(field instant <"$run/upload-3.json")
files=$(field files <"$run/upload-3.json")
[ "$sent" = 0 ] || fail "the second upload sent $sent bytes"
[ "$instant" = "$files" ] || fail "only $instant of $files files were instant"
say "second upload: $instant files instant, $sent content bytes sent, $((SECONDS - started)) s"

started=$SECONDS
"$bin" download /again/ "$run/downloaded" --json >"$run/download.json" || fail "the download failed"
diff -r "$source_tree" "$run/downloaded" || fail "the downloaded tree differs"
say "downloaded and compared (diff -r) in $((SECONDS - started)) s: identical"
rm -rf "$run/downloaded"

say "main job done"
if [ -t 1 ] && [ -z "$on_stack" ]; then
    printf 'still serving at %s\nlogin:    demo\npassword: %s\nclient:   XDG_CONFIG_HOME=%s %s --server %s ls\nCtrl-C stops it.\n' \
        "$CLOUDSTORE_SERVER" "$password" "$XDG_CONFIG_HOME" "$bin" "$CLOUDSTORE_SERVER"
    wait "$server"
fi
