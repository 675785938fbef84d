#!/usr/bin/env python3
"""Remakes server/proto/testdata: bytes captured from running Apache ZooKeeper 3.9.4 servers.

Usage: capture.py [directory]    (default: server/proto/testdata of this checkout)

Session ids, times and zxids differ from run to run; the layout and the labels do not.
"""

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e" / "interop"))

import capture_client  # noqa: E402
import capture_election  # noqa: E402
import capture_learner  # noqa: E402
import capture_store  # noqa: E402

PARTS = {
    "client": capture_client.capture,
    "election": capture_election.capture,
    "learner": capture_learner.capture,
    "store": capture_store.capture,
}


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "server" / "proto" / "testdata"
    for name, capture in PARTS.items():
        with tempfile.TemporaryDirectory(prefix="quorate-capture-") as home:
            part = target / name
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            capture(Path(home), part)
            print(f"{part}: {sum(f.stat().st_size for f in part.rglob('*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
