"""history: writes to an ensemble until told to stop, then checks that nothing acknowledged was lost.

Prints a line of progress every second and at the end one line "REPORT {json}".
Exits with 1 when anything contradicts the history. Runs in a pod beside the
ensemble; told to stop by a file or by SIGTERM.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid

from sampler import Sampler, leaders_by_epoch, name
from writer import Writer, connect, verify

HEAL_SECONDS_MAX = 90


def main():
    options = arguments()
    # What each client did about a lost connection explains a gap.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(threadName)s %(message)s", datefmt="%T")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    members = options.members.split(",")
    root = f"/history-{uuid.uuid4().hex[:8]}"

    samplers = [Sampler(member, stop) for member in members]
    # Half of the writers come through the Service, half know the members.
    hosts = [options.service or options.members, options.members]
    writers = [Writer(i, hosts[i % 2], root, options.rate, stop) for i in range(options.writers)]
    for writer in writers:
        writer.prepare()
    for thread in samplers + writers:
        thread.start()

    started = time.monotonic()
    print(f"writing below {root}", flush=True)
    while not stop.wait(1):
        progress(writers, started)
        if os.path.exists(options.stop_file) or time.monotonic() - started > options.seconds_max:
            stop.set()
    ended = time.monotonic()
    for thread in samplers + writers:
        thread.join()

    violations = [text for writer in writers for text in writer.violations]
    leaders = leaders_by_epoch(samplers)
    violations += [f"two leaders in epoch {epoch}: {who}" for epoch, who in leaders.items() if len(who) > 1]
    violations += verify_all(members, writers)
    report = {
        "seconds": round(ended - started, 1),
        "acknowledged": sum(len(writer.acks) for writer in writers),
        "unknown": sum(writer.unknown for writer in writers),
        "failed": sum(writer.failed for writer in writers),
        "sessions_lost": sum(writer.sessions_lost for writer in writers),
        "gaps": gaps(writers, started, ended),
        "leaders": {str(epoch): who for epoch, who in leaders.items()},
        "roles": {name(sampler.member): sampler.changes for sampler in samplers},
        "connections": {writer.name: writer.connection for writer in writers},
        "samples": {name(sampler.member): [sampler.samples, sampler.answers] for sampler in samplers},
        "violations": violations[:50],
    }
    for text in violations[:50]:
        print(f"VIOLATION {text}")
    print("REPORT " + json.dumps(report), flush=True)
    # Threads of clients that cannot reach a member must not hold up the end.
    os._exit(1 if violations else 0)


def verify_all(members, writers):
    """Every member, asked by itself, must hold every acknowledged write."""
    found = []
    for number, member in enumerate(members):
        try:
            client = connect(member)
        except Exception as error:
            found.append(f"{member}: cannot be asked at the end: {type(error).__name__} {error}")
            continue
        deadline = time.monotonic() + HEAL_SECONDS_MAX
        while True:
            try:
                found += verify(client, name(member), writers, with_data=number == 0)
                break
            except Exception as error:
                if time.monotonic() > deadline:
                    found.append(f"{member}: the comparison failed: {type(error).__name__} {error}")
                    break
                time.sleep(1)
        client.stop()
    return found


def gaps(writers, started, ended, seconds_min=0.5):
    """The spans without any acknowledged write, longest first: [[unix seconds, length], ...]."""
    offset = time.time() - time.monotonic()
    moments = sorted(moment for writer in writers for moment in writer.acks if moment <= ended)
    moments = [started, *moments, ended]
    spans = [(b - a, a) for a, b in zip(moments, moments[1:])]
    longest = sorted(spans, reverse=True)[:1] + [s for s in sorted(spans, reverse=True)[1:10] if s[0] >= seconds_min]
    return [[round(at + offset, 2), round(length, 3)] for length, at in longest]


def progress(writers, started):
    acks = sum(len(writer.acks) for writer in writers)
    last = max((writer.acks[-1] for writer in writers if writer.acks), default=started)
    now = time.monotonic()
    print(
        f"t={now - started:.0f} acknowledged={acks} unknown={sum(w.unknown for w in writers)} "
        f"silence={now - last:.2f} violations={sum(len(w.violations) for w in writers)}",
        flush=True,
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", required=True, help="host:port of every member, separated by commas")
    parser.add_argument("--service", help="host:port that leads to any member")
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=40, help="operations per second of each writer")
    parser.add_argument("--seconds-max", type=float, default=600)
    parser.add_argument("--stop-file", default="/tmp/stop")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
