"""Puts measured tables between the marks in the performance document."""

from harness import programs
from harness.failure import Failure

PATH = "docs/performance.md"


def write(begin: str, end: str, report: str):
    path = programs.root() / PATH
    text = path.read_text()
    if begin not in text or end not in text:
        raise Failure(f"{PATH} has no lines '{begin}' and '{end}' to write between")
    head, rest = text.split(begin, 1)
    _, tail = rest.split(end, 1)
    path.write_text(f"{head}{begin}\n\n{report}\n\n{end}{tail}")
