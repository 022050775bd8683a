# Postfix, in a bootstrap tree of its own: nothing of the host's mail system is touched.
#
# Rule: it gets every tuning that helps it (no rate limits, no in-flow delay, no name look-ups, 100
# processes, 20 connections to the upstream) and the same filesystem, upstream, TLS checks and login
# as Pillarbox. Sourced by benches/run, which provides CACHE, RESULTS, UPSTREAM_PORT, LOAD and SLOW.

POSTFIX_ROOT=$CACHE/postfix-root
POSTFIX_QUEUE=$POSTFIX_ROOT/var/spool/postfix
# Another suite or another mirror than this machine's own: POSTFIX_SUITE=trixie POSTFIX_MIRROR=http://... benches/run
POSTFIX_SUITE=${POSTFIX_SUITE:-bookworm}
POSTFIX_MIRROR=${POSTFIX_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1)}

# Succeeds when Postfix is ready to run; otherwise prints the reason why it cannot be.
postfix_install() {
    [ -e "$POSTFIX_ROOT/.complete" ] && return 0
    [ "$(id -u)" = 0 ] || { echo "installing Postfix in a bootstrap tree needs root"; return 1; }
    command -v debootstrap >/dev/null ||
        { apt-get update && apt-get install -y --no-install-recommends debootstrap; } >>"$RESULTS/install.log" 2>&1 ||
        { echo "debootstrap is not installed, and apt-get could not install it"; return 1; }
    [ -n "$POSTFIX_MIRROR" ] || { echo "apt-get knows no Debian mirror; name one with POSTFIX_MIRROR"; return 1; }
    rm -rf "$POSTFIX_ROOT"
    debootstrap --variant=minbase "$POSTFIX_SUITE" "$POSTFIX_ROOT" "$POSTFIX_MIRROR" >>"$RESULTS/install.log" 2>&1 ||
        { echo "debootstrap failed: see $RESULTS/install.log"; return 1; }
    [ -c "$POSTFIX_ROOT/dev/null" ] ||
        { echo "the bootstrap tree has no device files (an unprivileged container?)"; return 1; }
    # The package must not start a service, here or on the host.
    printf '#!/bin/sh\nexit 101\n' >"$POSTFIX_ROOT/usr/sbin/policy-rc.d"
    chmod 755 "$POSTFIX_ROOT/usr/sbin/policy-rc.d"
    echo "postfix postfix/main_mailer_type select No configuration" |
        chroot "$POSTFIX_ROOT" debconf-set-selections >>"$RESULTS/install.log" 2>&1
    DEBIAN_FRONTEND=noninteractive chroot "$POSTFIX_ROOT" \
        apt-get install -y --no-install-recommends postfix libsasl2-modules >>"$RESULTS/install.log" 2>&1 ||
        { echo "apt-get could not install Postfix: see $RESULTS/install.log"; return 1; }
    touch "$POSTFIX_ROOT/.complete"
}

postfix_version() { chroot "$POSTFIX_ROOT" postconf -h -d mail_version; }

# postfix_configure deliver|hold
postfix_configure() {
    local etc=$POSTFIX_ROOT/etc/postfix
    cp "$RESULTS/ca.pem" "$etc/ca.pem"
    cp "$RESULTS/slow_sync.so" "$POSTFIX_ROOT/slow_sync.so"
    echo "[127.0.0.1]:$UPSTREAM_PORT you@gmail.com:abcdefghijklmnop" >"$etc/sasl_passwd"
    chmod 600 "$etc/sasl_passwd"
    cat >"$etc/main.cf" <<EOF
compatibility_level = 3.6
myhostname = bench.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
local_transport = error:no local mail
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
default_process_limit = 100
in_flow_delay = 0
relayhost = [127.0.0.1]:$UPSTREAM_PORT
disable_dns_lookups = yes
smtp_destination_concurrency_limit = 20
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_CAfile = /etc/postfix/ca.pem
smtp_tls_session_cache_database = btree:\${data_directory}/smtp_scache
smtp_tls_connection_reuse = ${POSTFIX_REUSE:-no}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:/etc/postfix/sasl_passwd
smtp_sasl_security_options = noanonymous
EOF
    # Held mail is accepted, queued and then left alone, so that accepting alone is measured.
    [ "$1" = deliver ] || case ${POSTFIX_HOLD:-defer} in
        defer) echo "defer_transports = smtp" >>"$etc/main.cf" ;;
        hold) echo "smtpd_end_of_data_restrictions = static:HOLD" >>"$etc/main.cf" ;;
    esac
    # Daemons get a cleaned environment: what they inherit must be named.
    [ -z "$SLOW" ] ||
        echo "import_environment = TZ LANG=C LD_PRELOAD=/slow_sync.so SLOW_SYNC_US=${SLOW}000" >>"$etc/main.cf"
    postfix_services >"$etc/master.cf"
    # The SASL library looks up the name of its own host at every login; that must not go to the network.
    echo "127.0.0.1 localhost $(uname -n)" >"$POSTFIX_ROOT/etc/hosts"
    echo "::1 localhost $(uname -n)" >>"$POSTFIX_ROOT/etc/hosts"
    printf "passwd: files\ngroup: files\nhosts: files\n" >"$POSTFIX_ROOT/etc/nsswitch.conf"
    # Postfix waits until a changed file is two seconds old, which is not part of its start.
    touch -d '1 minute ago' "$etc/main.cf" "$etc/master.cf" "$etc/sasl_passwd" "$etc/ca.pem"
}

postfix_services() {
    cat <<EOF
127.0.0.1:$POSTFIX_PORT inet n - n - - smtpd
pickup    unix n - n 60    1 pickup
cleanup   unix n - n -     0 cleanup
qmgr      unix n - n 300   1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n -     - trivial-rewrite
bounce    unix - - n -     0 bounce
defer     unix - - n -     0 bounce
trace     unix - - n -     0 bounce
verify    unix - - n -     1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n -     - proxymap
smtp      unix - - n -     - smtp
relay     unix - - n -     - smtp
showq     unix n - n -     - showq
error     unix - - n -     - error
retry     unix - - n -     - error
discard   unix - - n -     - discard
anvil     unix - - n -     1 anvil
scache    unix - - n -     1 scache
tlsproxy  unix - - n -     0 tlsproxy
EOF
}

# postfix_start deliver|hold [options of `load start`]: prints what `load start` printed.
postfix_start() {
    local mode=$1
    shift
    postfix_configure "$mode" || return 1
    "$LOAD" start --address "127.0.0.1:$POSTFIX_PORT" --log "$RESULTS/postfix-start.log" "$@" -- \
        chroot "$POSTFIX_ROOT" postfix start
}

postfix_address() { echo "127.0.0.1:$POSTFIX_PORT"; }

postfix_pid() { tr -d ' ' <"$POSTFIX_QUEUE/pid/master.pid"; }

postfix_running() { chroot "$POSTFIX_ROOT" postfix status >/dev/null 2>&1; }

postfix_stop() {
    postfix_running || return 0
    chroot "$POSTFIX_ROOT" postfix stop >>"$RESULTS/postfix-start.log" 2>&1
    local waited=0
    while postfix_running && [ $waited -lt 100 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    ! postfix_running || chroot "$POSTFIX_ROOT" postfix abort >>"$RESULTS/postfix-start.log" 2>&1
}

# Moved, not removed: see `put_aside` in benches/run.
postfix_wipe() {
    local queue
    for queue in incoming active deferred defer bounce hold maildrop corrupt trace flush; do
        [ -d "$POSTFIX_QUEUE/$queue" ] || continue
        [ -n "$(ls -A "$POSTFIX_QUEUE/$queue")" ] || continue
        put_aside "$POSTFIX_QUEUE/$queue"
        mkdir "$POSTFIX_QUEUE/$queue"
        chown --reference="$LAST_ASIDE" "$POSTFIX_QUEUE/$queue"
        chmod --reference="$LAST_ASIDE" "$POSTFIX_QUEUE/$queue"
    done
}

postfix_disk_directory() { echo "$POSTFIX_QUEUE"; }
