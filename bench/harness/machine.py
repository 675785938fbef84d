"""What the figures were measured on."""

import os
import platform
import subprocess
import time
from pathlib import Path

from harness.ensemble import java_program
from harness.programs import root

SYNCS = 300
SYNC_BYTES = 512


def describe(directory: Path, file_system: str) -> str:
    """Markdown list: processor, memory, kernel, disk, Java, commit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    p50, p99 = sync_microseconds(directory)
    return "\n".join(
        [
            f"- {len(os.sched_getaffinity(0))} cores, {processor()}; {memory:.0f} GiB of memory",
            f"- Linux {platform.release()}, {file_system}; writing {SYNC_BYTES} bytes in place "
            f"and fdatasync takes p50 {p50:.0f} µs, p99 {p99:.0f} µs",
            f"- TCP congestion control on loopback: {congestion_control()}",
            f"- {java_version()}",
            f"- Quorate at commit {commit()}",
            f"- {time.strftime('%Y-%m-%d')}",
        ]
    )


def sync_microseconds(directory: Path) -> tuple[float, float]:
    """Median and 99th percentile of an in-place write with fdatasync."""
    path = directory / "sync-probe"
    times = []
    with open(path, "w+b", buffering=0) as file:
        file.write(bytes(SYNCS * SYNC_BYTES))
        os.fsync(file.fileno())
        for index in range(SYNCS):
            begin = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * SYNC_BYTES, index * SYNC_BYTES)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1e6)
    path.unlink()
    times.sort()
    return times[SYNCS // 2], times[SYNCS * 99 // 100]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def congestion_control() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def java_version() -> str:
    # JVMs print their version to standard error, after a line about JAVA_TOOL_OPTIONS if set.
    text = subprocess.run(
        [java_program(), "-version"], check=True, stderr=subprocess.PIPE, text=True
    ).stderr
    return next((line for line in text.splitlines() if "version" in line), "Java").strip()


def commit() -> str:
    git = ["git", "-C", str(root())]
    done = subprocess.run(
        [*git, "describe", "--always", "--dirty", "--exclude=*"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout.strip() or "unknown"
