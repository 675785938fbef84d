//! The table (reference: `QuorumPeerConfig`, `ZooKeeperServer` and the classes
//! that read system properties, 3.9.4).

use super::Kind::{
    Choice, Class, Decimal, Flag, Int, Nearest, OneOf, Port, Property, Switch, Text, Word,
};
use super::{Key, Kind, State};

macro_rules! keys {
    ($($state:ident $name:literal $kind:expr, $default:literal, $meaning:literal;)*) => {
        &[$(Key {
            name: $name,
            kind: $kind,
            default: $default,
            state: State::$state,
            meaning: $meaning,
        }),*]
    };
}

/// All keys, in the order of the documents.
pub(in crate::config) const KEYS: &[Key] = keys! {
    // Time and place.
    Taken "tickTime" Int(1, I32_MAX), "3000", "ms; unit of the limits below";
    Taken "initLimit" TICKS, "10", "ticks for finding and catching up with a leader; required in an ensemble";
    Taken "syncLimit" TICKS, "5", "ticks of silence between leader and follower; required in an ensemble";
    Taken "dataDir" Text, "", "snapshots, epoch files, `myid`; required";
    Taken "dataLogDir" Text, "", "transaction logs; `dataDir` where absent";
    Taken "clientPort" Int(0, 65_535), "", "port for clients; required here or in the server line; 0 lets the system choose";
    Taken "clientPortAddress" Text, "", "host or address for clients; all addresses, IPv4 and IPv6, where absent";
    Taken "clientPortListenBacklog" Nearest(-1, 65_535), "-1", "length of the queue of connections that are not accepted yet; -1 for 1024";
    Taken "standaloneEnabled" Switch, "true", "false: a single voter runs the quorum protocol, too";
    Taken "quorumListenOnAllIPs" Switch, "false", "listen for the other servers on all addresses instead of this server's own host";
    Taken "electionAlg" Int(3, 3), "3", "the only supported algorithm";
    Taken "peerType" OneOf(&["participant"]), "participant", "observers are planned";
    Taken "server.*" Text, "", "`host:quorumPort:electionPort[:participant][;[clientHost:]clientPort]`, N from 0 to 255, IPv6 in brackets";
    Taken "quorate.workerThreads" Int(0, 1024), "0", "threads of the network; 0: one on up to two cores, else one a core";
    Taken "quorate.log" Text, "info", "log filter: a level, or `target=level` pairs; `--log` and `QUORATE_LOG` override it";
    Taken "quorate.logFormat" OneOf(&["text", "json"]), "text", "log format; `--log-format` and `QUORATE_LOG_FORMAT` override it";

    // Between servers.
    Taken "connectToLearnerMasterLimit" Nearest(0, 1_000_000), "0", "ticks for connecting to a leader; 0: `initLimit` applies";
    Taken "leaderConnectDelayDuringRetryMs" Property(1, 3_600_000), "100", "ms between attempts to reach a leader";
    Taken "cnxTimeout" Nearest(1, 3_600_000), "5000", "ms to wait for an answer from an election port";
    Taken "electionPortBindRetry" Property(0, 1_000_000), "3", "how often binding the quorum or election port is retried, once a second, while it is in use; 0: without end";
    Taken "quorate.peerAddresses" OneOf(&["any", "listed"]), "any", "`listed`: other servers may connect only from addresses that their hosts in the server lines resolve to; a server with a new address can then join only once DNS has it";

    Taken "fastleader.minNotificationInterval" Property(1, 3_600_000), "200", "ms before a vote is sent again; each pause is twice as long as the one before";
    Taken "fastleader.maxNotificationInterval" Property(1, 3_600_000), "60000", "ms; the longest of these pauses";

    // Clients.
    Taken "minSessionTimeout" Nearest(-1, I32_MAX), "-1", "ms; -1 for 2 ticks";
    Taken "maxSessionTimeout" Nearest(-1, I32_MAX), "-1", "ms; -1 for 20 ticks";
    Taken "maxClientCnxns" Nearest(0, 10_000_000), "60", "connections from one address; 0: no limit";
    Taken "maxCnxns" COUNT, "0", "connections of all clients; 0: no limit";
    Taken "nio.sessionlessCnxnTimeout" Property(1, 3_600_000), "10000", "ms within which a new connection must open a session";
    Taken "clientTcpKeepAlive" Flag, "false", "TCP keep-alive on client connections";
    Taken "jute.maxbuffer" Property(1024, 1 << 30), "1048575", "bytes; the longest request of a client";
    Taken "globalOutstandingLimit" Property(1, 1_000_000), "1000", "outstanding requests above which connections that have some must wait; in an ensemble divided by the number of other voters";
    Taken "request_throttle_max_requests" COUNT, "0", "outstanding writes of all connections above which further writes queue, first come, first served; 0: no limit";
    Taken "throttled_op_wait_time" Property(0, 3_600_000), "0", "ms; a write that queues for longer is refused with ThrottledOp; 0: never";
    Taken "largeRequestThreshold" Property(-1, 1 << 30), "-1", "bytes from which a request counts as large; -1: none does";
    Taken "largeRequestMaxBytes" Property(1, 1 << 40), "104857600", "bytes of all outstanding large requests; a request that would exceed it closes its connection";
    Taken "quorate.clientBacklogMaxBytes" Int(1 << 20, 1 << 40), "134217728", "bytes of requests, replies and watch events that may be queued for all clients together; beyond it the connections with the most are closed";

    Taken "connection_throttle_tokens" COUNT, "0", "size of the token bucket for connect requests; 0: no throttling";
    Taken "connection_throttle_fill_time" Property(1, 3_600_000), "1", "ms between refills of the bucket";
    Taken "connection_throttle_fill_count" COUNT, "1", "tokens added at each refill";
    Taken "connection_throttle_freeze_time" Property(-1, 3_600_000), "-1", "how often, in ms, the random rejection probability is recalculated; -1 disables it";
    Taken "connection_throttle_drop_increase" Decimal(0.0, 1.0), "0.02", "how much that probability grows while the bucket is empty";
    Taken "connection_throttle_drop_decrease" Decimal(0.0, 1.0), "0.002", "how much it falls while the bucket is nearly full";
    Taken "connection_throttle_decrease_ratio" Decimal(0.0, 1.0), "0", "share of the tokens that may be missing from a nearly full bucket";
    Taken "connection_throttle_weight_enabled" Flag, "false", "new and reconnecting sessions take different numbers of tokens";
    Taken "connection_throttle_global_session_weight" Property(1, 1000), "3", "tokens that a new session takes; the numbers of tokens above are multiplied by it";
    Taken "connection_throttle_renew_session_weight" Property(1, 1000), "2", "tokens that a reconnecting session takes";

    // Storage.
    Taken "snapCount" Property(2, U32_MAX), "100000", "a snapshot is due after about this many transactions";
    Taken "commitLogCount" Property(500, 1_000_000), "500", "transactions kept in memory for followers that are behind";
    Taken "preAllocSize" Property(0, 2_097_151), "65536", "KiB by which a log file is extended at a time; 0: only by what is written";
    Taken "forceSync" Word(&["yes", "no"]), "yes", "`no`: acknowledge writes before they are on disk; a power cut then loses data";
    Taken "autopurge.snapRetainCount" Nearest(3, 1_000_000), "3", "snapshots that a purge keeps";
    Taken "autopurge.purgeInterval" Nearest(0, 1_000_000), "0", "hours between purges; 0: never";

    Taken "snapSizeLimitInKb" Property(-1, U32_MAX), "4194304", "a snapshot is due after about this many KiB of log; 0 or less: no limit";
    Taken "txnLogSizeLimitInKb" Property(-1, U32_MAX), "-1", "a new log file begins after this many KiB; 0 or less: no limit";
    Taken "fsync.warningthresholdms" Property(0, 3_600_000), "1000", "ms; a longer sync is logged and counted";
    Taken "snapshot.trust.empty" Flag, "false", "replay logs that have no snapshot, as servers before 3.5 left them";
    Taken "snapshot.compression.method" Choice(&["", "gz", "snappy"]), "", "`gz` or `snappy`: how snapshots are written; all are read";
    Taken "datadir.autocreate" Flag, "true", "create missing directories";
    Taken "db.autocreate" Flag, "true", "false: an empty data directory needs the file `initialize` to count as an empty tree";
    Taken "jute.maxbuffer.extrasize" Property(-1, 1 << 30), "-1", "bytes by which records in files and from other servers may exceed `jute.maxbuffer`, at least 1024; -1: as many as `jute.maxbuffer`";

    // Who may do what.
    Taken "skipACL" Word(&["yes", "no"]), "no", "`yes`: ACLs are not checked";
    Taken "DigestAuthenticationProvider.enabled" Flag, "true", "whether the scheme `digest` is enabled";
    Taken "DigestAuthenticationProvider.digestAlg" OneOf(&["SHA", "SHA1", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"]), "SHA1", "hash of `digest` passwords";
    Taken "DigestAuthenticationProvider.superDigest" Text, "", "`super:` and a password hash; whoever authenticates with it passes every ACL";
    Taken "authProvider.*" Class(&["org.apache.zookeeper.server.auth.DigestAuthenticationProvider", "org.apache.zookeeper.server.auth.IPAuthenticationProvider"]), "", "only the classes of `digest` and `ip`, which are always supported; identities of any other scheme pass no ACL";
    Taken "enforce.auth.enabled" Flag, "false", "every connection must authenticate with one of the schemes below";
    Taken "enforce.auth.schemes" Text, "", "comma-separated list, such as `digest`";

    // Znodes.
    Taken "extendedTypesEnabled" Flag, "false", "znodes may have a time to live";
    Taken "enforceQuota" Flag, "false", "a hard limit in `/zookeeper/quota` refuses writes";
    Taken "closeSessionTxn.enabled" Flag, "true", "whether the transaction that closes a session lists its ephemerals; where it would get too long, it never does";
    Taken "znode.container.checkIntervalMs" Property(1, I32_MAX), "60000", "ms between checks for empty containers and expired znodes";
    Taken "znode.container.maxPerMinute" Property(1, I32_MAX), "10000", "at most this many of them are deleted per minute";
    Taken "znode.container.maxNeverUsedIntervalMs" Property(0, 1 << 53), "0", "ms after which a container that never had a child is deleted; 0: never";

    // Windows of the operator.
    Taken "4lw.commands.whitelist" Text, "srvr", "comma-separated list of enabled four-letter words, or `*`";
    Taken "readonlymode.enabled" Flag, "false", "enables `isro`; serving reads without a quorum is planned";
    Taken "admin.enableServer" Flag, "true", "whether there is an admin port";
    Taken "admin.serverAddress" Text, "0.0.0.0", "host or address of the admin port";
    Taken "admin.serverPort" Port, "8080", "the admin port";
    Taken "admin.commandURL" Text, "/commands", "path of the admin commands";
    Taken "admin.idleTimeout" Property(0, I32_MAX), "30000", "ms after which an idle connection to the admin port is closed; 0 or less: never";
    Taken "metricsProvider.className" Text, "", "`org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider` turns the metrics port on";
    Taken "metricsProvider.httpHost" Text, "0.0.0.0", "host or address of the metrics port";
    Taken "metricsProvider.httpPort" Int(0, 65_535), "7000", "the metrics port";

    // What would weaken its owner's expectation if it were ignored.
    OffOnly "dynamicConfigFile" Text, "", "dynamic reconfiguration is planned; put the server lines of that file into zoo.cfg in its place";
    OffOnly "group.*" Text, "", "hierarchical quorums are planned";
    OffOnly "weight.*" OneOf(&["1"]), "1", "hierarchical quorums are planned";
    OffOnly "oraclePath" Text, "", "an oracle in place of a quorum is unsupported";
    OffOnly "multiAddress.enabled" Switch, "false", "several addresses of one server are planned";
    OffOnly "leaderServes" Word(&["yes", "no"]), "yes", "every leader serves clients";
    OffOnly "observerMasterPort" Nearest(0, 65_535), "0", "observers are planned";
    OffOnly "secureClientPort" OneOf(&["", "0"]), "0", "TLS for clients is planned";
    OffOnly "client.portUnification" Flag, "false", "TLS for clients is planned";
    OffOnly "sslQuorum" Switch, "false", "TLS between servers is planned";
    OffOnly "portUnification" Switch, "false", "TLS between servers is planned";
    OffOnly "quorum.auth.enableSasl" Switch, "false", "SASL is planned";
    OffOnly "quorum.auth.learnerRequireSasl" Switch, "false", "SASL is planned";
    OffOnly "quorum.auth.serverRequireSasl" Switch, "false", "SASL is planned";
    OffOnly "sessionRequireClientSASLAuth" Flag, "false", "SASL is planned";
    OffOnly "audit.enable" Flag, "false", "the audit log is planned";
    OffOnly "admin.portUnification" Flag, "false", "TLS on the admin port is planned";
    OffOnly "admin.forceHttps" Flag, "false", "TLS on the admin port is planned";
    OffOnly "admin.needClientAuth" Flag, "false", "TLS on the admin port is planned";

    // What changes nothing that a client or an operator could rely on.
    Ignored "secureClientPortAddress" Text, "", "TLS for clients is planned";
    Ignored "ssl.*" Text, "", "TLS is planned";
    Ignored "sslQuorumReloadCertFiles" Text, "", "TLS is planned";
    Ignored "client.certReload" Text, "", "TLS is planned";
    Ignored "fips-mode" Text, "", "TLS is planned";
    Ignored "reconfigEnabled" Text, "", "dynamic reconfiguration is planned: a request for it is refused";
    Ignored "localSessionsEnabled" Text, "", "local sessions are planned: every session is known to the ensemble";
    Ignored "localSessionsUpgradingEnabled" Text, "", "local sessions are planned";
    Ignored "connection_throttle_local_session_weight" Text, "", "local sessions are planned";
    Ignored "multiAddress.*" Text, "", "it belongs to multiAddress.enabled";
    Ignored "tcpKeepAlive" Text, "", "connections between servers always notice a host that is gone";
    Ignored "quorumCnxnTimeoutMs" Text, "", "an election connection may be idle for any time, as with Apache ZooKeeper's default";
    Ignored "IPAuthenticationProvider.usexforwardedfor" Text, "", "the address that a proxy passes on is never used";
    Ignored "ensembleAuthName" Text, "", "the scheme `ensemble` is planned; clients that do not name an ensemble do not need it";
    Ignored "superUser*" Text, "", "SASL is planned";
    Ignored "letAnySaslUserDoX" Text, "", "SASL is planned";
    Ignored "SASLAuthenticationProvider.*" Text, "", "SASL is planned";
    Ignored "requireKerberosConfig" Text, "", "SASL is planned";
    Ignored "security.auth_to_local" Text, "", "SASL is planned";
    Ignored "intBufferStartingSizeBytes" Text, "", "it tunes a buffer of Apache ZooKeeper";
    Ignored "jmx.*" Text, "", "there is no JMX";
    Ignored "test.*" Text, "", "it is a test aid of Apache ZooKeeper";
    Ignored "testingonly.*" Text, "", "it is a test aid of Apache ZooKeeper";
    Ignored "emulate353TTLNodes" Text, "", "TTLs are always written in the format of 3.5.4";
    Ignored "admin.snapshot.enabled" Text, "", "the command `snapshot` answers that it is off";
    Ignored "admin.restore.enabled" Text, "", "the command `restore` answers that it is off";
    Ignored "admin.rateLimiterIntervalInMS" Text, "", "the commands that it slows down are off";
    Ignored "admin.httpVersion" Text, "", "the admin port speaks HTTP/1.1";
    Ignored "syncEnabled" Text, "", "observers are planned";
    Ignored "observer.*" Text, "", "observers are planned";
    Ignored "observerMaster.*" Text, "", "observers are planned";
    Ignored "quorum.auth.*" Text, "", "SASL is planned";
    Ignored "quorum.cnxn.threads.size" Text, "", "only Apache ZooKeeper's SASL handshakes use these threads";
    Ignored "sasl.serverconfig" Text, "", "SASL is planned";
    Ignored "allowSaslFailedClients" Text, "", "SASL is planned";
    Ignored "kerberos.*" Text, "", "SASL is planned";
    Ignored "java.security.auth.login.config" Text, "", "SASL is planned";
    Ignored "audit.impl.class" Text, "", "it belongs to audit.enable";
    Ignored "jvm.pause.*" Text, "", "there is no virtual machine that pauses";
    Ignored "metricsProvider.*" Text, "", "it tunes Apache ZooKeeper's metrics library";
    Ignored "serverCnxnFactory" Text, "", "there is one implementation of the client port";
    Ignored "nio.*" Text, "", "it tunes threads and buffers of Apache ZooKeeper's client port";
    Ignored "netty.*" Text, "", "it tunes Apache ZooKeeper's other client port";
    Ignored "commitProcessor.*" Text, "", "reads need neither a thread pool nor a queue";
    Ignored "follower.skipLearnerRequestToNextProcessor" Text, "", "there is no such processor";
    Ignored "forward_learner_requests_to_commit_processor_disabled" Text, "", "there is no such processor";
    Ignored "request_throttler.shutdownTimeout" Text, "", "no queue of requests has to be drained";
    Ignored "maxResponseCacheSize" Text, "", "encoding a reply from the tree costs no more than a cache would";
    Ignored "maxGetChildrenResponseCacheSize" Text, "", "encoding a reply from the tree costs no more than a cache would";
    Ignored "watchManagerName" Text, "", "there is only one watch manager";
    Ignored "watcherCleanThreadsNum" Text, "", "it tunes Apache ZooKeeper's other watch manager";
    Ignored "watcherCleanThreshold" Text, "", "it tunes Apache ZooKeeper's other watch manager";
    Ignored "watcherCleanIntervalInSeconds" Text, "", "it tunes Apache ZooKeeper's other watch manager";
    Ignored "maxInProcessingDeadWatchers" Text, "", "it tunes Apache ZooKeeper's other watch manager";
    Ignored "bitHashCacheSize" Text, "", "it tunes Apache ZooKeeper's other watch manager";
    Ignored "flushDelay" Text, "", "a batch is whatever queued while the disk was busy; no batch waits to be filled";
    Ignored "maxWriteQueuePollTime" Text, "", "a batch is whatever queued while the disk was busy; no batch waits to be filled";
    Ignored "maxBatchSize" Text, "", "a batch is whatever queued while the disk was busy; no batch waits to be filled";
    Ignored "leader.maxConcurrentSnapSyncs" Text, "", "a snapshot is sent from memory; followers do not compete for it";
    Ignored "leader.maxConcurrentDiffSyncs" Text, "", "a DIFF is sent from memory; followers do not compete for it";
    Ignored "leader.maxTimeToWaitForEpoch" Text, "", "initLimit bounds the whole of discovery";
    Ignored "leader.ackLoggingFrequency" Text, "", "acknowledgements are logged at debug only";
    Ignored "leader.closeSocketAsync" Text, "", "closing a socket never blocks";
    Ignored "learner.closeSocketAsync" Text, "", "closing a socket never blocks";
    Ignored "learner.asyncSending" Text, "", "sending never blocks";
    Ignored "leader.nodelay" Text, "", "connections between servers always use TCP_NODELAY";
    Ignored "follower.nodelay" Text, "", "connections between servers always use TCP_NODELAY";
    Ignored "request_throttle_stall_time" Text, "", "a queued request continues as soon as it may";
    Ignored "request_throttle_drop_stale" Text, "", "requests of a closed connection are always dropped";
    Ignored "request_stale_connection_check" Text, "", "requests of a closed connection are always dropped";
    Ignored "request_stale_latency_check" Text, "", "requests that wait longer than their session's timeout are dropped when the session expires";
    Ignored "snapshotSizeFactor" Text, "", "a follower that is too far behind for a DIFF from memory gets a snapshot";
    Ignored "enableEagerACLCheck" Text, "", "a write is checked by the leader alone";
    Ignored "forceSnapshotSync" Text, "", "it is a test aid of Apache ZooKeeper";
    Ignored "messageTracker.*" Text, "", "it keeps packets for Apache ZooKeeper's error log";
    Ignored "pathStats.*" Text, "", "it logs Apache ZooKeeper's most used paths";
    Ignored "X509AuthenticationProvider.*" Text, "", "TLS is planned";
    Ignored "ssl.authProvider" Text, "", "TLS is planned";
    Ignored "digest.enabled" Text, "", "digests are always computed and compared";
    Ignored "serializeLastProcessedZxid.enabled" Text, "", "snapshots always end with their zxid, which older servers ignore";
};

/// Any number for a standalone server, which does not use it; an ensemble needs at least 1.
const TICKS: Kind = Int(i32::MIN as i64, I32_MAX);
const COUNT: Kind = Property(0, 10_000_000);
const I32_MAX: i64 = i32::MAX as i64;
const U32_MAX: i64 = u32::MAX as i64;
