"""A disk that takes no more ends the server with exit code 10; what was acknowledged is there after a restart."""

import shlex

import pytest
import tree
import wire
from harness import KINDS, free_ports, wait_until

EXIT_DISK = 10
FILE_KIB_MAX = 100  # a log grows by preAllocSize, 64 KiB; the second step is too much


@pytest.mark.parametrize("forced", ["yes", "no"])
def test_a_file_that_cannot_grow_ends_the_server(tmp_path, peer, forced):
    home = tmp_path / "full"
    settings = {"forceSync": forced, "preAllocSize": 64}
    server = KINDS[peer](home, {"client": free_ports(1)[0]}, settings=settings)
    plain = server.command()
    # Signal 25 is SIGXFSZ: ignored, so that the write fails as on a full disk; `ulimit -f` counts 512 bytes.
    limited = f"trap '' 25; ulimit -f {FILE_KIB_MAX * 2}; exec {shlex.join(plain)}"
    server.command = lambda: ["sh", "-c", limited]
    server.start().wait_serving()
    client = server.connect()
    acknowledged = []
    with pytest.raises((OSError, wire.Closed)):
        for number in range(1000):
            path = f"/written-{number:04}"
            client.create(path, b"x" * 1000)
            acknowledged.append(path)
    client.drop()
    wait_until(lambda: not server.running(), 10, server._tail)
    assert server.process.returncode == EXIT_DISK, server._tail()
    said = server.log_text()
    assert "the disk has failed" in said and "version-2/log." in said, server._tail()
    assert 30 < len(acknowledged) < 200

    server.command = lambda: plain
    server.start().wait_serving()
    nodes = tree.dump(server)
    lost = [path for path in acknowledged if path not in nodes]
    assert not lost, lost
    server.connect().create("/goes-on", b"")
    server.stop()
