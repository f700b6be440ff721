#!/usr/bin/env bash
# Every test. First those that need the whole stack: through the gateway, the main job, faults. Then
# all the others, of which some need one real server: their summary ends the run. A part that fails
# does not keep the others from running; at the end all that was started is stopped, whatever the
# outcome, except servers that ran before.
#   MAIN_JOB_TREE    what the main job uploads (the libraries of the Rust toolchain)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
# shellcheck source-path=SCRIPTDIR source=servers.env
. "$here/servers.env"

# The same for every call: another choice of packages or features would build the dependencies once
# more. The tests of a package bring its programs along.
build=(--workspace --locked --features cloudstore-transfer/failpoints)

failed=()
say() { printf '\033[1m== %s (%s s)\033[0m\n' "$*" $SECONDS; }

# part NAME COMMAND...: runs it and remembers whether it fails.
part() {
    say "$1"
    "${@:2}" || failed+=("$1")
}

keep=
! "$here/servers.sh" status >/dev/null || keep=services
# shellcheck disable=SC2086 # Nothing or one word.
trap '"$here/stack.sh" down $keep' EXIT

# As short as the tests of faults want them (deploy/tests/src/stack.rs), which would restart the
# workers otherwise.
graces=(CLOUDSTORE_TRANSFER_GRACE=2 CLOUDSTORE_TRANSFER_GARBAGE_GRACE=2
    CLOUDSTORE_TRANSFER_LEASE=6 CLOUDSTORE_TRANSFER_CLEAN_EVERY=1)
# The page with Uppy (standalone/tests/e2e/clients/uppy.rs).
origin=CLOUDSTORE_UPLOAD_ORIGINS=http://uppy.example

stack_tests() {
    # What runs already may be other programs.
    "$here/stack.sh" down services
    part "stack" env "${graces[@]}" "$origin" "$here/stack.sh" up
    part "end to end, through the gateway" \
        env CLOUDSTORE_E2E_URL="$GATEWAY_URL" cargo nextest run "${build[@]}" -E 'package(cloudstore-standalone) & binary(e2e)'
    part "the web app in a browser, through the gateway" \
        env CLOUDSTORE_E2E_URL="$GATEWAY_URL" CLOUDSTORE_E2E_STACK="$here/stack.sh" "$here/web.sh" e2e
    part "the main job on the stack" \
        "$here/main-job.sh" --stack "${MAIN_JOB_TREE:-$(rustc --print sysroot)/lib/rustlib}"
    part "the stack under faults" cargo nextest run "${build[@]}" --profile stack
    "$here/stack.sh" down services
}

say "servers"
"$here/servers.sh" up
say "programs"
cargo nextest run "${build[@]}" --no-run
export CLOUDSTORE_BIN=$PWD/target/debug
stack_tests
part "the web app in a browser" env CLOUDSTORE_E2E_PROGRAM="$CLOUDSTORE_BIN/cloudstore" "$here/web.sh" e2e
part "the API against its description" "$here/schemathesis.sh"
part "tests of the workspace" cargo nextest run "${build[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
