#!/usr/bin/env bash
# The whole cloudstore on this machine: the servers of servers.sh, two instances of each service,
# as processes on 127.0.0.11 and 127.0.0.12, and the gateway at GATEWAY_URL (servers.env).
#   stack.sh up             start what does not run, wait until all is ready, print the URL
#   stack.sh down [services]    stop it (only the services and the gateway)
#   stack.sh clean          stop it and remove its data
#   stack.sh status
#   stack.sh start|stop|kill|restart|wait|logs NAME...
# NAME: gateway, dbproxy-1, dbproxy-2, account-1, upload-1, download-1, worker-1, ..., or a name that
# servers.sh knows. `stop` is SIGTERM and waits for the drain, `kill` is kill -9.
# Environment: CLOUDSTORE_BIN has the programs (target/release); CLOUDSTORE_STACK_DIR the data;
# CLOUDSTORE_TLS_CERTIFICATE and CLOUDSTORE_TLS_KEY (files) make the gateway speak TLS, too.
# Variables for one instance alone go into <data>/NAME.env, as KEY=VALUE lines.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Later commands use the programs of `up`.
bin=${CLOUDSTORE_BIN:-$here/../../target/release}
[ "${1:-}" = up ] || [ -n "${CLOUDSTORE_BIN:-}" ] || ! [ -s "$stack_dir/bin" ] || bin=$(cat "$stack_dir/bin")
nginx_files=$(cd "$here/../nginx" && pwd)
services=(account-1 account-2 upload-1 upload-2 download-1 download-2 worker-1 worker-2)
databases=(dbproxy-1 dbproxy-2)
declare -A program=([dbproxy]=dbproxy [account]=account-svc [upload]=upload-svc [download]=download-svc [worker]=transfer-worker)
declare -A http_port=([account]=7010 [upload]=7020 [download]=7030 [worker]=7040 [dbproxy]=7050)
grpc_port=7051
# Seconds until an instance is ready; the first dbproxy also makes the schema.
start_within=60
# Seconds an instance may take to finish its requests after SIGTERM.
drain_within=60

# --- Instances of the services -------------------------------------------------------------------

is_instance() { [[ " ${services[*]} ${databases[*]} " = *" $1 "* ]]; }
address_of() { printf '127.0.0.1%s' "${1#*-}"; }
http_of() { printf '%s:%s' "$(address_of "$1")" "${http_port[${1%-*}]}"; }

# variables NAME: the environment of an instance, one KEY=VALUE a line.
variables() {
    local dir=$stack_dir/$1
    cat <<VARIABLES
CLOUDSTORE_NODE=$1
CLOUDSTORE_HTTP_LISTEN=$(http_of "$1")
CLOUDSTORE_GRPC_LISTEN=$(address_of "$1"):$grpc_port
CLOUDSTORE_DATA_DIR=$dir
CLOUDSTORE_CONSUL_URL=$CONSUL_URL
CLOUDSTORE_S3_ENDPOINT=$S3_ENDPOINT
CLOUDSTORE_S3_REGION=$S3_REGION
CLOUDSTORE_S3_BUCKET=$S3_BUCKET
CLOUDSTORE_S3_ACCESS_KEY=$S3_ACCESS_KEY
CLOUDSTORE_S3_SECRET_KEY=$S3_SECRET_KEY
CLOUDSTORE_RABBITMQ_URL=$RABBITMQ_URL
CLOUDSTORE_MYSQL_PRIMARIES=$MYSQL_PRIMARY_URL
CLOUDSTORE_MYSQL_REPLICAS=$MYSQL_REPLICA_URL
CLOUDSTORE_MYSQL_DATABASE=cloudstore
CLOUDSTORE_REDIS_URL=$REDIS_URL
CLOUDSTORE_HTTP_TRUSTED_PROXIES=127.0.0.0/8
CLOUDSTORE_HTTP_CONNECTIONS_PER_ADDRESS=10000
CLOUDSTORE_DOWNLOAD_CACHE_BYTES=$((1 << 30))
CLOUDSTORE_DOWNLOAD_ACCEL_PREFIX=/_content/$1/
CLOUDSTORE_LOG_FORMAT=json
CLOUDSTORE_LOG_FILTER=info
VARIABLES
    [ ! -e "$dir.env" ] || cat "$dir.env"
}

start_instance() (
    alive "$1" && exit
    mkdir -p "$stack_dir/$1"
    chmod 700 "$stack_dir/$1"
    # In the environment and not on a command line, which everybody may read.
    while IFS= read -r line; do
        [ -z "$line" ] || export "${line?}"
    done < <(variables "$1")
    launch "$1" "$bin/${program[${1%-*}]}"
)

# Ready: it says so, and Consul sends others to it.
ready_instance() {
    curl -fsS -m 2 "http://$(http_of "$1")/readyz" &&
        curl -fsS -m 2 "$CONSUL_URL/v1/health/service/${program[${1%-*}]}?passing" | grep "\"$(address_of "$1")\""
}

# --- The gateway ---------------------------------------------------------------------------------

render_gateway() {
    local dir=$stack_dir/gateway user='' tls='' consul=${CONSUL_URL#http://}
    mkdir -p "$dir"
    # The workers read the caches of the download services, which only this user may.
    [ "$UID" != 0 ] || user="user root;"
    if [ -n "${CLOUDSTORE_TLS_CERTIFICATE:-}" ]; then
        tls="listen ${GATEWAY_TLS_URL#https://} ssl http2; ssl_certificate $CLOUDSTORE_TLS_CERTIFICATE; "
        tls+="ssl_certificate_key ${CLOUDSTORE_TLS_KEY:?}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m;"
    fi
    sed -e "s|@USER@|$user|; s|@TLS@|$tls|; s|@DIR@|$dir|; s|@LOG@|$stack_dir/log|; s|@STACK@|$stack_dir|; s|@NGINX@|$nginx_files|" \
        -e "s|@LISTEN@|${GATEWAY_URL#http://}|; s|@LISTEN_HTTP2@|${GATEWAY_HTTP2_URL#http://}|" \
        -e "s|@CONSUL_HOST@|${consul%:*}|; s|@CONSUL_PORT@|${consul#*:}|" \
        "$nginx_files/gateway.conf.template" >"$dir/nginx.conf"
}

start_gateway() {
    alive gateway && return
    render_gateway
    launch gateway nginx -c "$stack_dir/gateway/nginx.conf" -e "$stack_dir/log/gateway-error.log" -g 'daemon off;'
}

# Ready: each service answers through it, if only that it wants a token.
ready_gateway() {
    [ "$(for path in .well-known/jwks.json api/v1/uploads api/v1/files; do
        curl -s -m 2 -o /dev/null -w '%{http_code} ' "$GATEWAY_URL/$path"
    done)" = "200 401 401 " ]
}

# --- The operators' key ----------------------------------------------------------------------------

# Lets `cloudstore admin` in: makes the key if there is none, and publishes its public half in Consul,
# which starts empty.
publish_admin_key() {
    local published=$stack_dir/admin.published
    "$bin/cloudstore" admin keygen --help >/dev/null 2>&1 || return 0
    [ -s "$published" ] || "$bin/cloudstore" admin keygen "$stack_dir/admin.key" >"$published"
    local key value
    read -r key value <"$published"
    curl -fsS -m 5 -X PUT --data-binary "$value" "$CONSUL_URL/v1/kv/$key" >/dev/null
}

# --- Commands --------------------------------------------------------------------------------------

start() {
    if is_instance "$1"; then
        start_instance "$1"
    elif [ "$1" = gateway ]; then
        start_gateway
    else
        "$here/servers.sh" start "$1"
        [ "$1" != consul ] || publish_admin_key
        return
    fi
    wait_ready "$1"
}

wait_ready() {
    if is_instance "$1"; then
        await "$1" $start_within ready_instance "$1"
    elif [ "$1" = gateway ]; then
        await gateway $start_within ready_gateway
    else
        "$here/servers.sh" wait "$1"
    fi
}

stop() {
    if is_instance "$1"; then
        signal "$1" TERM $drain_within
    elif [ "$1" = gateway ]; then
        # It finishes its requests.
        signal gateway QUIT $drain_within
    else
        "$here/servers.sh" stop "$1"
    fi
}

kill_hard() {
    if is_instance "$1" || [ "$1" = gateway ]; then signal "$1" KILL; else "$here/servers.sh" kill "$1"; fi
}

restart() { stop "$1" && start "$1"; }

logs() { tail -n 200 "$stack_dir/log/$1.log"; }

up() {
    for one in "${program[@]}"; do
        [ -x "$bin/$one" ] || fail "$bin/$one is missing: make stack builds it"
    done
    (cd "$bin" && pwd) >"$stack_dir/bin"
    "$here/servers.sh" up
    publish_admin_key
    in_parallel start "${databases[@]}"
    in_parallel start "${services[@]}" gateway
    printf '%s\n' "$GATEWAY_URL"
}

clean() {
    down services
    "$here/servers.sh" clean
    for name in "${services[@]}" "${databases[@]}" gateway; do rm -rf "${stack_dir:?}/$name"; done
    rm -f "$stack_dir"/{*.env,admin.*,bin}
}

down() {
    signal gateway TERM
    in_parallel stop "${services[@]}"
    in_parallel stop "${databases[@]}"
    [ "${1:-}" = services ] || "$here/servers.sh" down
}

status() {
    local failed=0 pid state check
    for name in "${databases[@]}" "${services[@]}" gateway; do
        state=down check=(ready_gateway)
        ! is_instance "$name" || check=(ready_instance "$name")
        if pid=$(pid_of "$name"); then
            state="not ready"
            ! "${check[@]}" >/dev/null 2>&1 || state=ready
        fi
        printf '%-14s %-9s %s\n' "$name" "$state" "${pid:--}"
        [ "$state" = ready ] || failed=1
    done
    "$here/servers.sh" status || failed=1
    return $failed
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    start | stop | kill | restart | wait | logs) [ $# -gt 0 ] || fail "$command which one?" ;;
esac
make_stack_dir
case $command in
    up) lock stack; up ;;
    down) lock stack; down "$@" ;;
    clean) lock stack; clean ;;
    status) status ;;
    start | stop | restart | logs) in_parallel "$command" "$@" ;;
    kill) in_parallel kill_hard "$@" ;;
    wait) in_parallel wait_ready "$@" ;;
    *) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 2 ;;
esac
