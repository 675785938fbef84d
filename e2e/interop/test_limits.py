"""Limits of connections, sessions and requests: what a client sees when one is hit, on both kinds of server.

All keys are written without `zookeeper.`, which both take.
"""

import time

import pytest
import wire

QUOTA_EXCEEDED = -125
SETTLE = 10.0  # seconds for a server to notice that a client has gone


@pytest.fixture
def server(peer, standalone):
    """Starts a server of the kind under test with these settings."""

    def start(**settings):
        one = standalone(peer, settings={key.replace("__", "."): value for key, value in settings.items()})
        one.start()
        return one.wait_serving()

    return start


def refused(server):
    """Is a connection closed without a byte, whether at once or when it asks for a session?"""
    try:
        connection = server.connect()
    except (wire.Closed, OSError):
        return True
    connection.close_session()
    return False


def metric(server, name):
    return float(server.mntr()[name])


def admitted_again(server):
    end = time.monotonic() + SETTLE
    while refused(server):
        assert time.monotonic() < end, "the place of a client that has gone is not given away"
        time.sleep(0.05)


@pytest.mark.parametrize("settings", [{"maxClientCnxns": 3}, {"maxClientCnxns": 0, "maxCnxns": 3}])
def test_connections_of_one_address_and_of_all(server, settings):
    one = server(**settings)
    admitted_again(one)  # whoever waited for it to serve has left
    time.sleep(0.2)
    clients = [one.connect() for _ in range(3)]
    assert refused(one)
    for client in clients:
        client.ping()
    clients[0].close_session()
    admitted_again(one)
    assert metric(one, "connection_rejected") >= 1


def test_a_connection_must_ask_for_a_session_in_time(server):
    one = server(nio__sessionlessCnxnTimeout=1000)
    silent = wire.Connection(one.ports["client"])
    begun = time.monotonic()
    assert silent.closed_by_server()
    assert 0.8 < time.monotonic() - begun < 4
    session = one.connect()
    time.sleep(2.2)
    session.ping()
    assert metric(one, "sessionless_connections_expired") == 1


def test_sessions_asked_for_too_fast(server):
    one = server(connection_throttle_tokens=2, connection_throttle_fill_time=600000)
    kept = [one.connect(), one.connect()]
    assert refused(one)
    assert metric(one, "connection_rejected") == 1
    for client in kept:
        client.ping()


def test_a_renewed_session_weighs_less(server):
    # Tokens are counted in new sessions: nine. Two sessions leave three, a renewal one.
    one = server(
        connection_throttle_tokens=3,
        connection_throttle_fill_time=600000,
        connection_throttle_weight_enabled="true",
        connection_throttle_global_session_weight=3,
        connection_throttle_renew_session_weight=2,
    )
    first, second = one.connect(), one.connect()
    assert first.session and second.session
    again = wire.Connection(one.ports["client"])
    again.connect(session=first.session, passwd=first.passwd)
    assert again.session == first.session
    assert refused(one), "one token is left"


@pytest.mark.parametrize("asked, given", [(-1, 1000), (0, 1000), (500, 1000), (7000, 7000), (2**31 - 1, 10_000)])
def test_session_timeouts(server, asked, given):
    one = server()  # a tick is 500 ms: 2 and 20 ticks
    client = wire.Connection(one.ports["client"])
    client.connect(timeout_ms=asked)
    assert client.timeout_ms == given


def test_session_timeout_keys(server):
    one = server(minSessionTimeout=3000, maxSessionTimeout=4000)
    for asked, given in [(1, 3000), (3500, 3500), (60_000, 4000)]:
        client = wire.Connection(one.ports["client"])
        client.connect(timeout_ms=asked)
        assert client.timeout_ms == given


def test_large_requests_have_a_budget(server):
    one = server(largeRequestThreshold=1000, largeRequestMaxBytes=5000)
    client = one.connect()
    client.create("/4000", bytes(4000))
    client.create("/900", bytes(900))
    client.create("/again", bytes(4000))
    with pytest.raises(wire.Closed):
        client.create("/6000", bytes(6000))
    assert metric(one, "large_requests_rejected") == 1


def test_quotas_are_measured_by_their_first_name(server):
    one = server(enforceQuota="true")
    assert not [name for name in one.mntr() if "namespace" in name and "quota" in name]
    client = one.connect()
    for path in ("/q", "/q/a", "/q/b", "/free"):
        client.create(path, b"12")
    for over, limits in (("/q/a", b"count=9,bytes=70=;countHardLimit=1"), ("/q/b", b"count=4,bytes=-1")):
        path = "/zookeeper/quota"
        for name in over.split("/")[1:]:
            path += f"/{name}"
            if wire.error_code(client.exists, path):
                client.create(path)
        client.create(f"{path}/zookeeper_limits", limits)
        client.create(f"{path}/zookeeper_stats", b"count=0,bytes=0")
    for _ in range(3):
        assert wire.error_code(client.create, "/q/a/more") == QUOTA_EXCEEDED
    client.create("/q/b/more", b"345")
    measured = {name: value for name, value in one.mntr().items() if name.startswith("q_")}
    assert {name: float(value) for name, value in measured.items()} == {
        "q_quota_count_limit_per_namespace": 1 + 4,
        "q_quota_bytes_limit_per_namespace": 70 - 1,
        "q_quota_count_usage_per_namespace": 1 + 2,
        "q_quota_bytes_usage_per_namespace": 2 + 5,
        "q_quota_exceeded_error_per_namespace": 3,
    }


WRITES = 200


def send_at_once(client, names):
    """Creates of these znodes, and a read behind them, in one piece."""
    payloads = [wire.header(xid, wire.CREATE) + wire.create_body(f"/{name}") for xid, name in enumerate(names, 1)]
    payloads.append(wire.header(len(names) + 1, wire.GET_CHILDREN) + wire.path_watch("/"))
    client.socket.sendall(b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads))


def errors(client, count):
    """Of the replies to that, in order."""
    found = []
    for xid in range(1, count + 1):
        try:
            client.reply(xid)
            found.append(0)
        except wire.ServerError as error:
            found.append(error.code)
    return found


def test_writes_in_work_have_a_limit(server):
    one = server(request_throttle_max_requests=2)
    clients = [one.connect() for _ in range(5)]
    for i, client in enumerate(clients):
        send_at_once(client, [f"n{i}-{j}" for j in range(WRITES)])
    for client in clients:
        assert errors(client, WRITES + 1) == [0] * (WRITES + 1)
    assert metric(one, "request_throttle_wait_count") > 0
    assert metric(one, "max_sync_processor_batch_size") <= 2
    assert metric(one, "throttled_ops") == 0


def test_who_waits_for_too_long_is_refused(server):
    one = server(request_throttle_max_requests=1, throttled_op_wait_time=5)
    client = one.connect()
    client.create("/first")
    names = [f"n{i}" for i in range(WRITES)]
    send_at_once(client, names)
    found = errors(client, WRITES + 1)
    assert set(found) == {0, wire.THROTTLED_OP} and found[0] == 0
    assert metric(one, "throttled_ops") == found.count(wire.THROTTLED_OP)
    done = {name for name, error in zip(names, found) if not error}
    assert set(client.children("/")) == {"zookeeper", "first"} | done
    client.ping()
    assert one.connect().create("/other") == "/other", "the place is kept by who was refused"


def test_who_waits_and_goes_leaves_nothing(server):
    one = server(request_throttle_max_requests=1)
    stays = one.connect()
    for round_ in range(3):
        goes = one.connect()
        for i in range(WRITES):
            goes.send(wire.CREATE, wire.create_body(f"/{round_}-{i}"))
        goes.drop()
    assert stays.create("/after") == "/after"
    assert metric(one, "stale_requests_dropped") > 0


def test_the_longest_frame(server):
    one = server()
    client = one.connect()
    client.create("/n", b"")
    # setData: header 8, path 4 + 2, length 4, version 4; the limit is 0xfffff and inclusive.
    room = 0xFFFFF - 8 - 6 - 4 - 4
    client.request(wire.SET_DATA, wire.set_body("/n", bytes(room)))
    with pytest.raises(wire.Closed):
        client.request(wire.SET_DATA, wire.set_body("/n", bytes(room + 1)))
    assert not refused(one)


def test_connect_requests_of_old_clients(server):
    one = server()
    client = wire.Connection(one.ports["client"])
    response = client.connect(read_only=None)
    assert len(response) == 36 and client.session
    client.ping()
    again = wire.Connection(one.ports["client"])
    response = again.connect(session=client.session, passwd=client.passwd, read_only=None)
    assert len(response) == 36 and again.session == client.session
    wrong = wire.Connection(one.ports["client"])
    response = wrong.connect(session=client.session, passwd=bytes(16), read_only=None)
    assert len(response) == 36 and wrong.session == 0 and wrong.timeout_ms == 0
    assert wrong.closed_by_server()


def test_a_session_lives_while_its_write_waits(ensemble, peer):
    """The client pings all the time; that its pings stand behind a write is no fault of its own."""
    three = ensemble({1: peer, 2: peer, 3: peer})
    client = three[3].connect(timeout_ms=1500)
    client.create("/e", flags=wire.EPHEMERAL)
    for follower in (three[1], three[2]):
        follower.freeze()
    write = client.send(wire.SET_DATA, wire.set_body("/e", b"late"))
    for _ in range(14):
        time.sleep(0.25)
        client.send(wire.PING, b"", wire.PING_XID)
    for follower in (three[1], three[2]):
        follower.thaw()
    client.reply(write)
    for _ in range(14):
        client.reply(wire.PING_XID)
    assert client.get("/e")[0] == b"late"
