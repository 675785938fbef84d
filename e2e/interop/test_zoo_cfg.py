"""The same zoo.cfg starts both kinds of server: odd values that Apache ZooKeeper takes, and those that it refuses."""

import pytest
import wire
from harness import KINDS, free_ports, wait_until

INVALID_ACL = -114

# Each is corrected, ignored or decoded by Apache ZooKeeper 3.9.4; all together are one zoo.cfg.
TAKEN = {
    "jute.maxbuffer": "0x9fffff",
    "autopurge.snapRetainCount": "1",
    "autopurge.purgeInterval": "-1",
    "maxClientCnxns": "-1",
    "maxCnxns": "-1",
    "globalOutstandingLimit": "-1",
    "commitLogCount": "100",
    "snapCount": "1",
    "preAllocSize": "64M",
    "minSessionTimeout": "-5",
    "initLimit": "0",
    "syncLimit": "-3",
    "connectToLearnerMasterLimit": "-1",
    "clientPortListenBacklog": "-7",
    "fsync.warningthresholdms": "soon",
    "snapSizeLimitInKb": "0x10000",
    "txnLogSizeLimitInKb": "-9",
    "forceSync": "perhaps",
    "skipACL": "YES",
    "clientTcpKeepAlive": "on",
    "enforceQuota": "1",
    "extendedTypesEnabled": "yes",
    "snapshot.trust.empty": "maybe",
    "snapshot.compression.method": "zip",
    "leaderServes": "maybe",
    "observerMasterPort": "-1",
    "admin.portUnification": "maybe",
    "audit.enable": "no",
    "connection_throttle_drop_increase": "7.5",
    "request_throttle_max_requests": "-1",
    "largeRequestThreshold": "-2",
    "authProvider.1": "org.example.NoSuchProvider",
    "authProvider.2": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
}

REFUSED = [
    ("tickTime", "0"),
    ("tickTime", "2s"),
    ("maxClientCnxns", "many"),
    ("minSessionTimeout", "3000000"),
    ("electionAlg", "1"),
    ("standaloneEnabled", "yes"),
    ("sslQuorum", "maybe"),
    ("quorum.auth.enableSasl", "1"),
    ("clientPort", "65536"),
    ("autopurge.purgeInterval", "daily"),
    ("connection_throttle_drop_increase", "much"),
    ("metricsProvider.className", "org.example.NoSuchProvider"),
]


def test_odd_values_that_the_reference_takes(peer, standalone):
    server = standalone(peer, settings=TAKEN).start().wait_serving()
    client = server.connect(30_000)
    client.create("/taken", b"x")
    # An unknown scheme guards nothing, so no ACL may name it.
    with pytest.raises(wire.ServerError) as refused:
        client.create("/guarded", b"", acl=[(31, "nosuch", "anybody")])
    assert refused.value.code == INVALID_ACL
    client.close_session()
    if peer == "quorate":
        said = server.log.read_text()
        for key in TAKEN.keys() - {"jute.maxbuffer", "initLimit", "syncLimit", "snapSizeLimitInKb"}:
            assert f'key="{key}"' in said, f"no warning names {key}\n{said}"


@pytest.mark.parametrize("key, value", REFUSED)
def test_what_the_reference_refuses_is_refused(peer, tmp_path, key, value):
    server = KINDS[peer](tmp_path, {"client": free_ports(1)[0]}, settings={key: value}).start()
    wait_until(lambda: not server.running(), 20, server.log.read_text)
    assert server.process.returncode not in (0, None)
    if peer == "quorate":
        assert server.process.returncode == 2
        assert f"{key}={value} " in server.log.read_text()
