#!/usr/bin/env bash
# The real servers that the services need, on private ports of loopback (servers.env), with their
# data, logs and pid files below ${CLOUDSTORE_STACK_DIR:-/var/tmp/cloudstore-stack-$UID}.
#   servers.sh up|down|status|clean     all of them; `clean` also removes their data
#   servers.sh start|stop|kill|wait NAME...
# NAME: mysql-primary mysql-replica redis rabbitmq consul garage. `stop` lets a server finish,
# `kill` is kill -9, `wait` waits until it answers. Redis and Consul always start empty.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

servers=(mysql-primary mysql-replica redis rabbitmq consul garage)
# Seconds until a server answers, the first start with its initialisation included, on a busy machine.
start_within=90
# Ports that only the servers themselves use; the others are in servers.env.
rabbitmq_dist_port=25674
epmd_port=24369
consul_server_port=28300 consul_lan_port=28301 consul_wan_port=28302 consul_grpc_port=28502
garage_rpc_port=23901

# --- MariaDB -----------------------------------------------------------------------------------

# mysql_init NAME: an empty data directory. And one for temporary tables, because a server that
# starts clears its own, the tables of another server included.
mysql_init() {
    local data=$stack_dir/$1/data owner=()
    [ -e "$stack_dir/$1/installed" ] && return
    rm -rf "${stack_dir:?}/$1"
    mkdir -p "$data" "$stack_dir/$1/tmp"
    # As root it drops to Debian's user.
    [ "$UID" = 0 ] && owner=(--user=mysql) && chown -R mysql: "$stack_dir/$1"
    mariadb-install-db --no-defaults "${owner[@]}" --datadir="$data" --tmpdir="$stack_dir/$1/tmp" --skip-test-db \
        --auth-root-authentication-method=normal --innodb-log-file-size=48M >"$stack_dir/log/$1-init.log" 2>&1 ||
        fail "$1: cannot initialise, see $stack_dir/log/$1-init.log"
    touch "$stack_dir/$1/installed"
}

# mysql_launch NAME URL SERVER_ID OPTION...
mysql_launch() {
    local name=$1 dir=$stack_dir/$1 port owner=()
    port=$(port "$2")
    mysql_init "$name"
    [ "$UID" = 0 ] && owner=(--user=mysql)
    launch "$name" mariadbd --no-defaults "${owner[@]}" --datadir="$dir/data" --tmpdir="$dir/tmp" \
        --socket="$dir/socket" --pid-file="$dir/own-pid" \
        --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --server-id="$3" \
        --log-bin=binlog --binlog-format=ROW --gtid-strict-mode=1 --log-slave-updates=1 --expire-logs-days=1 \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_bin --max-connections=500 \
        --innodb-buffer-pool-size=128M --innodb-log-file-size=48M --performance-schema=0 "${@:4}"
}

# mysql_query URL SQL: as root; its rows, without headings.
mysql_query() { mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$(port "$1")" -u root --connect-timeout=2 -N -B -e "$2"; }

start_mysql-primary() {
    mysql_launch mysql-primary "$MYSQL_PRIMARY_URL" 1 --innodb-flush-log-at-trx-commit=1 --sync-binlog=1
}

ready_mysql-primary() {
    mysql_query "$MYSQL_PRIMARY_ADMIN_URL" 'SELECT 1' >/dev/null || return 1
    [ -e "$stack_dir/mysql-primary/set-up" ] && return
    # They reach the replica by replication. The second grant is a pattern, so that a test can
    # have a database of its own.
    mysql_query "$MYSQL_PRIMARY_ADMIN_URL" "
        CREATE USER IF NOT EXISTS replication@127.0.0.1 IDENTIFIED BY 'replication';
        GRANT REPLICATION SLAVE ON *.* TO replication@127.0.0.1;
        CREATE USER IF NOT EXISTS cloudstore@127.0.0.1 IDENTIFIED BY 'cloudstore';
        GRANT ALL ON \`cloudstore%\`.* TO cloudstore@127.0.0.1;
        GRANT SLAVE MONITOR ON *.* TO cloudstore@127.0.0.1;
        CREATE DATABASE IF NOT EXISTS cloudstore;" && touch "$stack_dir/mysql-primary/set-up"
}

start_mysql-replica() {
    # The primary holds what was acknowledged, so the replica need not wait for its disk.
    mysql_launch mysql-replica "$MYSQL_REPLICA_URL" 2 --innodb-flush-log-at-trx-commit=2 --read-only=1 \
        --master-retry-count=0 --slave-net-timeout=5
}

# Ready: it replicates, and has what the primary had at this moment.
ready_mysql-replica() {
    local position
    mysql_query "$MYSQL_REPLICA_ADMIN_URL" 'SELECT 1' >/dev/null || return 1
    if ! [ -e "$stack_dir/mysql-replica/set-up" ]; then
        mysql_query "$MYSQL_REPLICA_ADMIN_URL" "
            STOP SLAVE;
            CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=$(port "$MYSQL_PRIMARY_URL"),
                MASTER_USER='replication', MASTER_PASSWORD='replication', MASTER_USE_GTID=slave_pos,
                MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1;
            START SLAVE" || return 1
        touch "$stack_dir/mysql-replica/set-up"
    fi
    position=$(mysql_query "$MYSQL_PRIMARY_ADMIN_URL" 'SELECT @@gtid_binlog_pos' 2>/dev/null) || {
        # Without its primary it is as ready as it can be.
        if alive mysql-primary; then return 1; else return 0; fi
    }
    [ "$(mysql_query "$MYSQL_REPLICA_ADMIN_URL" "SELECT MASTER_GTID_WAIT('$position', 1)")" = 0 ]
}

# --- Redis -------------------------------------------------------------------------------------

start_redis() {
    launch redis redis-server --port "$(port "$REDIS_URL")" --bind 127.0.0.1 --dir "$stack_dir" \
        --save "" --appendonly no --maxmemory 128mb --maxmemory-policy allkeys-lru --maxclients 2000
}

ready_redis() { [ "$(redis-cli -p "$(port "$REDIS_URL")" PING)" = PONG ]; }

# --- RabbitMQ ----------------------------------------------------------------------------------

start_rabbitmq() {
    local dir=$stack_dir/rabbitmq as=() user password name=cloudstore@localhost
    [[ $RABBITMQ_URL =~ ^amqp://([^:]+):([^@]+)@ ]]
    user=${BASH_REMATCH[1]} password=${BASH_REMATCH[2]}
    mkdir -p "$dir"/{mnesia,log}
    echo '[].' >"$dir/enabled_plugins"
    cat >"$dir/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$(port "$RABBITMQ_URL")
default_user = $user
default_pass = $password
default_vhost = /
default_user_tags.administrator = true
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = warning
log.file = false
CONF
    # As root it drops to Debian's user, which needs all of this as its own.
    [ "$UID" = 0 ] && as=(setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups) && chown -R rabbitmq: "$dir"
    # Its own name server for Erlang nodes, so that another one on this machine is left alone.
    alive epmd || launch epmd env ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port epmd
    # ALLOW_INPUT makes the script become the server instead of waiting for it; the flags keep an
    # idle server from spinning.
    launch rabbitmq env --chdir="$dir" -u TERM HOME="$dir" HOSTNAME=localhost \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port RABBITMQ_NODENAME=$name RABBITMQ_DIST_PORT=$rabbitmq_dist_port \
        RABBITMQ_CONF_ENV_FILE="$dir/none" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$dir/none" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" \
        RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_START_ARGS=-noinput \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}" \
        "${as[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server
}

# Ready: it lets the user in. The client's half of the handshake is the AMQP header and Start-Ok
# (10.11) with a PLAIN answer; the server's is Start and then Tune (10.30), or it hangs up.
ready_rabbitmq() {
    local user password length start_ok
    [[ $RABBITMQ_URL =~ ^amqp://([^:]+):([^@]+)@ ]]
    user=${BASH_REMATCH[1]} password=${BASH_REMATCH[2]}
    length=$((2 + ${#user} + ${#password}))
    # A frame of type 1 on channel 0: its length, class, method, no properties, the strings, the end.
    printf -v start_ok '\\x01\\0\\0\\0\\0\\0\\x%02x\\0\\x0a\\0\\x0b\\0\\0\\0\\0\\x05PLAIN\\0\\0\\0\\x%02x\\0%s\\0%s\\x05en_US\\xce' \
        $((24 + length)) $length "$user" "$password"
    # shellcheck disable=SC2016 # Its variables are the inner shell's.
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf "AMQP\0\0\x09\x01$2" >&3
        start=$(head -c 7 <&3 | od -An -v -tx1 | tr -d " ")
        head -c $((16#${start:6:8} + 1)) <&3 >/dev/null
        head -c 11 <&3 | od -An -v -tx1 | tr -d " \n" | grep -q "000a001e$"
    ' - "$(port "$RABBITMQ_URL")" "$start_ok"
}

# --- Consul ------------------------------------------------------------------------------------

start_consul() {
    # Every process of this machine is one client address, with several long polls each. 900 fits
    # the usual limit of 1,024 open files, which Consul checks.
    launch consul consul agent -dev -node=local -bind=127.0.0.1 -client=127.0.0.1 -log-level=warn \
        -http-port="$(port "$CONSUL_URL")" -dns-port="${CONSUL_DNS#*:}" -grpc-port=$consul_grpc_port \
        -server-port=$consul_server_port -serf-lan-port=$consul_lan_port -serf-wan-port=$consul_wan_port \
        -hcl 'disable_update_check = true limits { http_max_conns_per_client = 900 }'
}

# Ready: it has a leader, without which it answers but registers nothing.
ready_consul() { curl -fsS -m 2 "$CONSUL_URL/v1/catalog/node/local?consistent" | grep '"Node"'; }

# --- Garage (S3) -------------------------------------------------------------------------------

start_garage() {
    local dir=$stack_dir/garage
    mkdir -p "$dir"/{meta,data}
    chmod 700 "$dir"
    [ -s "$dir/secret" ] || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$dir/secret"
    chmod 600 "$dir/secret" # Garage insists.
    cat >"$dir/garage.toml" <<CONF
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$garage_rpc_port"
rpc_public_addr = "127.0.0.1:$garage_rpc_port"
rpc_secret_file = "$dir/secret"
[s3_api]
s3_region = "$S3_REGION"
api_bind_addr = "127.0.0.1:$(port "$S3_ENDPOINT")"
CONF
    # It sets up its layout, the key, the bucket and the key's right to it by itself.
    launch garage env RUST_LOG=garage=warn GARAGE_DEFAULT_ACCESS_KEY="$S3_ACCESS_KEY" GARAGE_DEFAULT_SECRET_KEY="$S3_SECRET_KEY" \
        GARAGE_DEFAULT_BUCKET="$S3_BUCKET" garage -c "$dir/garage.toml" server --single-node --default-bucket
}

# Ready: it lists the bucket. The sum is that of no body.
ready_garage() {
    curl -fsS -H "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" \
        -m 2 --aws-sigv4 "aws:amz:$S3_REGION:s3" --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" "$S3_ENDPOINT/$S3_BUCKET"
}

# --- Commands ----------------------------------------------------------------------------------

start() {
    # A pid file without its program: it was killed, or the machine restarted.
    alive "$1" || "start_$1"
    wait_ready "$1"
}

wait_ready() { await "$1" $start_within "ready_$1"; }

stop() {
    signal "$1" TERM 30
    [ "$1" != rabbitmq ] || signal epmd TERM
}

kill_hard() { signal "$1" KILL; }

status() {
    local failed=0 pid state
    for name in "${servers[@]}"; do
        pid=- state=down
        if pid=$(pid_of "$name"); then
            state="not ready"
            ! "ready_$name" >/dev/null 2>&1 || state=ready
        fi
        printf '%-14s %-9s %s\n' "$name" "$state" "${pid:--}"
        [ "$state" = ready ] || failed=1
    done
    return $failed
}

known() {
    [ $# -gt 0 ] || fail "which of ${servers[*]}?"
    for name in "$@"; do
        [[ " ${servers[*]} " = *" $name "* ]] || fail "no server '$name': ${servers[*]}"
    done
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    up) lock servers; in_parallel start "${servers[@]}" ;;
    down) lock servers; in_parallel stop "${servers[@]}" ;;
    clean) lock servers; in_parallel stop "${servers[@]}"; for name in "${servers[@]}"; do rm -rf "${stack_dir:?}/$name"; done ;;
    status) make_stack_dir; status ;;
    start) known "$@"; lock servers; in_parallel start "$@" ;;
    stop) known "$@"; lock servers; in_parallel stop "$@" ;;
    # Never behind somebody's `stop`: that it comes in between is what a test may want.
    kill) known "$@"; make_stack_dir; in_parallel kill_hard "$@" ;;
    wait) known "$@"; make_stack_dir; in_parallel wait_ready "$@" ;;
    *) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 2 ;;
esac
