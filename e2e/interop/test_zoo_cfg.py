"""The same zoo.cfg starts both kinds of server: odd values that Apache ZooKeeper takes, and those that it refuses.

The keys come from the server's own catalogue, so that a key that nobody has compared fails here.
"""

import csv
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wire
from harness import KINDS, ROOT, free_ports, java_class_path, quorate_binary, wait_until

INVALID_ACL = -114
VERDICTS = Path(__file__).parent / "zoo_cfg" / "Verdicts.java"


def catalogue(*states):
    """The keys of the server's catalogue in these states: "taken", "off" (only the default is allowed) or "ignored"."""
    with (ROOT / "operator/src/zoo_cfg_keys.tsv").open() as table:
        return [row[0] for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE) if row[1] in states]


# Each is corrected, ignored or decoded by Apache ZooKeeper 3.9.4; all together are one zoo.cfg.
ODD = {
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

# All others of the catalogue that have an effect, with a value that means something.
ORDINARY = {
    "jute.maxbuffer": "100",
    "maxSessionTimeout": "60000",
    "quorumListenOnAllIPs": "true",
    "electionAlg": "3",
    "peerType": "participant",
    "standaloneEnabled": "true",
    "leaderConnectDelayDuringRetryMs": "50",
    "cnxTimeout": "3000",
    "electionPortBindRetry": "2",
    "fastleader.minNotificationInterval": "100",
    "fastleader.maxNotificationInterval": "30000",
    "nio.sessionlessCnxnTimeout": "5000",
    "throttled_op_wait_time": "1000",
    "largeRequestMaxBytes": "1000000",
    "connection_throttle_tokens": "100",
    "connection_throttle_fill_time": "10",
    "connection_throttle_fill_count": "2",
    "connection_throttle_freeze_time": "100",
    "connection_throttle_drop_decrease": "0.01",
    "connection_throttle_decrease_ratio": "0.5",
    "connection_throttle_weight_enabled": "true",
    "connection_throttle_global_session_weight": "4",
    "connection_throttle_renew_session_weight": "2",
    "datadir.autocreate": "true",
    "db.autocreate": "true",
    "jute.maxbuffer.extrasize": "0",
    "DigestAuthenticationProvider.enabled": "true",
    "DigestAuthenticationProvider.digestAlg": "SHA-256",
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
    "enforce.auth.enabled": "false",
    "enforce.auth.schemes": "digest",
    "closeSessionTxn.enabled": "false",
    "znode.container.checkIntervalMs": "1000",
    "znode.container.maxPerMinute": "600",
    "znode.container.maxNeverUsedIntervalMs": "60000",
    "readonlymode.enabled": "true",
    "admin.serverAddress": "127.0.0.1",
    "admin.serverPort": "8085",
    "admin.commandURL": "/told",
    "admin.idleTimeout": "1000",
    "metricsProvider.className": "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "metricsProvider.httpHost": "127.0.0.1",
    "metricsProvider.httpPort": "7005",
}

# In every zoo.cfg of these tests, or with tests of their own.
EVERYWHERE = {
    "tickTime", "dataDir", "dataLogDir", "clientPort", "clientPortAddress", "server.*",
    "4lw.commands.whitelist", "admin.enableServer",
}  # fmt: skip

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
    ("DigestAuthenticationProvider.digestAlg", "many"),
    ("enforce.auth.enabled", "TRUE"),
]

# What is tried with every key.
PROBES = ["", "0", "-1", "7.5", "many", "0x10", "TRUE", "yes", "65536"]


def test_no_key_is_left_out():
    own = {key for key in catalogue("taken") if key.startswith("quorate.")}
    compared = {key.replace(".1", ".*").replace(".2", ".*") for key in ODD} | set(ORDINARY) | EVERYWHERE | own
    assert set(catalogue("taken")) <= compared


@pytest.mark.parametrize("settings", [ODD, ORDINARY], ids=["odd", "ordinary"])
def test_what_the_reference_takes_is_taken(peer, standalone, settings):
    server = standalone(peer, settings=settings).start().wait_serving()
    client = server.connect(30_000)
    client.create("/taken", b"x")
    client.close_session()


def test_odd_values_are_told(standalone):
    server = standalone("quorate", settings=ODD).start().wait_serving()
    client = server.connect(30_000)
    # An unknown scheme guards nothing, so no ACL may name it.
    with pytest.raises(wire.ServerError) as refused:
        client.create("/guarded", b"", acl=[(31, "nosuch", "anybody")])
    assert refused.value.code == INVALID_ACL
    client.close_session()
    said = server.log.read_text()
    for key in ODD.keys() - {"jute.maxbuffer", "initLimit", "syncLimit", "snapSizeLimitInKb"}:
        assert f'key="{key}"' in said, f"no warning names {key}\n{said}"


# Read by Apache ZooKeeper only after its parser, when the part of the server starts that needs them: an
# ensemble, the Prometheus metrics, the admin server, or the classes that guard connections.
READ_LATER = {
    "cnxTimeout",
    "metricsProvider.httpPort",
    "admin.serverPort",
    "connection_throttle_drop_increase",
    "connection_throttle_drop_decrease",
    "connection_throttle_decrease_ratio",
    "DigestAuthenticationProvider.digestAlg",
    "enforce.auth.enabled",
}
# Refused by Apache ZooKeeper; "nothing" is what the key means here anyway.
EMPTY_MEANS_OFF = {("dynamicConfigFile", ""), ("group.1", ""), ("secureClientPort", "")}


def test_every_key_is_refused_for_the_same_values(tmp_path, standalone):
    """Of the keys that must be off, every value but the default is refused here."""
    off = catalogue("off")
    skipped = {"dataDir", "dataLogDir", "clientPortAddress", "server.*"}  # any text: directories, hosts, servers
    keys = [key for key in catalogue("taken") if key not in skipped and not key.startswith("quorate.")]
    cases = [(key.replace("*", "1"), value) for key in keys + off for value in PROBES]
    # A directory that another server uses ends a server once it has read its zoo.cfg.
    holder = standalone("quorate").start().wait_serving()
    base = {"tickTime": 2000, "initLimit": 10, "syncLimit": 5, "dataDir": holder.data_dir, "clientPort": 2181}
    files = []
    for number, (key, value) in enumerate(cases):
        files.append(tmp_path / f"{number}.cfg")
        files[-1].write_text("".join(f"{key}={value}\n" for key, value in {**base, key: value}.items()))
    theirs = verdicts_of_the_reference(files)
    with ThreadPoolExecutor(2) as pool:
        ours = list(pool.map(verdict, files))
    stricter, laxer = set(), set()
    for (key, value), their, own in zip(cases, theirs, ours, strict=True):
        if (their, own) == ("taken", "refused"):
            stricter.add(key)
        elif their != own:
            laxer.add((key, value))
    assert laxer == EMPTY_MEANS_OFF
    assert stricter - {key.replace("*", "1") for key in off} == READ_LATER


def verdicts_of_the_reference(files):
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dquorate.reference.level=OFF"]
    run = subprocess.run(
        [*command, "-cp", java_class_path(), str(VERDICTS)],
        input="".join(f"{file}\n" for file in files),
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()


def verdict(file):
    run = subprocess.run([quorate_binary(), "server", "--config", str(file)], capture_output=True, timeout=60)
    return {2: "refused", 4: "taken"}.get(run.returncode, "nonsense")


@pytest.mark.parametrize("key, value", REFUSED)
def test_what_the_reference_refuses_is_refused(peer, tmp_path, key, value):
    server = KINDS[peer](tmp_path, {"client": free_ports(1)[0]}, settings={key: value}).start()
    wait_until(lambda: not server.running(), 20, server.log.read_text)
    assert server.process.returncode not in (0, None)
    if peer == "quorate":
        assert server.process.returncode == 2
        assert f"{key}={value} " in server.log.read_text()
