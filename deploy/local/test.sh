#!/usr/bin/env bash
# Every test, in the order in which failures are found soonest: those that need nothing or one real
# server, then those that need the whole stack. Servers that did not run before are stopped at the
# end, whatever the outcome.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

say() { printf '\033[1m== %s (%s s)\033[0m\n' "$*" $SECONDS; }
keep=
"$here/servers.sh" status >/dev/null && keep=services
# shellcheck disable=SC2086 # Nothing or one word.
trap '"$here/stack.sh" down $keep' EXIT

say "servers"
"$here/servers.sh" up

say "tests of the workspace"
cargo nextest run --workspace --locked

say "stack"
cargo build --workspace --bins --locked
export CLOUDSTORE_BIN=$PWD/target/debug
# shellcheck source-path=SCRIPTDIR source=servers.env
. "$here/servers.env"
"$here/stack.sh" up

say "end to end, through the gateway"
CLOUDSTORE_E2E_URL=$GATEWAY_URL cargo nextest run --locked -p cloudstore-standalone --test e2e

say "the main job on the stack"
"$here/main-job.sh" --stack "${MAIN_JOB_TREE:-$(rustc --print sysroot)/lib}"

say "done"
