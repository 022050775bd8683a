#!/usr/bin/env python3
"""Sends numbered mail, and compares what was acknowledged with what has arrived.

mail.py send NAME COUNT THREADS  sends COUNT messages to NAME-0@example.org and so on, as fast as it goes, and notes
                                 each 250 in /srv/NAME.acknowledged. What is refused is tried again.
mail.py arrived NAME SECONDS     waits until everything noted has arrived, then says whether each did so once.
mail.py show RECIPIENT SECONDS   waits for a message and prints it.
"""

import glob
import json
import os
import smtplib
import sys
import threading
import time

JOURNAL = "/opt/upstream/journal"
MAILBOX = "/opt/upstream/mailbox"

refused = []


def submitted(name, number, acknowledged):
    recipient = f"{name}-{number}@example.org"
    try:
        client = smtplib.SMTP("127.0.0.1", 25, timeout=60)
        client.sendmail("load@example.org", [recipient], f"Subject: {number}\r\n\r\n" + "text\r\n" * 100)
    except ConnectionRefusedError:
        refused.append(recipient)
        return False
    except (OSError, smtplib.SMTPException):
        # Also a session that hears 421 because the daemon stops.
        return False
    acknowledged.write(f"{recipient}\n")
    try:
        client.quit()
    except (OSError, smtplib.SMTPException):
        # A daemon that stops says 421 after its 250, which counts.
        pass
    return True


def send(name, count, threads):
    lock, numbers = threading.Lock(), iter(range(count))
    with open(f"/srv/{name}.acknowledged", "a", buffering=1) as acknowledged:

        def work():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                while not submitted(name, number, acknowledged):
                    if os.path.exists("/srv/no-more"):
                        return
                    time.sleep(0.05)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print(f"{len(refused)} connections refused")


def counted():
    counts = {}
    if os.path.exists(JOURNAL):
        with open(JOURNAL) as journal:
            for line in journal:
                for recipient in json.loads(line)["rcpt_to"]:
                    counts[recipient] = counts.get(recipient, 0) + 1
    return counts


def arrived(name, seconds):
    with open(f"/srv/{name}.acknowledged") as acknowledged:
        wanted = {line.strip() for line in acknowledged}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not wanted <= counted().keys():
        time.sleep(0.5)
    counts = counted()
    missing = sorted(wanted - counts.keys())
    twice = sorted(recipient for recipient in wanted if counts.get(recipient, 0) > 1)
    print(f"{len(wanted)} acknowledged, {len(missing)} missing, {len(twice)} twice")
    if missing or twice or not wanted:
        print("missing:", missing[:5], "twice:", twice[:5])
        sys.exit(1)


def show(recipient, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in sorted(glob.glob(f"{MAILBOX}/*")):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if f"Delivered-To: {recipient}" in text:
                print(text)
                return
        time.sleep(0.5)
    sys.exit(f"nothing has arrived for {recipient}")


command, *rest = sys.argv[1:]
if command == "send":
    send(rest[0], int(rest[1]), int(rest[2]))
elif command == "arrived":
    arrived(rest[0], float(rest[1]))
else:
    show(rest[0], float(rest[1]))
