# shellcheck shell=bash
# What servers.sh and stack.sh share: programs in the background, each with a log file and a pid
# file, and nothing of another's touched. To be sourced.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=servers.env
. "$here/servers.env"

stack_dir=${CLOUDSTORE_STACK_DIR:-/var/tmp/cloudstore-stack-$UID}
tools=${CLOUDSTORE_TOOLS:-$HOME/.cache/cloudstore/tools}
# A program on PATH wins over the copy that setup.sh built.
export PATH=$PATH:$tools/bin:/usr/sbin:/sbin

# As many open files as are allowed here, up to what the servers can use.
files=$(ulimit -Hn)
if [ "$files" = unlimited ] || [ "$files" -gt 65536 ]; then files=65536; fi
ulimit -Sn "$files"

say() { printf '%s\n' "$*" >&2; }
fail() { say "${0##*/}: $*"; exit 1; }

# 0711: the servers that drop to their own user pass through it. Below /var/tmp anybody may have
# made the directory first, so it has to be ours.
make_stack_dir() {
    mkdir -p "$stack_dir"
    [ -O "$stack_dir" ] || fail "$stack_dir belongs to somebody else"
    chmod 711 "$stack_dir"
    mkdir -p "$stack_dir"/{log,pid}
}

# One change of the programs at a time, whoever asks for it.
lock() {
    make_stack_dir
    exec 9>"$stack_dir/$1.lock"
    flock -w 120 9 || fail "another ${0##*/} has held $stack_dir/$1.lock for two minutes"
}

# port URL: its port.
port() { [[ $1 =~ :([0-9]+)(/|$) ]] && printf '%s' "${BASH_REMATCH[1]}"; }

# start_time PID: when it started (ticks since boot), nothing if it does not run.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # After the name in parentheses, which may hold spaces: the state, and 19 fields on the start.
    read -ra stat <<<"${stat##*) }"
    [ "${stat[0]}" = Z ] || printf '%s' "${stat[19]}"
}

# pid_of NAME: the pid, if the program that `launch` started still runs. A pid that now belongs
# to another program has another start time.
pid_of() {
    local pid started
    { read -r pid started <"$stack_dir/pid/$1"; } 2>/dev/null || return 1
    [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && printf '%s' "$pid"
}

alive() { pid_of "$1" >/dev/null; }

# launch NAME COMMAND...: in the background, out of reach of the terminal's signals. The command
# must stay the process that it starts as.
launch() {
    local name=$1 pid
    shift
    setsid "$@" </dev/null >>"$stack_dir/log/$name.log" 2>&1 9>&- &
    pid=$!
    printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$stack_dir/pid/$name.new"
    mv "$stack_dir/pid/$name.new" "$stack_dir/pid/$name"
}

# signal NAME SIGNAL [SECONDS]: sends it and waits until the program is gone; one that takes
# longer than that is killed. A killed program takes its children along (`launch` made it the
# leader of a group): nginx's workers would go on without it.
signal() {
    local name=$1 signal=$2 seconds=${3:-20} pid deadline
    pid=$(pid_of "$name") || return 0
    if [ "$signal" = KILL ]; then kill -KILL -- "-$pid"; else kill "-$signal" "$pid"; fi 2>/dev/null || true
    deadline=$((SECONDS + seconds))
    while alive "$name"; do
        if [ $SECONDS -ge $deadline ]; then
            say "$name did not stop within $seconds s: killing it"
            kill -KILL -- "-$pid" 2>/dev/null || true
            deadline=$((SECONDS + 10))
        fi
        sleep 0.05
    done
    rm -f "$stack_dir/pid/$name"
}

# await NAME SECONDS CHECK...: until the check succeeds. A program that ended meanwhile, or is
# not ready in time, is a failure that shows the end of its log.
await() {
    local name=$1 deadline=$((SECONDS + $2)) why
    shift 2
    until "$@" >/dev/null 2>&1 && alive "$name"; do
        if ! alive "$name"; then why="ended"; elif [ $SECONDS -ge $deadline ]; then why="is not ready"; else
            sleep 0.1
            continue
        fi
        say "$name $why; the end of $stack_dir/log/$name.log:"
        tail -n 15 "$stack_dir/log/$name.log" >&2 || true
        return 1
    done
}

# in_parallel FUNCTION NAME...: one call for each name, all at once; fails if one of them does.
in_parallel() {
    local function=$1 jobs=() failed=0
    shift
    for name in "$@"; do
        "$function" "$name" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || failed=1; done
    return $failed
}
