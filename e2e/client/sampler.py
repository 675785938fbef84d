"""Asks every member for its role all the time, to catch two leaders in one epoch."""

import re
import socket
import threading
import time

SAMPLE_SECONDS = 0.2
ANSWER_SECONDS_MAX = 1.0


def four_letter_word(member, word):
    """The answer of one member ("host:port") to a four-letter word; "" when it gives none."""
    host, port = member.rsplit(":", 1)
    answer = b""
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS_MAX) as connection:
            connection.sendall(word.encode())
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        pass
    return answer.decode("utf-8", "replace")


def name(member):
    """The pod's name; all of it for a bare address."""
    host = member.rsplit(":", 1)[0]
    return member if host.replace(".", "").isdigit() else host.split(".")[0]


def role_and_zxid(member):
    """("leader", zxid) as the member says in srvr, or None while it does not serve."""
    text = four_letter_word(member, "srvr")
    mode = re.search(r"^Mode: (\w+)", text, re.M)
    zxid = re.search(r"^Zxid: 0x([0-9a-f]+)", text, re.M)
    return (mode[1], int(zxid[1], 16)) if mode and zxid else None


class Sampler(threading.Thread):
    """One thread per member, so that one that hangs does not hide the others."""

    def __init__(self, member, stop):
        super().__init__(name=f"sampler-{member}", daemon=True)
        self.member, self.stop_event = member, stop
        self.samples = self.answers = 0
        self.epochs_led = set()
        self.changes = []  # (unix seconds, role, epoch)

    def run(self):
        last = None
        while not self.stop_event.is_set():
            started = time.monotonic()
            seen = role_and_zxid(self.member)
            self.samples += 1
            now = (seen[0], seen[1] >> 32) if seen else ("silent", None)
            if seen:
                self.answers += 1
                if now[0] == "leader":
                    self.epochs_led.add(now[1])
            if now != last:
                self.changes.append((round(time.time(), 2), *now))
                last = now
            self.stop_event.wait(max(0, SAMPLE_SECONDS - (time.monotonic() - started)))


def leaders_by_epoch(samplers):
    """{epoch: members seen leading in it}"""
    leaders = {}
    for sampler in samplers:
        for epoch in sampler.epochs_led:
            leaders.setdefault(epoch, []).append(name(sampler.member))
    return dict(sorted(leaders.items()))
