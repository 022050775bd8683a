#!/usr/bin/env bash
# The Debian package on a machine with a real systemd: installed, used, upgraded, killed, removed, purged. The machine is
# a container. Part of `make test-system`.
#
#   tests/system/package.sh                    builds the package twice, with two version numbers
#   DEB_PROFILE=dev tests/system/package.sh    with the debug binary, which takes less time to build
#   KEEP=yes tests/system/package.sh           leaves the container for a look at it
#
# The upstream is the look-alike: the same program, outside of the package, as a unit of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

box=${BOX:-pillarbox-package-$$}
image=pillarbox-test-systemd
parts=$PWD/tests/system/package
debs=$PWD/target/debian/test-system
export DEB_PROFILE=${DEB_PROFILE:-dist}
exposure_max=1.2

passed() { echo "package: ok: $*"; }
fail() {
    echo "package: FAILED: $*" >&2
    docker exec "$box" journalctl -b --no-pager -n 60 -u pillarbox.service -u pillarbox.socket -u cron -u upstream >&2 || true
    docker exec "$box" systemctl status --no-pager pillarbox.service pillarbox.socket >&2 || true
    docker exec "$box" pillarbox status >&2 || true
    exit 1
}
inside() { docker exec -i "$box" "$@"; }
# as USER COMMAND: a shell command of an ordinary user.
as() { inside su -s /bin/sh -c "$2" "$1"; }
mail() { inside python3 /srv/mail.py "$@"; }
# within SECONDS COMMAND...: looks until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}
property() { inside systemctl show -P "$1" pillarbox.service; }
is() { [ "$("${@:2}")" = "$1" ]; }
state() { inside systemctl is-active "$1" || true; }
refuses() { ! inside python3 -c 'import socket; socket.create_connection(("127.0.0.1", 25), 3)' 2>/dev/null; }
dropped() { inside sh -c 'ls /var/spool/pillarbox | grep -c "^new\."' || true; }
# field NAME TEXT: a field of a message's header.
field() { sed -n "/^\r*$/q; s/^$1: *//Ip" <<<"$2" | tr -d '\r' | head -n 1; }

command -v docker >/dev/null && docker info >/dev/null 2>&1 || {
    echo "package: NOT RUN: no container engine answers on this machine (docker info fails)" >&2
    exit 77
}

# --- Two versions of the package, and the machine
rm -rf "$debs"
for version in 1 2; do
    make -s deb DEB_VERSION="0.1.0-0test$version" DEB_DIRECTORY="$debs" || { echo "package: FAILED: make deb" >&2; exit 1; }
done
docker build ${DOCKER_BUILD_OPTIONS:-} -q -t "$image" "$parts" >/dev/null || {
    echo "package: FAILED: the image of a machine with systemd cannot be built" >&2
    exit 1
}
[ "${KEEP:-}" = yes ] || trap 'docker rm -f "$box" >/dev/null 2>&1' EXIT
# SYS_ADMIN and SYS_PTRACE are systemd's, for the sandbox of the unit. The service itself has no capability.
docker run -d --name "$box" --hostname box.example.org -t --cap-add SYS_ADMIN --cap-add SYS_PTRACE \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock --tmpfs /tmp \
    -v /sys/fs/cgroup:/sys/fs/cgroup:rw -e container=docker "$image" >/dev/null
within 60 is running inside systemctl is-system-running ||
    fail "systemd does not come up: $(inside systemctl is-system-running) $(inside systemctl --failed --no-legend)"
docker cp -q "$debs/." "$box:/srv/"
docker cp -q "$parts/mail.py" "$box:/srv/"
version_1=$(inside sh -c 'ls /srv/*test1*.deb')
version_2=$(inside sh -c 'ls /srv/*test2*.deb')
contents=$(inside dpkg-deb --contents "$version_1")
for page in man1/pillarbox.1 man1/pillarbox-queue-explain.1 man5/relay.toml.5 man8/sendmail.8; do
    grep -q "/usr/share/man/$page" <<<"$contents" || fail "the package has no page $page"
done
passed "the package has its manual pages"
inside useradd --create-home alice
inside useradd --create-home bob
inside find / -xdev -path /proc -prune -o -path /sys -prune -o -path /srv -prune -o -path /var/log -prune -o -path /tmp -prune -o -print \
    2>/dev/null | sort >"$debs/before"

# --- From scratch
installed=$(inside dpkg -i "$version_1" 2>&1) || fail "dpkg -i: $installed"
grep -q "there is no account yet" <<<"$installed" || fail "the installation does not say what is left to do: $installed"
[ "$(state pillarbox.service)" = inactive ] && refuses || fail "something runs without an account"
inside systemctl start pillarbox.service || fail "a start without an account is a failure"
# It ends by itself, after it has said why.
within 10 is inactive state pillarbox.service && within 10 refuses || fail "something runs without an account after a start"
[ "$(inside systemctl is-system-running)" = running ] || fail "an unconfigured relay degrades the machine"
is "pillarbox pillarbox 3733" inside stat -c '%U %G %a' /var/spool/pillarbox || fail "the drop directory is wrong"
inside journalctl -b -u pillarbox.service | grep -q "there is no account to relay through" ||
    fail "the journal does not say why nothing runs"
[[ "$(property StatusText)" == *"no account"* ]] || fail "systemctl status does not say why: $(property StatusText)"
passed "installed from scratch; without an account nothing fails and port 25 refuses"

as alice 'printf "Subject: early\n\nBefore the relay ran.\n" | /usr/sbin/sendmail early@example.org' ||
    fail "sendmail does not take mail before the relay runs"
[ "$(dropped)" = 1 ] || fail "the drop directory has no message: $(inside ls -la /var/spool/pillarbox)"
passed "mail that sendmail takes before there is an account waits in the drop directory"

# --- The upstream and the account
inside sh -ec '
    mkdir -p -m 0755 /opt/upstream/mailbox
    cp /usr/bin/pillarbox /opt/upstream/pillarbox
    cat >/etc/systemd/system/upstream.service <<UNIT
[Service]
ExecStart=/opt/upstream/pillarbox sandbox --upstream-only --daily-limit 100000 --starttls-port 2587 \
    --journal /opt/upstream/journal --mailbox /opt/upstream/mailbox --ca-file /opt/upstream/ca.pem
ExecStartPost=/bin/sh -c "until [ -s /opt/upstream/ca.pem ]; do sleep 0.1; done; sleep 0.5; chmod 0644 /opt/upstream/ca.pem"
UNIT
    systemctl daemon-reload
    systemctl start upstream
    echo abcdefghijklmnop | install -m 0600 /dev/stdin /etc/pillarbox/password
    cat >/etc/pillarbox/relay.toml <<RELAY
[upstream]
host = "localhost"
port = 2587
username = "you@gmail.com"
ca_file = "/opt/upstream/ca.pem"
logins_per_hour = 1000
[budget]
recipients_per_day = 10000
pace_per_minute = 0
[alert]
command = ["/usr/bin/tee", "-a", "/var/lib/pillarbox/alerts"]
RELAY
    echo "reports: reports@example.org" >>/etc/aliases
    echo "* * * * * echo text of a cron job" | crontab -u alice -
' || fail "the upstream does not start"
inside systemctl start pillarbox.service || fail "the service does not start"
[ "$(property StatusText)" != "" ] || fail "no status: $(property StatusText)"
passed "the service is ready, with root's password as a credential; it says: $(property StatusText)"
mail show early@example.org 30 >/dev/null || fail "the message from before the first start did not arrive"
[ "$(dropped)" = 0 ] || fail "the drop directory still has messages"
passed "what was dropped before has arrived"

exposure=$(inside systemd-analyze security pillarbox.service | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
awk -v is="$exposure" -v max=$exposure_max 'BEGIN { exit !(is != "" && is <= max) }' || fail "exposure $exposure"
passed "systemd-analyze security: exposure $exposure (at most $exposure_max)"

# --- What systemd cannot set up is a failure, and not a start that nobody wanted
inside sh -c 'mkdir -p /run/systemd/system/pillarbox.service.d
    printf "[Service]\nUser=nobody-has-this-name\nRestart=no\n" >/run/systemd/system/pillarbox.service.d/user.conf
    systemctl daemon-reload'
! inside systemctl restart pillarbox.service 2>/dev/null || fail "a user that does not exist is no failure"
within 10 is failed state pillarbox.service || fail "a user that does not exist leaves $(state pillarbox.service)"
inside sh -c 'rm /run/systemd/system/pillarbox.service.d/user.conf; systemctl daemon-reload
    systemctl reset-failed pillarbox.service; systemctl start pillarbox.service' || fail "no start after that"
passed "a unit whose user cannot be set up fails for everybody to see"

# --- Mail of programs and users
inside python3 -c '
import smtplib
smtplib.SMTP("127.0.0.1", 25).sendmail("printer@example.org", ["smtp@example.org"], "From: Printer <printer@example.org>\r\nTo: smtp@example.org\r\nSubject: scan\r\n\r\nPage 1\r\n")' ||
    fail "port 25 takes no mail"
text=$(mail show smtp@example.org 30) || fail "mail by SMTP did not arrive"
[[ "$(field From "$text")" == *"<you@gmail.com>" ]] && [ "$(field To "$text")" = smtp@example.org ] &&
    [ -n "$(field Date "$text")" ] && [[ "$(field Message-ID "$text")" == "<"*"@"*">" ]] || fail "the header is wrong: $text"
passed "SMTP mail arrives: From $(field From "$text"), Message-ID $(field Message-ID "$text")"

as alice 'printf "Subject: report\n\ntext\n" | /usr/sbin/sendmail reports' || fail "sendmail does not take mail"
mail show reports@example.org 30 >/dev/null || fail "mail to an alias of /etc/aliases did not arrive"
passed "sendmail of an ordinary user, to a name in /etc/aliases, arrives"

# --- Whose mail is whose, by the kernel's word
inside pillarbox pause "whose mail is whose" >/dev/null || fail "no pause"
as alice 'printf "Subject: hers\n\nx\n" | /usr/sbin/sendmail of-alice@example.org' || fail "sendmail does not take mail"
as bob 'printf "Subject: his\n\nx\n" | /usr/sbin/sendmail of-bob@example.org' || fail "sendmail does not take mail"
for one in alice bob; do
    list=$(as "$one" 'mailq 2>/dev/null') || fail "mailq of $one ends with $?"
    [[ "$list" == *"of-$one@example.org"*"1 Request." ]] || fail "$one does not see his own mail and nothing else: $list"
done
[[ "$(inside mailq)" == *"2 Requests." ]] || fail "root does not see the whole queue"
inside pillarbox resume >/dev/null || fail "the pause does not end"
mail show of-alice@example.org 30 >/dev/null && mail show of-bob@example.org 30 >/dev/null || fail "it did not leave"
passed "mailq shows each user his own mail, and root the whole queue"

# --- The daemon is stopped
inside systemctl stop pillarbox.service 2>/dev/null
refuses || fail "port 25 is open although the service is stopped"
as alice 'printf "Subject: late\n\nWhile it was stopped.\n" | /usr/sbin/sendmail -i late@example.org' ||
    fail "sendmail does not take mail while the relay is stopped"
[ "$(dropped)" -ge 1 ] || fail "the drop directory has no message"
inside sh -c 'echo late@example.org >/srv/late.acknowledged'
inside systemctl start pillarbox.service
mail arrived late 30 >/dev/null || fail "a message that was dropped did not arrive once"
passed "mail of sendmail while the daemon is stopped arrives once, when it runs again"

# --- Stopped while mail comes in
docker exec "$box" python3 /srv/mail.py send stopped 3000 8 >/dev/null &
sender=$!
sleep 3
stop_begin=$SECONDS
inside systemctl stop pillarbox.service 2>/dev/null
stop_took=$((SECONDS - stop_begin))
is inactive state pillarbox.service || fail "the stop failed: $(state pillarbox.service)"
inside touch /srv/no-more
wait $sender || fail "the sender failed"
inside rm /srv/no-more
inside systemctl start pillarbox.service || fail "no start after a stop during load"
counts=$(mail arrived stopped 180) || fail "lost by systemctl stop: $counts"
passed "systemctl stop during load (it took $stop_took s): $counts"

# --- An upgrade with a full queue, while mail comes in
inside systemctl stop upstream
mail send waiting 500 8 >/dev/null
docker exec "$box" python3 /srv/mail.py send upgrade 1000 4 >"$debs/refused" &
sender=$!
upgraded=$(inside dpkg -i "$version_2" 2>&1) || fail "the upgrade failed: $upgraded"
wait $sender || fail "the sender failed"
grep -q "test2" <<<"$(inside dpkg-query -W pillarbox)" || fail "the version is still the old one"
is active state pillarbox.service || fail "the upgrade did not start the service"
inside grep -q 'host = "localhost"' /etc/pillarbox/relay.toml || fail "the upgrade replaced the configuration"
inside systemctl start upstream
inside pillarbox resume >/dev/null
for name in waiting upgrade; do
    counts=$(mail arrived $name 180) || fail "lost by the upgrade ($name): $counts"
    passed "upgrade with a full queue, $name: $counts"
done
[ "$(cat "$debs/refused")" = "0 connections refused" ] || fail "connections were refused during the upgrade: $(cat "$debs/refused")"
passed "no connection was refused during the upgrade"

# --- cron
text=$(mail show you@gmail.com 130) || fail "cron's mail did not arrive"
inside crontab -u alice -r
grep -q "text of a cron job" <<<"$text" && [[ "$(field From "$text")" == *"<you@gmail.com>" ]] && [ -n "$(field To "$text")" ] &&
    [ -n "$(field Date "$text")" ] && [[ "$(field Message-ID "$text")" == "<"*"@"*">" ]] || fail "cron's mail is wrong: $text"
passed "cron's mail arrives: From $(field From "$text"), To $(field To "$text"), Subject $(field Subject "$text")"

inside sh -c "journalctl -u pillarbox.service -o json | grep -q '\"QUEUE_ID\"'" || fail "the journal has no fields of ours"
passed "the journal has each line with its fields"

# --- An alert: this recipient makes the upstream say that the day's limit is reached; the next look comes within a minute
as alice 'echo | /usr/sbin/sendmail quota@example.org' || fail "sendmail does not take mail"
within 120 inside grep -q paused-quota /var/lib/pillarbox/alerts || fail "no alert of a paused account"
passed "the alert command runs in the sandbox of the unit"
inside sh -c 'systemctl restart upstream && pillarbox queue delete --all --yes && pillarbox resume' >/dev/null ||
    fail "the account cannot be opened again"

# --- A changed configuration
before=$(property MainPID)
inside sh -c 'cp -p /etc/pillarbox/relay.toml /etc/pillarbox/before && printf "[log]\nlevel = \"debug\"\n" >>/etc/pillarbox/relay.toml
    systemctl reload pillarbox.service' || fail "no reload"
[ "$(property MainPID)" = "$before" ] && [ "$(state pillarbox.service)" = active ] || fail "a reload is a restart"
inside sh -c 'pillarbox log' | grep -q "at debug, as configured" || fail "the reload has changed nothing"
inside sh -c 'echo "levle = 1" >>/etc/pillarbox/relay.toml; systemctl reload pillarbox.service' 2>/dev/null &&
    fail "the reload of a bad file succeeds"
[ "$(property MainPID)" = "$before" ] && [ "$(state pillarbox.service)" = active ] || fail "a bad file ends the service"
inside sh -c 'journalctl -u pillarbox.service -o cat | grep -q "Did you mean .level"' || fail "the journal does not name the mistake"
inside sh -c 'mv /etc/pillarbox/before /etc/pillarbox/relay.toml && systemctl reload pillarbox.service' || fail "no reload"
passed "systemctl reload takes a changed configuration, and leaves a bad one"

# --- The watchdog
inside sh -c 'mkdir -p /run/systemd/system/pillarbox.service.d
    printf "[Service]\nWatchdogSec=5\n" >/run/systemd/system/pillarbox.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart pillarbox.service' || fail "no restart"
before=$(property MainPID)
sleep 8
[ "$(property MainPID)" = "$before" ] || fail "the watchdog takes a healthy daemon for dead"
inside kill -STOP "$before"
revived() { [ "$(property NRestarts)" -ge 1 ] && [ "$(state pillarbox.service)" = active ]; }
within 60 revived || fail "the watchdog does not start a stopped process anew"
mail send revived 1 1 >/dev/null
mail arrived revived 60 >/dev/null || fail "no mail leaves after the watchdog"
passed "a process that is stopped (SIGSTOP) is started anew by the watchdog"

# --- Removed, purged
inside sh -c 'rm -r /run/systemd/system/pillarbox.service.d; systemctl daemon-reload; systemctl stop upstream'
mail send kept 1 1 >/dev/null
removed=$(inside dpkg --remove pillarbox 2>&1) || fail "dpkg --remove: $removed"
inside test -d /var/lib/pillarbox/spool -a -f /etc/pillarbox/password || fail "a removal takes the queue or the password"
refuses || fail "something listens after the removal"
inside dpkg -i "$version_2" >/dev/null 2>&1 || fail "the package cannot be installed again"
inside systemctl start upstream
inside pillarbox resume >/dev/null
mail arrived kept 60 >/dev/null || fail "a removal loses the queue"
passed "a removal keeps the queue, and the next installation sends it"
inside sh -c 'cp -p /usr/share/pillarbox/aliases /etc/aliases; echo | dpkg --purge pillarbox' >/dev/null 2>&1 || fail "dpkg --purge fails"
inside systemctl stop upstream
inside sh -c 'rm -rf /opt/upstream /etc/systemd/system/upstream.service; systemctl daemon-reload'
inside find / -xdev -path /proc -prune -o -path /sys -prune -o -path /srv -prune -o -path /var/log -prune -o -path /tmp -prune -o -print \
    2>/dev/null | sort >"$debs/after"
left=$(comm -13 "$debs/before" "$debs/after" | grep -vE '^/(opt|var/lib/dpkg|var/cache|var/spool/cron|run|dev)(/|$)|^/etc/[a-z]*-$|/__pycache__' || true)
[ -z "$left" ] || fail "a purge leaves: $left"
! inside getent passwd pillarbox >/dev/null && ! inside getent group pillarbox >/dev/null || fail "a purge leaves the user"
! inside sh -c 'ls -d /run/pillarbox /var/lib/systemd/deb-systemd-helper-enabled/*pillarbox*' >/dev/null 2>&1 || fail "a purge leaves state"
passed "a purge asks nothing and leaves nothing"

# --- The queue on a file system of its own, as it should be
inside sh -ec 'mkdir -p /var/lib/pillarbox; mount -t tmpfs none /var/lib/pillarbox; dpkg -i "$0" >/dev/null 2>&1
    mkdir -p /var/lib/pillarbox/spool/00; touch /var/lib/pillarbox/spool/00/message' "$version_2" || fail "no queue on a mount point"
purged=$(inside sh -c 'echo | dpkg --purge pillarbox' 2>&1) || fail "dpkg --purge fails at a mount point: $purged"
[ -z "$(inside ls -A /var/lib/pillarbox)" ] || fail "the purge leaves the queue of a mount point"
inside sh -c 'umount /var/lib/pillarbox && rmdir /var/lib/pillarbox'
passed "a purge empties a queue directory that is a mount point"
