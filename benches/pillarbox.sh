# Pillarbox, the release build, with the configuration a person would write.
#
# Rule: the same functions as benches/postfix.sh, the same upstream, TLS checks and login, and a queue
# on the same filesystem. Sourced by benches/run, which provides CACHE, RESULTS, UPSTREAM_PORT and so on.

PILLARBOX_STATE=$CACHE/pillarbox-state
PILLARBOX_CONFIG=$CACHE/relay.toml

pillarbox_install() {
    [ -x "$PILLARBOX" ] || { echo "$PILLARBOX is missing: run cargo build --release"; return 1; }
}

pillarbox_version() { "$PILLARBOX" --version | sed 's/.* //'; }

# further_accounts: ten of them at the same upstream, and a route for each.
further_accounts() {
    local number
    for number in $(seq 10); do
        cat <<EOF
[[account]]
name = "account-$number"
host = "localhost"
port = $UPSTREAM_PORT
tls = "starttls"
ca_file = "$RESULTS/ca.pem"
username = "account-$number@gmail.com"
password = "abcdefghijklmnop"

[[route]]
name = "account-$number"
match = { recipient = "account-$number@example.net" }
accounts = ["account-$number"]

EOF
    done
}

# pillarbox_configure deliver|hold|storm|accounts
pillarbox_configure() {
    local recipients=10000 owner=0 more=
    # Held mail: the budget is one recipient, so all mail but the first message is accepted and parked.
    [ "$1" != hold ] || recipients=1
    # A day of which 20 recipients are left, and mail to the administrator, which is folded.
    [ "$1" != storm ] || recipients=45 owner=25 more=$'[identity]\nadmin = "someone@example.com"\n\n[notices]\nto = "nobody"\n'
    [ "$1" != accounts ] || more=$(further_accounts)
    mkdir -p "$PILLARBOX_STATE"
    cat >"$PILLARBOX_CONFIG" <<EOF
[upstream]
host = "localhost"
port = $UPSTREAM_PORT
tls = "starttls"
ca_file = "$RESULTS/ca.pem"
username = "you@gmail.com"
password = "abcdefghijklmnop"
ehlo_name = "bench.example.com"
connections = 10
logins_per_hour = 1000

[listener]
addresses = ["127.0.0.1:$PILLARBOX_PORT"]
hostname = "bench.example.com"
max_connections_per_client = 200

[queue]
directory = "$PILLARBOX_STATE"

[budget]
recipients_per_day = $recipients
owner_reserve = $owner
pace_per_minute = 0

$more
[sendmail]
socket = "off"
drop_directory = "off"

[admin]
socket = "$CACHE/admin.sock"
EOF
    [ -z "$PAGE_PORT" ] || echo "page = \"127.0.0.1:$PAGE_PORT\"" >>"$PILLARBOX_CONFIG"
    chmod 600 "$PILLARBOX_CONFIG"
}

# pillarbox_start deliver|hold [options of `load start`]: prints what `load start` printed.
pillarbox_start() {
    local mode=$1 preload=() json
    shift
    pillarbox_configure "$mode" || return 1
    [ -z "$SLOW" ] || preload=(env "LD_PRELOAD=$RESULTS/slow_sync.so" "SLOW_SYNC_US=${SLOW}000")
    [ -z "$COUNTED" ] || preload=(env "LD_PRELOAD=$RESULTS/count_allocations.so" "ALLOCATIONS_FILE=$COUNTED")
    json=$("$LOAD" start --address "127.0.0.1:$PILLARBOX_PORT" --log "$RESULTS/pillarbox.log" "$@" -- \
        "${preload[@]}" "$PILLARBOX" run --config "$PILLARBOX_CONFIG") || return 1
    field pid "$json" >"$RESULTS/pillarbox.pid"
    echo "$json"
}

pillarbox_address() { echo "127.0.0.1:$PILLARBOX_PORT"; }

pillarbox_pid() { cat "$RESULTS/pillarbox.pid"; }

# A pid file of an earlier run may name a process of somebody else: the name is checked as well.
pillarbox_running() {
    local pid
    pid=$(pillarbox_pid 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pillarbox ]
}

pillarbox_stop() {
    pillarbox_running || return 0
    local pid waited=0
    pid=$(pillarbox_pid)
    kill -TERM "$pid"
    while pillarbox_running && [ $waited -lt 3000 ]; do
        sleep 0.01
        waited=$((waited + 1))
    done
    ! pillarbox_running || kill -KILL "$pid"
    rm -f "$RESULTS/pillarbox.pid"
}

# Moved, not removed: see `put_aside` in benches/run.
pillarbox_wipe() { [ ! -d "$PILLARBOX_STATE" ] || put_aside "$PILLARBOX_STATE"; }

pillarbox_disk_directory() { echo "$PILLARBOX_STATE"; }

# The build of `--before`, in the place of Postfix: the same functions with another binary. One of the two runs at a time.
for function in install version start address pid running stop wipe disk_directory; do
    eval "before_$function() { local PILLARBOX=\$BEFORE; pillarbox_$function \"\$@\"; }"
done
