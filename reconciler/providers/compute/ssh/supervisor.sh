# What owns a lease on a machine that lian reaches by SSH, and all that is asked of it: `VERB STATE [LEASE …]`.
#
# STATE holds `leases/<lease>/`, all that a lease has but its cgroup, and `contexts/`, what was sent to builds of the last
# hour. Of a lease there is always one process, `run`, in a session of its own: it starts the daemon, and ends everything
# of the lease when it is told to, when lian has not been heard of for so many seconds, or at the deadline. So nothing
# here waits for anybody to come back.
#
# OUTWARD, the variables that lead outside, is set in front of this by script.py.
# It needs a POSIX shell, coreutils, util-linux and procfs. Secrets come on stdin and go to files in memory.
set -u
umask 077
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

verb=$1
state=$2
lease=${3-}
leases=$state/leases
folder=$leases/$lease

PROGRAMS="buildkitd buildctl runc rsync setpriv unshare mount umount setsid flock base64 find grep tail"
START_SECONDS=20
CONTEXT_MINUTES=60
CONTEXT_KILOBYTES=4194304
UNKNOWN=6
TAKEN=4
LEFT=5
LACKING=3

# Whole seconds since the machine was started. It runs while the machine sleeps, and nobody can set it.
tell_time() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

# Lines of `NAME BASE64`, each a file in folder $1, until one of `.`; anything else is a sender that went away.
receive() {
    while IFS=' ' read -r name data; do
        case $name in
            .) return 0 ;;
            *..* | private/*/*) return 1 ;;
            private/*) ;;
            */* | '') return 1 ;;
        esac
        printf '%s' "$data" | base64 -d >"$1/$name" || return 1
    done
    return 1
}

# Whether the process of this lease that is noted in file $1 lives, as `pid`.
lives() {
    pid=
    [ -s "$1" ] && read -r pid <"$1" && is_ours
}

# A number can have become another's, of another lease even. The supervisor was started in the folder that was to be.
# What is looked for is told on stdin, or whoever looks would be found to be the lease's.
is_ours() {
    printf '%s\n' "$folder/" "$leases/.new-$lease-" | grep -qaF -f - "/proc/$pid/cmdline" 2>/dev/null
}

# The processes that name a file of the lease on their command line: the daemon, its client, what sends and what reads.
processes() {
    printf '%s\n' "$folder/" | grep -laF -f - /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ pid _; do
        [ "$pid" = "$$" ] || printf '%s\n' "$pid"
    done
}

cgroups() {
    while read -r _ point kind _; do
        case $kind in cgroup | cgroup2) printf '%s\n' "$point" ;; esac
    done </proc/mounts
}

cgroup_name() {
    read -r cgroup <"$folder/cgroup" 2>/dev/null || cgroup=
}

# Mount points below $1, the last mounted first.
mounts_below() {
    below=
    while read -r _ _ _ _ point _; do
        case $point in "$1"/*) below="$point
$below" ;; esac
    done </proc/self/mountinfo
    printf '%s' "$below"
}

unmount_below() {
    mounts_below "$1" | while read -r point; do
        umount -l "$point" 2>/dev/null || printf 'mount %s\n' "$point"
    done
}

# End all of the lease: processes, cgroups, mounts, files, its record last. Prints what is left.
clear_all() {
    tries=0
    while alive=$(processes) && [ -n "$alive" ] && [ $tries -lt 200 ]; do
        kill -KILL $alive 2>/dev/null
        tries=$((tries + 1))
        sleep 0.02
    done
    for pid in $alive; do printf 'process %s\n' "$pid"; done
    clear_cgroups
    left=$(unmount_below "$folder")
    if [ -n "$left" ]; then
        printf '%s\n' "$left"
        return
    fi
    keep_contexts
    left=$(
        find "$folder" -mindepth 1 -maxdepth 1 ! -name lease.json -exec rm -rf {} + 2>&1
        rm -f "$folder/lease.json" 2>&1
        rmdir "$folder" 2>&1
    )
    [ ! -d "$folder" ] || printf '%s\n' "$left"
}

clear_cgroups() {
    cgroup_name
    [ -n "$cgroup" ] || return
    for root in $(cgroups); do
        top=$root/lian/$cgroup
        tries=0
        while [ -d "$top" ] && [ $tries -lt 100 ]; do
            find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do
                kill -KILL "$pid" 2>/dev/null
            done
            find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
            [ ! -d "$top" ] || sleep 0.02
            tries=$((tries + 1))
        done
        [ ! -d "$top" ] || printf 'cgroup %s\n' "$top"
        rmdir "$root/lian" 2>/dev/null
    done
}

make_cgroup() {
    for root in $(cgroups); do
        tries=0
        # someone else may remove the empty parent at any time
        until mkdir -p "$root/lian/$cgroup"; do
            tries=$((tries + 1))
            [ $tries -lt 10 ] || return 1
        done
        for control in "$root" "$root/lian"; do # then memory is not measured; runc says what it cannot do
            [ ! -e "$control/cgroup.subtree_control" ] || echo "+cpu +memory +pids" >"$control/cgroup.subtree_control"
        done 2>/dev/null
    done
    return 0
}

# What was sent to this lease, when lian returned it: what the next one is sent is compared with it.
keep_contexts() {
    [ -e "$folder/returned" ] || return
    for sent in "$folder"/contexts/*.*/; do
        [ -d "$sent" ] || continue
        sent=${sent%/}
        kept=${sent##*/}
        kept=$state/contexts/${kept%.*}
        mkdir -p "$kept" && rm -rf "$kept/tree" && mv -T "$sent" "$kept/tree" && touch "$kept"
    done 2>/dev/null
    if [ -d "$state/contexts" ]; then
        cp "$folder/supervisor" "$state/tidy.new" && mv "$state/tidy.new" "$state/tidy"
    fi
}

# Look at what is kept, again and again, until nothing is: one process for all leases.
tidy() {
    exec 9>"$state/tidy.lock"
    flock -w 5 9 || exit 0
    while :; do
        find "$state/contexts" -mindepth 1 -maxdepth 1 -mmin +$CONTEXT_MINUTES -exec rm -rf {} + 2>/dev/null
        total=0
        for kept in $(ls -t "$state/contexts" 2>/dev/null); do
            size=$(du -sk "$state/contexts/$kept" 2>/dev/null)
            total=$((total + ${size%%[!0-9]*}))
            [ $total -le $CONTEXT_KILOBYTES ] || rm -rf "${state:?}/contexts/$kept"
        done
        rmdir "$state/contexts" 2>/dev/null
        [ -d "$state/contexts" ] || break
        sleep 60
    done
    rm -f "$state/tidy" "$state/tidy.lock"
}

# -- renting: rent STATE LEASE CGROUP SILENCE SECONDS, its files on stdin

rent() {
    missing=
    for program in $PROGRAMS; do
        command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
    done
    [ "$(id -u)" = 0 ] || missing="$missing root"
    if [ -n "$missing" ]; then
        echo "$missing"
        exit $LACKING
    fi
    new=$leases/.new-$lease-$$
    mkdir -p "$leases" || exit 1
    [ ! -e "$folder" ] || exit $TAKEN
    trap 'discard "$new"' EXIT
    mkdir "$new" "$new/private" || exit 1
    mount -t tmpfs -o size=64m,mode=700,noswap lian "$new/private" 2>/dev/null ||
        mount -t tmpfs -o size=64m,mode=700 lian "$new/private" || exit 1
    receive "$new" || exit 1
    printf '%s\n' "$4" >"$new/cgroup" || exit 1
    [ ! -e "$new/stop" ] || exit $UNKNOWN
    setsid sh "$new/supervisor" run "$state" "$lease" "$4" "$5" "$6" "$new" </dev/null >"$new/supervisor.log" 2>&1 &
    until [ -e "$folder/ready" ] || [ -e "$folder/failed" ] || [ -e "$new/taken" ]; do
        kill -0 $! 2>/dev/null || [ -e "$folder/ready" ] || break
        sleep 0.02
    done
    if [ -e "$new/taken" ]; then exit $TAKEN; fi
    if [ -e "$folder/ready" ]; then
        cat "$folder/ready"
        exit 0
    fi
    cat "$folder/failed" "$folder/supervisor.log" "$folder/buildkitd.log" 2>/dev/null | tail -n 20 >&2
    exit 1
}

discard() {
    [ -d "$1" ] || return
    unmount_below "$1"
    rm -rf "$1"
}

# -- the lease's own process: run STATE LEASE CGROUP SILENCE SECONDS NEW

run() {
    cgroup=$4
    silence=$5
    new=$7
    stopping=
    trap 'stopping=told' TERM
    trap '' HUP INT
    printf '%s\n' "$$" >"$new/pid"
    if ! mv -T "$new" "$folder" 2>/dev/null; then
        : >"$new/taken"
        exit 1
    fi
    tell_time
    deadline=$((now + $6))
    last=$now
    offset=$now
    if start_daemon; then
        await_daemon
    else
        echo "the folder or the cgroup of the lease could not be made" >"$folder/failed"
    fi
    roots=$(cgroups)
    needed= last_peak= last_files=
    while going_on; do
        look_at_memory
        printf '%s,%s,%s\n' "$needed" "$last_peak" "$last_files" >"$folder/private/memory" # there it lies in memory
        sleep 1 &
        wait $!
    done
    left=$(clear_all)
    if [ -n "$left" ]; then
        printf '%s\n' "$left" >"$folder/left"
        exit 1
    fi
    [ ! -e "$state/tidy" ] || exec sh "$state/tidy" tidy "$state"
}

start_daemon() {
    mkdir "$folder/root" "$folder/tmp" "$folder/builds" "$folder/contexts" || return 1
    make_cgroup || return 1
    set -- PATH="$PATH" HOME="$folder/tmp" TMPDIR="$folder/tmp"
    for name in $OUTWARD; do
        eval "value=\${$name-}"
        [ -z "$value" ] || set -- "$@" "$name=$value"
    done
    env -i "$@" setpriv --pdeathsig KILL sh -c '[ "$PPID" = "$0" ] && exec "$@"' "$$" \
        unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private \
        sh -c 'mkdir -p /run/runc && mount -t tmpfs none /run/runc && exec "$@"' sh \
        buildkitd --root="$folder/root" --addr="unix://$folder/socket" --otel-socket-path="$folder/trace" \
        --oci-worker-binary="$(command -v runc)" --oci-worker-net=host --config "$folder/buildkitd.toml" \
        >"$folder/buildkitd.log" 2>&1 </dev/null &
    daemon=$!
    printf '%s\n' "$daemon" >"$folder/daemon"
}

await_daemon() {
    end=$((now + START_SECONDS))
    until [ -S "$folder/socket" ] && buildctl --addr "unix://$folder/socket" debug workers >/dev/null 2>&1; do
        if ! kill -0 "$daemon" 2>/dev/null; then
            echo "buildkitd: it ended before it served" >"$folder/failed"
            return 1
        fi
        going_on || return 1
        if [ "$now" -ge "$end" ]; then
            echo "buildkitd: it did not serve within $START_SECONDS s" >"$folder/failed"
            return 1
        fi
        sleep 0.02
    done
    buildkitd --version >"$folder/version" 2>/dev/null
    mv "$folder/version" "$folder/ready"
}

# What lian says of itself is the number of seconds it has had the lease for. Compared with the earliest that was heard,
# it tells how old it is: what lay in a buffer while a connection stood still makes nothing younger.
going_on() {
    tell_time
    read -r beat 2>/dev/null <"$folder/heartbeat" || beat=
    case $beat in
        '' | *[!0-9]*) ;;
        *)
            [ $((now - beat)) -ge "$offset" ] || offset=$((now - beat))
            last=$((offset + beat))
            ;;
    esac
    [ -z "$stopping" ] && [ ! -e "$folder/stop" ] && [ $((now - last)) -lt "$silence" ] && [ "$now" -lt "$deadline" ]
}

# -- while it is rented

# attend STATE LEASE: lines on stdin, each a heartbeat. Without its supervisor a lease is none.
attend() {
    lives "$folder/pid" || exit $UNKNOWN
    while read -r beat; do
        lives "$folder/pid" || exit $UNKNOWN
        echo "$beat" >"$folder/heartbeat" || exit $UNKNOWN
    done
}

# build STATE LEASE ID: its files on stdin, `private/start` among them, which is what is run. Its output comes back.
build() {
    id=$4
    made=$folder/private/$id
    [ -e "$folder/ready" ] || exit $UNKNOWN
    mkdir "$folder/builds/$id" "$made" || exit 1
    if ! receive "$made"; then
        rm -rf "$made"
        exit 1
    fi
    : >"$folder/private/$id.end"
    : >"$folder/builds/$id/output" || exit 1
    setsid sh "$folder/supervisor" work "$state" "$lease" "$id" </dev/null >/dev/null 2>&1 &
    follow follow "$state" "$lease" "$id" 0
}

# That it has ended is told in memory: the disk may be full.
work() {
    id=$4
    output=$folder/builds/$id/output
    sh "$folder/private/$id/start" </dev/null >/dev/null 2>>"$output" &
    printf '%s\n' $! >"$folder/private/$id.pid"
    wait $!
    status=$?
    rm -rf "$folder/private/$id" "$folder/private/$id.pid"
    printf '\nlian-ended %s %s %s\n' "$id" "$status" "$(wc -c <"$output")" >"$folder/private/$id.end"
}

# follow STATE LEASE ID OFFSET: what the build has written from there on, and in between a line that it has ended, with
# its status and the bytes it has written in all; until stdin ends. One that has not begun never will.
follow() {
    output=$folder/builds/$4/output
    if mkdir "$folder/builds/$4" 2>/dev/null || [ ! -e "$output" ]; then exit $UNKNOWN; fi
    tail -c +$(($5 + 1)) -f "$output" </dev/null &
    first=$!
    tail -c +1 -f "$folder/private/$4.end" </dev/null &
    cat >/dev/null
    kill "$first" $! 2>/dev/null
}

# signal STATE LEASE ID NAME: one that has not begun never will.
signal_build() {
    mkdir "$folder/builds/$4" 2>/dev/null && exit 0
    tries=0
    until [ -s "$folder/private/$4.pid" ] || [ -s "$folder/private/$4.end" ] || [ $tries -ge 50 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    if lives "$folder/private/$4.pid"; then kill -"$5" "$pid" 2>/dev/null; fi
    exit 0
}

# take STATE LEASE ID NAME: a file of the build's.
take() {
    [ -d "$folder/builds/$4" ] || exit $UNKNOWN
    [ -e "$folder/builds/$4/$5" ] || exit $TAKEN
    cat "$folder/builds/$4/$5"
}

# forget STATE LEASE ID: all that the build has.
forget() {
    if lives "$folder/private/$4.pid"; then kill -KILL "$pid" 2>/dev/null; fi
    rm -rf "${folder:?}/private/$4" "$folder/private/$4.pid" "$folder/private/$4.end" "$folder/builds/$4"
}

# usage STATE LEASE: bytes of memory that were needed at one time, nanoseconds of processor time, and processes that the
# kernel has ended for want of memory, of all builds; `-` for what the machine does not account.
usage() {
    cgroup_name
    [ -n "$cgroup" ] || exit $UNKNOWN
    roots=$(cgroups)
    needed= last_peak= last_files=
    { IFS=, read -r needed last_peak last_files <"$folder/private/memory"; } 2>/dev/null
    look_at_memory
    spent=- killed=-
    for root in $roots; do
        top=$root/lian/$cgroup
        if [ -e "$top/cpuacct.usage" ]; then
            read -r spent <"$top/cpuacct.usage"
        elif [ -e "$top/cpu.stat" ]; then
            while read -r key value; do
                [ "$key" != usage_usec ] || spent=${value}000
            done <"$top/cpu.stat"
        fi
        if [ -e "$top/memory.events" ]; then
            while read -r key value; do
                [ "$key" != oom_kill ] || killed=$value
            done <"$top/memory.events"
        fi
    done 2>/dev/null
    # with version one of cgroups the kernel's log tells, if it may be read
    if [ "$killed" = - ] && log=$(dmesg 2>/dev/null); then
        killed=$(printf '%s\n' "$log" | grep -c "oom-kill:.*task_memcg=[^,]*/lian/$cgroup/")
    fi
    printf '%s %s %s\n' "${needed:--}" "$spent" "$killed"
}

# Of the cgroup's memory: `used` bytes, of that pages of `files`, and the `peak` that the kernel has seen. With version
# one of cgroups there are folders in several places, and lines that count what is below begin with total_.
measure() {
    used= files=0 peak=
    for root in $roots; do
        top=$root/lian/$cgroup
        if [ -e "$top/memory.current" ]; then
            current=memory.current most=memory.peak prefix=
        elif [ -e "$top/memory.usage_in_bytes" ]; then
            current=memory.usage_in_bytes most=memory.max_usage_in_bytes prefix=total_
        else
            continue
        fi
        read -r used <"$top/$current"
        [ ! -e "$top/$most" ] || read -r peak <"$top/$most"
        while read -r key value; do
            case $key in "${prefix}inactive_file" | "${prefix}active_file") files=$((files + value)) ;; esac
        done <"$top/memory.stat"
    done 2>/dev/null
    [ -n "$used" ]
}

# What builds `needed` at one time, as reconciler/providers/compute/metering.py has it: without what the kernel could
# have taken back. The peak tells of what came and went between two looks.
look_at_memory() {
    measure || return 0
    seen=$((used - files))
    if [ -n "$last_peak" ] && [ -n "$peak" ] && [ "$peak" -gt "$last_peak" ]; then
        most_files=$((files > last_files ? files : last_files))
        [ $((peak - most_files)) -le "$seen" ] || seen=$((peak - most_files))
    fi
    last_peak=$peak
    last_files=$files
    [ "$seen" -le "${needed:-0}" ] || needed=$seen
    needed=${needed:-0}
}

# -- looking at leases, and returning them

# list STATE: a line of `lease NAME STATE BASE64` for each.
list() {
    for folder in "$leases"/*/; do
        [ -d "$folder" ] || continue
        folder=${folder%/}
        lease=${folder##*/}
        how=ended
        if lives "$folder/pid" && [ ! -e "$folder/failed" ]; then
            how=starting
            if [ -e "$folder/ready" ]; then
                lives "$folder/daemon" && how=ready || how=ended
            fi
        fi
        printf 'lease %s %s %s\n' "$lease" "$how" "$(base64 "$folder/lease.json" 2>/dev/null | tr -d '\n')"
    done
}

# end STATE LEASE: nothing of it is there any more when this returns; otherwise what is left is told.
end() {
    for new in "$leases/.new-$lease-"*; do
        [ -d "$new" ] || continue
        : >"$new/stop"
        tries=0
        while [ -d "$new" ] && [ $tries -lt 100 ]; do
            sleep 0.02
            tries=$((tries + 1))
        done
        discard "$new"
    done
    [ -d "$folder" ] || exit 0
    : >"$folder/returned"
    : >"$folder/stop"
    if lives "$folder/pid"; then
        kill -TERM "$pid" 2>/dev/null
        while [ -d "$folder" ] && is_ours && [ ! -e "$folder/left" ]; do sleep 0.02; done
    fi
    if [ ! -d "$folder" ]; then # who began to attend while it was being ended waits to be told something
        for pid in $(processes); do kill -KILL "$pid" 2>/dev/null; done
        exit 0
    fi
    left=$(clear_all)
    [ -d "$folder" ] || exit 0
    printf '%s\n' "$left"
    exit $LEFT
}

case $verb in
    rent | run | attend | build | work | follow | take | forget | usage | list | end | tidy) "$verb" "$@" ;;
    signal) signal_build "$@" ;;
    *) exit 2 ;;
esac
