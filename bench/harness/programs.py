"""Where things are, and the programs that are run."""

import os
import subprocess
from pathlib import Path

from harness.failure import Failure


def root() -> Path:
    return Path(__file__).resolve().parents[2]


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("QUORATE_CACHE") or Path(base) / "quorate")


def target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR") or root() / "target")


def program(variable: str, package: str, name: str) -> Path:
    """The program that the environment variable names, else the package built for release."""
    if variable in os.environ:
        path = Path(os.environ[variable])
    else:
        build = ["cargo", "build", "--release", "--locked", "-p", package]
        subprocess.run(build, cwd=root(), check=True)
        path = target() / "release" / name
    if not os.access(path, os.X_OK):
        raise Failure(f"{path} is not a program (environment variable {variable})")
    return path.resolve()


def generator_program() -> Path:
    return program("ZK_BENCH_BIN", "zk-bench", "zk-bench")


def quorate_program() -> Path:
    return program("QUORATE_BIN", "zk-server", "quorate")
