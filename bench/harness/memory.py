"""Resident memory of a server."""

import subprocess
import time
from pathlib import Path

from harness.ensemble import Ensemble

SETTLE_SECONDS = 2


def resident(ensemble: Ensemble) -> int:
    """Bytes of the only server's resident set; a JVM's after two full collections, which is less
    than it takes while it works."""
    pid = ensemble.pids[0]
    if ensemble.kind.is_java:
        for _ in range(2):
            collect = ["jcmd", str(pid), "GC.run"]
            subprocess.run(collect, check=True, stdout=subprocess.DEVNULL)
    time.sleep(SETTLE_SECONDS)
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmRSS")
