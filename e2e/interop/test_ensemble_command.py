"""`quorate ensemble 3`: three peers in one process tree, serving in under two seconds."""

import re
import signal
import subprocess
import time

import pytest
import wire
from harness import STARTED, free_ensemble_port, quorate_binary, wait_until
from kazoo.client import KazooClient

SERVING_WITHIN = 2.0  # seconds from the start of the process to the first acknowledged write


@pytest.fixture
def ensemble_command(peer, tmp_path):
    if peer != "quorate":
        pytest.skip("the reference has no such command")
    port = free_ensemble_port(3)
    log = (tmp_path / "log").open("w+")
    command = [quorate_binary(), "ensemble", "3", "--dir", str(tmp_path / "data"), "--client-port", str(port)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    STARTED.append(process)

    def output():
        log.flush()
        return (tmp_path / "log").read_text()

    yield process, port, started, output
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


def test_serves_in_two_seconds(ensemble_command):
    process, port, started, output = ensemble_command
    while True:
        assert process.poll() is None, output()
        assert time.monotonic() - started < 10, output()
        try:
            client = wire.Connection(port)
            client.connect()
            client.create("/first", b"")
            break
        except (OSError, wire.Closed):
            time.sleep(0.02)
    took = time.monotonic() - started
    client.close_session()
    print(f"first write acknowledged after {took:.2f} s")
    assert took < SERVING_WITHIN

    def connect_string():
        return re.search(r"127\.0\.0\.1:\d+(?:,127\.0\.0\.1:\d+){2}", output())

    hosts = wait_until(connect_string, SERVING_WITHIN, lambda: f"no connect string in:\n{output()}")
    assert f"127.0.0.1:{port}" in hosts[0]
    for host in hosts[0].split(","):
        one = KazooClient(hosts=host, timeout=8)
        one.start(timeout=10)
        one.sync("/first")
        assert one.exists("/first")
        one.stop()
        one.close()
    modes = [wire.four_letter_word(int(host.split(":")[1]), "srvr") for host in hosts[0].split(",")]
    assert sorted(re.search(r"Mode: (\w+)", mode)[1] for mode in modes) == ["follower", "follower", "leader"]


def test_a_second_one_on_its_ports_is_told_how_to_choose_others(ensemble_command):
    _, port, _, output = ensemble_command
    wait_until(lambda: "connect string:" in output(), 20, output)
    for second in (port, port - 1):  # its first port is taken, or its second
        command = [quorate_binary(), "ensemble", "3", "--client-port", str(second)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        assert run.returncode == 4 and not run.stdout, run.stderr
        assert "--client-port PORT chooses other ports: cannot listen for clients on port" in run.stderr, run.stderr


def test_ends_on_sigterm(ensemble_command):
    process, port, _, output = ensemble_command
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if "Mode" in wire.four_letter_word(port, "srvr"):
                break
        except OSError:
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) in (0, -signal.SIGTERM), output()
    with pytest.raises(OSError):
        wire.four_letter_word(port, "ruok")


@pytest.mark.parametrize("after", [0.02, 0.1, 0.15, 0.2, 0.25, 0.3])
def test_ends_on_sigterm_while_starting(ensemble_command, after):
    process, _, _, output = ensemble_command
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) in (0, -signal.SIGTERM), output()


def test_a_key_that_is_unknown_is_named_once(peer, tmp_path):
    if peer != "quorate":
        pytest.skip("the reference has no such command")
    command = [quorate_binary(), "ensemble", "3", "--client-port", str(free_ensemble_port(3)), "--set", "nonsense=1"]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        STARTED.append(process)
        output = (tmp_path / "log").read_text
        wait_until(lambda: "connect string:" in output(), 20, output)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0, output()
    assert output().count('key="nonsense"') == 1, output()
