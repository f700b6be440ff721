#!/usr/bin/env bash
# Tries the API out against its own description: Schemathesis makes requests of /api/v1/openapi.json,
# good ones and broken ones, and looks at the answers: no 5xx, no status, media type, header or body that
# the description does not have.
#   schemathesis.sh [OPTION...]   more options for every `schemathesis run`, `--seed 1` for one
# CLOUDSTORE_BIN has the program (target/debug); SCHEMATHESIS_SECONDS is about how long all of it takes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

tools=${CLOUDSTORE_TOOLS:-$HOME/.cache/cloudstore/tools}
bin=$(cd "${CLOUDSTORE_BIN:-target/debug}" && pwd)/cloudstore
seconds=${SCHEMATHESIS_SECONDS:-150}
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance
run=$(mktemp -d)
server=

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() {
    printf 'schemathesis.sh: %s\n' "$*" >&2
    tail -n 20 "$run/server.log" >&2 || true
    exit 1
}
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$run"
}
trap cleanup EXIT

"$bin" serve --data "$run/data" --listen 127.0.0.1:0 >"$run/ready" 2>"$run/server.log" &
server=$!
until grep -q '^listening on ' "$run/ready"; do
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    sleep 0.05
done
url=$(sed -n 's/^listening on //p' "$run/ready")

# call METHOD PATH BODY [HEADER]: the answer.
call() {
    curl -fsS -X "$1" "$url$2" -H 'Content-Type: application/json' ${4:+-H "$4"} -d "$3"
}
# member NAME: of the JSON on standard input.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')

# log_in NAME: makes an account, and says the header with its access token, good for ten minutes.
log_in() {
    local credentials="{\"username\":\"$1\",\"password\":\"$password\"}"
    call POST /api/v1/accounts "$credentials" >/dev/null || fail "the account $1 was not made"
    printf 'Authorization: Bearer %s' "$(call POST /api/v1/sessions "$credentials" | member access_token)"
}

# explore NAME SECONDS AUTHORIZATION OPTION...: those operations with these credentials.
explore() {
    say "$1, about $2 s"
    # In a directory of its own: it leaves what it learnt where it runs.
    (cd "$run" && PYTHONPATH=$here SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONDONTWRITEBYTECODE=1 \
        "$tools/schemathesis/bin/schemathesis" run "$url/api/v1/openapi.json" --checks "$checks" \
        --max-time "$2" --header "$3" --generation-with-security-parameters false --generation-database none \
        --suppress-health-check all --continue-on-failure "${@:4}")
}

failed=
# What needs a login. What would end it is left to the tests of accounts.
explore "the account" $((seconds / 4)) "$(log_in account)" \
    --include-tag accounts --include-tag sessions --include-tag tokens \
    --exclude-operation-id logout --exclude-operation-id logout_everywhere --exclude-operation-id revoke_session \
    --exclude-operation-id change_password \
    "$@" || failed=yes
# Everything else works with an API token. It is another account's, whose tokens nobody revokes.
token=$(call POST /api/v1/tokens '{"name":"schemathesis","scope":"full"}' "$(log_in others)" | member token)
[ -n "$token" ] || fail "there is no token"
explore "everything else" $((seconds * 3 / 4)) "Authorization: Bearer $token" \
    --exclude-tag accounts --exclude-tag sessions --exclude-tag tokens "$@" || failed=yes

# A panic is an answer 500; an error in the log may be more than was seen from outside.
if grep -q 'a handler panicked' "$run/server.log"; then fail "a handler panicked"; fi
kill -0 "$server" 2>/dev/null || fail "the server has ended"
[ -z "$failed" ] || fail "the API is not as it is described"
