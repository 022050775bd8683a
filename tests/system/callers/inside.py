#!/usr/bin/python3
"""Runs in the container: every program that sends mail does so, for real; what each passed to sendmail and what
arrived at the upstream is written down, a file for each.

The programs find a recorder at /usr/sbin/sendmail, which notes arguments and input and hands both to our sendmail.
Upstream is `pillarbox sandbox`. Rule: nothing here imitates a caller. What changes from run to run (times, ids,
versions) is replaced by a word in braces before it is written.

  inside.py BINARY OUTPUT
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

BINARY, OUTPUT = sys.argv[1], pathlib.Path(sys.argv[2])
CALLS = pathlib.Path("/tmp/calls")
STATE = pathlib.Path("/var/tmp/sandbox")
MAILBOX = STATE / "mailbox"
CONFIG = pathlib.Path("/etc/pillarbox/relay.toml")
# Longer than the minute that cron needs to come round.
PATIENCE = 100

RECORDER = """#!/bin/sh
call=$(mktemp -d /tmp/calls/XXXXXXXX)
chmod 755 "$call"
for argument in "$@"; do printf '%s\\n' "$argument"; done >"$call/arguments"
cat >"$call/input"
id -un >"$call/user"
/usr/lib/pillarbox/sendmail "$@" <"$call/input"
code=$?
echo "$code" >"$call/exit.part"
mv "$call/exit.part" "$call/exit"
exit $code
"""


def install():
    shutil.copy(BINARY, "/usr/bin/pillarbox")
    os.chmod("/usr/bin/pillarbox", 0o755)
    os.makedirs("/usr/lib/pillarbox", exist_ok=True)
    os.symlink("/usr/bin/pillarbox", "/usr/lib/pillarbox/sendmail")
    for name in ("/usr/sbin/sendmail", "/usr/lib/sendmail"):
        pathlib.Path(name).unlink(missing_ok=True)
    pathlib.Path("/usr/sbin/sendmail").write_text(RECORDER)
    os.chmod("/usr/sbin/sendmail", 0o755)
    os.symlink("/usr/sbin/sendmail", "/usr/lib/sendmail")
    CALLS.mkdir()
    os.chmod(CALLS, 0o1777)
    STATE.mkdir(parents=True)
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(
        '[listener]\nhostname = "web01.example.org"\n[budget]\npace_per_minute = 6000\n'
        f'[sendmail]\nsocket = "{STATE}/submit.sock"\ndrop_directory = "{STATE}/drop"\n'
    )
    # A name that does not depend on the machine.
    pathlib.Path("/etc/mailname").write_text("web01.example.org\n")
    pathlib.Path("/etc/sudoers.d/mail").write_text("Defaults mail_always\n")
    pathlib.Path("/etc/aliases").write_text("alice: alice@example.net\n")


def start_relay():
    log = open(STATE / "log", "wb")
    relay = subprocess.Popen(
        ["/usr/bin/pillarbox", "--config", CONFIG, "sandbox", "--directory", STATE, "--mailbox", MAILBOX],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )
    deadline = time.monotonic() + 30
    while not (STATE / "submit.sock").exists():
        if time.monotonic() > deadline or relay.poll() is not None:
            sys.exit("the relay does not start:\n" + (STATE / "log").read_text())
        time.sleep(0.05)
    os.chmod(STATE, 0o755)
    return relay


def sh(command, user=None, **environment):
    """Runs a command line as it would run on a terminal-less machine."""
    # Nothing of ours in the environment: a caller has what its user has.
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", **environment}
    if user:
        home = f"/home/{user}"
        clean |= {"HOME": home, "USER": user, "LOGNAME": user}
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "sh", "-c", command]
    else:
        clean |= {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
        command = ["sh", "-c", command]
    return subprocess.run(command, env=clean, cwd="/tmp", stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)


MESSAGE = "Subject: a script\\nFrom: App <app@example.org>\\nTo: someone@example.net\\nBcc: hidden@example.net\\n\\nText\\n.\\nafter a dot\\n"

# Name, user, command line. cron comes by itself, see below.
CALLERS = [
    ("anacron", None, "mkdir -p /tmp/anacron && printf 'MAILTO=root\\n1 0 job echo from anacron\\n' >/tmp/anacrontab && anacron -d -f -n -t /tmp/anacrontab -S /tmp/anacron"),
    ("bsd-mailx", None, "echo 'from bsd-mailx' | bsd-mailx -s 'a subject' root"),
    ("bsd-mailx-user", "alice", "echo 'from alice' | bsd-mailx -s 'a subject' -b hidden@example.net someone@example.net"),
    ("mailutils", None, "echo 'from mailutils' | mail.mailutils -s 'a subject' root"),
    ("s-nail", None, "echo 'from s-nail' | s-nail -s 'a subject' root"),
    ("s-nail-sender", "alice", "echo 'from s-nail' | s-nail -r shop@example.org -s 'a subject' -b hidden@example.net someone@example.net"),
    ("mutt", None, "echo 'from mutt' | mutt -s 'a subject' root"),
    ("mutt-dsn", "alice", "printf 'set dsn_notify=\"failure,delay\"\\nset dsn_return=hdrs\\nset use_envelope_from=yes\\nset from=shop@example.org\\n' >/tmp/muttrc && echo 'Grüße' | mutt -F /tmp/muttrc -s 'a subject' -b hidden@example.net someone@example.net"),
    ("git-send-email", "alice", "mkdir -p /tmp/tree && cd /tmp/tree && git init -q . && git config user.name 'Alice Example' && git config user.email alice@example.org && echo text >file && git add file && git commit -qm 'a change' --date '2026-01-02T03:04:05+0000' && git send-email --quiet --confirm=never --suppress-cc=all --from 'Alice Example <alice@example.org>' --to someone@example.net --bcc hidden@example.net -1"),
    ("php", None, "php -r 'exit(mail(\"root\", \"a subject\", \"line 1\\nline 2\\r\\n\", \"Bcc: hidden@example.net\\r\\nX-App: shop\") ? 0 : 1);'"),
    ("php-sender", "alice", "php -r 'exit(mail(\"someone@example.net\", \"Grüße\", \"8 bit: ü\\n.\\nend\\n\", \"From: Shop <shop@example.org>\", \"-fshop@example.org\") ? 0 : 1);'"),
    ("python", None, "python3 -c 'import subprocess; subprocess.run([\"/usr/sbin/sendmail\", \"-t\", \"-oi\"], input=b\"" + MESSAGE + "\", check=True)'"),
    ("shell", "alice", "printf '" + MESSAGE + "' | /usr/sbin/sendmail -t"),
    ("logwatch", None, "mkdir -p /var/cache/logwatch && logwatch --output mail --mailto root --range all --service dpkg --format text"),
    ("smartd", None, "env SMARTD_MAILER=/usr/share/smartmontools/smartd-runner SMARTD_ADDRESS=root SMARTD_DEVICE=/dev/sda SMARTD_DEVICESTRING=/dev/sda SMARTD_DEVICETYPE=sat SMARTD_DEVICEINFO='a disk' SMARTD_FAILTYPE=EmailTest SMARTD_MESSAGE='TEST EMAIL from smartd' SMARTD_TFIRST='Thu Jan  1 00:00:00 1970' SMARTD_TFIRSTEPOCH=0 SMARTD_PREVCNT=0 /usr/share/smartmontools/smartd_warning.sh"),
    ("sudo", "alice", "yes wrong | sudo -S true || true"),
]
# These fail by themselves, after their mail.
MAY_FAIL = {"sudo"}


def finished(directory):
    return (directory / "exit").exists()


def calls():
    return {path for path in CALLS.iterdir() if finished(path)}


def wait_for(what, have):
    deadline = time.monotonic() + PATIENCE
    while not have():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


def mails():
    return {path for path in MAILBOX.iterdir() if path.suffix == ".eml"} if MAILBOX.exists() else set()


def one_caller(name, run):
    """Runs one program; returns what it passed and what arrived."""
    known_calls, known_mails = calls(), mails()
    note = run()
    wait_for(f"{name}: no call of sendmail{note}", lambda: calls() - known_calls)
    (call, *others) = sorted(calls() - known_calls)
    assert not others, f"{name} called sendmail {1 + len(others)} times"
    code = (call / "exit").read_text().strip()
    assert code == "0", f"{name}: sendmail ended with {code}{note}"
    wait_for(f"{name}: nothing arrived{note}", lambda: mails() - known_mails)
    (mail, *others) = sorted(mails() - known_mails)
    assert not others, f"{name}: {1 + len(others)} messages arrived"
    (OUTPUT / f"{name}.txt").write_text(record(call, mail))


def run_program(name, user, command):
    outcome = sh(command, user)
    note = f" (exit {outcome.returncode}): {outcome.stdout.decode(errors='replace')}{outcome.stderr.decode(errors='replace')}"
    assert outcome.returncode == 0 or name in MAY_FAIL, f"{name} fails{note}"
    return note


def run_cron():
    table = "MAILTO=root\n* * * * * echo from cron\n"
    subprocess.run(["crontab", "-u", "alice", "-"], input=table.encode(), check=True)
    daemon = subprocess.Popen(["cron", "-f"])
    try:
        wait_for("cron: nothing within its minute", calls)
    finally:
        daemon.terminate()
        daemon.wait(10)
    return ""


def run_busybox_crond():
    tables = pathlib.Path("/tmp/crontabs")
    tables.mkdir()
    (tables / "root").write_text("MAILTO=root\n* * * * * echo from busybox\n")
    daemon = subprocess.Popen(["busybox", "crond", "-f", "-c", tables])
    known = calls()
    try:
        wait_for("busybox crond: nothing within its minute", lambda: calls() - known)
    finally:
        daemon.terminate()
        daemon.wait(10)
    return ""


def record(call, mail):
    sections = [
        ("user", (call / "user").read_bytes()),
        ("arguments", (call / "arguments").read_bytes()),
        ("input", (call / "input").read_bytes()),
        ("arrived", mail.read_bytes()),
    ]
    return "".join(f"=== {title}\n{normalised(visible(octets))}" for title, octets in sections)


def visible(octets):
    """CR is shown where it is, so that line ends can be compared."""
    text = octets.decode("utf-8", errors="backslashreplace").replace("\r", "␍")
    return text if text.endswith("\n") or not text else text + "\n=== (no line end)\n"


CHANGING = [
    (r"\b[0-9a-hjkmnp-tv-z]{26}\b", "{queue id}"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}( \([A-Z]+\))?", "{date}"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ \d\d:\d\d:\d\d \d{4}( [A-Z]{3,4})?", "{date}"),
    (r"\b[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d\b", "{time}"),
    (r"(?im)^(message-id: ).*$", r"\1{message id}"),
    (r"(?m)^Received: from \S+ \(\[127\.0\.0\.1\]\)␍\n +by smtp\.gmail\.com.*\n(?:[ \t].*\n)*", "{received by the upstream}\n"),
    (r"(?m)^(User-Agent|X-Mailer): .*$", r"\1: {program}"),
    (r"(?m)^(X-PHP-Originating-Script): .*$", r"\1: {script}"),
    (r"(?m)^(From|index) [0-9a-f]{7,40}", r"\1 {commit}"),
    (r"index [0-9a-f]{7}\.\.[0-9a-f]{7}", "index {commits}"),
    (r"(?m)^\d+\.\d+\.\d+(␍?)$", r"{version}\1"),
    (r"Logwatch [\d.]+ \(.*?\)", "Logwatch {version}"),
    (r"(?s)( +-+ dpkg.*?Begin -+).*(-+ dpkg.*?End -+)", r"\1{report}\2"),
]


def normalised(text):
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return text


def main():
    install()
    relay = start_relay()
    failures = []
    try:
        runs = [("cron", run_cron), ("busybox-crond", run_busybox_crond)]
        runs += [(name, lambda entry=(name, user, command): run_program(*entry)) for name, user, command in CALLERS]
        for name, run in runs:
            try:
                one_caller(name, run)
                print(f"callers: {name}: arrived", flush=True)
            except (AssertionError, TimeoutError, subprocess.SubprocessError) as failure:
                failures.append(f"callers: {name}: {failure}")
                print(failures[-1], flush=True)
    finally:
        relay.terminate()
        code = relay.wait(60)
    if code != 0:
        failures.append(f"callers: the relay ended with {code}")
    if failures:
        sys.exit("\n".join(failures) + "\n--- the relay's log\n" + (STATE / "log").read_text())


if __name__ == "__main__":
    main()
