#!/usr/bin/env bash
# The main job on real input: serve, register, upload the whole Rust toolchain, be killed in the
# middle, restart, finish by running the same command again, see a second upload that sends
# nothing, download everything and compare. On a terminal the server keeps running afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$PWD/target/release/cloudstore
run=$PWD/.run
source_tree=${1:-$(rustc --print sysroot)}
# Kill the server once the account holds this many bytes: in the middle of the upload.
kill_at=$((300 << 20))
address=127.0.0.1:0
[ -t 1 ] && address=127.0.0.1:${PORT:-8080}

server=
log=$run/server.log
say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'main job FAILED: %s\n' "$*" >&2; [ -f "$log" ] && tail -20 "$log" >&2; exit 1; }
cleanup() { [ -n "$server" ] && kill "$server" 2>/dev/null; wait 2>/dev/null || true; }
trap cleanup EXIT

# Everything of this run, the client's configuration included, stays below .run.
rm -rf "$run" && mkdir -p "$run"
export XDG_CONFIG_HOME=$run/config XDG_STATE_HOME=$run/state

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

# field NAME: a number from the JSON lines on standard input, the last one that has it.
field() { grep -o "\"$1\":[0-9.]*" | tail -1 | cut -d: -f2; }

start_server
say "serving at $CLOUDSTORE_SERVER"
password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')
printf '%s' "$password" | "$bin" register demo --password-stdin >/dev/null
printf '%s' "$password" | "$bin" login demo --password-stdin >/dev/null

say "uploading $source_tree ($(du -sh "$source_tree" | cut -f1), $(find "$source_tree" -type f | wc -l) files)"
started=$SECONDS
"$bin" upload "$source_tree/" --to /toolchain --json >"$run/upload-1.json" 2>"$run/upload-1.log" &
client=$!
while [ "$("$bin" whoami --json | field used_bytes)" -lt "$kill_at" ]; do
    kill -0 "$client" 2>/dev/null || fail "the upload ended before the server could be killed in the middle of it"
    sleep 0.1
done
kill -9 "$server"
say "killed the server (kill -9) after $((SECONDS - started)) s"
wait "$server" 2>/dev/null || true
start_server
say "restarted; the upload goes on"
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
if [ -t 1 ]; then
    printf 'still serving at %s\nlogin:    demo\npassword: %s\nclient:   XDG_CONFIG_HOME=%s %s --server %s ls\nCtrl-C stops it.\n' \
        "$CLOUDSTORE_SERVER" "$password" "$XDG_CONFIG_HOME" "$bin" "$CLOUDSTORE_SERVER"
    wait "$server"
fi
