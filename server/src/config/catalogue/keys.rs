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
    Taken "clientPortListenBacklog" Nearest(-1, 65_535), "-1", "connections that wait to be accepted; -1 for 1024";
    Taken "standaloneEnabled" Switch, "true", "false: a single voter runs the quorum protocol, too";
    Taken "quorumListenOnAllIPs" Switch, "false", "listen for peers on all addresses instead of the own host's";
    Taken "electionAlg" Int(3, 3), "3", "the one algorithm that is left";
    Taken "peerType" OneOf(&["participant"]), "participant", "observers are planned";
    Taken "server.*" Text, "", "`host:quorumPort:electionPort[:participant][;[clientHost:]clientPort]`, N from 0 to 255, IPv6 in brackets";
    Taken "quorate.workerThreads" Int(0, 1024), "0", "threads of the network; 0: one on up to two cores, else one a core";
    Taken "quorate.log" Text, "info", "what is logged: a level, or `target=level` pairs; `--log` and `QUORATE_LOG` go first";
    Taken "quorate.logFormat" OneOf(&["text", "json"]), "text", "how log lines look; `--log-format` and `QUORATE_LOG_FORMAT` go first";

    // Between servers.
    Taken "connectToLearnerMasterLimit" Nearest(0, 1_000_000), "0", "ticks for reaching a leader; 0: `initLimit` bounds this, too";
    Taken "leaderConnectDelayDuringRetryMs" Property(1, 3_600_000), "100", "ms between attempts to reach a leader";
    Taken "cnxTimeout" Nearest(1, 3_600_000), "5000", "ms in which an election port must answer";
    Taken "electionPortBindRetry" Property(0, 1_000_000), "3", "how often a port for servers that is taken is tried again, a second apart; 0 for ever";
    Taken "quorate.peerAddresses" OneOf(&["any", "listed"]), "any", "`listed`: servers are taken only from addresses that their hosts in the server lines resolve to; a server with a new address then joins only when the name servers tell it";

    Taken "fastleader.minNotificationInterval" Property(1, 3_600_000), "200", "ms before a vote is sent again; each pause is twice as long as the one before";
    Taken "fastleader.maxNotificationInterval" Property(1, 3_600_000), "60000", "ms of the longest of these pauses";

    // Clients.
    Taken "minSessionTimeout" Nearest(-1, I32_MAX), "-1", "ms; -1 for 2 ticks";
    Taken "maxSessionTimeout" Nearest(-1, I32_MAX), "-1", "ms; -1 for 20 ticks";
    Taken "maxClientCnxns" Nearest(0, 10_000_000), "60", "connections of one address; 0 for any number";
    Taken "maxCnxns" COUNT, "0", "connections of all clients; 0 for any number";
    Taken "nio.sessionlessCnxnTimeout" Property(1, 3_600_000), "10000", "ms in which a connection must ask for a session";
    Taken "clientTcpKeepAlive" Flag, "false", "TCP keep-alive on connections of clients";
    Taken "jute.maxbuffer" Property(1024, 1 << 30), "1048575", "bytes; longest frame of a client";
    Taken "globalOutstandingLimit" Property(1, 1_000_000), "1000", "requests in work above which connections that have some must wait; in an ensemble divided by the other voters";
    Taken "request_throttle_max_requests" COUNT, "0", "writes in work of all connections, above which each waits for its turn, in the order of asking; 0 for any number";
    Taken "throttled_op_wait_time" Property(0, 3_600_000), "0", "ms; a request that waits longer for its turn is refused with ThrottledOp; 0 for never";
    Taken "largeRequestThreshold" Property(-1, 1 << 30), "-1", "bytes from which a request is large; -1 for never";
    Taken "largeRequestMaxBytes" Property(1, 1 << 40), "104857600", "bytes of all large requests in work; one more closes its connection";
    Taken "quorate.clientBacklogMaxBytes" Int(1 << 20, 1 << 40), "268435456", "bytes that may wait because of all clients, in requests, replies and watch events; beyond it the connections with most of them are closed";

    Taken "connection_throttle_tokens" COUNT, "0", "sessions that may be asked for at once; 0 for any number";
    Taken "connection_throttle_fill_time" Property(1, 3_600_000), "1", "ms after which tokens are added";
    Taken "connection_throttle_fill_count" COUNT, "1", "tokens that are added then";
    Taken "connection_throttle_freeze_time" Property(-1, 3_600_000), "-1", "ms between changes of the chance to be refused at random; -1: nobody is";
    Taken "connection_throttle_drop_increase" Decimal(0.0, 1.0), "0.02", "how much that chance grows while there is no token";
    Taken "connection_throttle_drop_decrease" Decimal(0.0, 1.0), "0.002", "how much it falls while hardly a token is missing";
    Taken "connection_throttle_decrease_ratio" Decimal(0.0, 1.0), "0", "share of the tokens that may be missing then";
    Taken "connection_throttle_weight_enabled" Flag, "false", "new and renewed sessions need different numbers of tokens";
    Taken "connection_throttle_global_session_weight" Property(1, 1000), "3", "tokens of a new session; the counts above are multiplied by it";
    Taken "connection_throttle_renew_session_weight" Property(1, 1000), "2", "tokens of a session that lost its connection";

    // Storage.
    Taken "snapCount" Property(2, U32_MAX), "100000", "a snapshot is due after about this many transactions";
    Taken "commitLogCount" Property(500, 1_000_000), "500", "transactions kept in memory for followers that are behind";
    Taken "preAllocSize" Property(0, 2_097_151), "65536", "KiB by which a log grows; 0: by what is written";
    Taken "forceSync" Word(&["yes", "no"]), "yes", "`no`: acknowledge before the log is durable; loses data at a power cut";
    Taken "autopurge.snapRetainCount" Nearest(3, 1_000_000), "3", "snapshots that a purge keeps";
    Taken "autopurge.purgeInterval" Nearest(0, 1_000_000), "0", "hours between purges; 0 for never";

    Taken "snapSizeLimitInKb" Property(-1, U32_MAX), "4194304", "KiB of log after about which a snapshot is due; 0 or less for any number";
    Taken "txnLogSizeLimitInKb" Property(-1, U32_MAX), "-1", "KiB after which a new log file begins; 0 or less for any number";
    Taken "fsync.warningthresholdms" Property(0, 3_600_000), "1000", "ms; a longer sync is logged and counted";
    Taken "snapshot.trust.empty" Flag, "false", "replay logs that have no snapshot, as servers before 3.5 left them";
    Taken "snapshot.compression.method" Choice(&["", "gz", "snappy"]), "", "`gz` or `snappy`: how snapshots are written; all are read";
    Taken "datadir.autocreate" Flag, "true", "make missing directories";
    Taken "db.autocreate" Flag, "true", "false: an empty data directory needs the file `initialize` to count as an empty tree";
    Taken "jute.maxbuffer.extrasize" Property(-1, 1 << 30), "-1", "bytes by which records in files and from peers may exceed `jute.maxbuffer`, at least 1024; -1 for as many again";

    // Who may do what.
    Taken "skipACL" Word(&["yes", "no"]), "no", "`yes`: everybody may do everything";
    Taken "DigestAuthenticationProvider.enabled" Flag, "true", "the scheme `digest`";
    Taken "DigestAuthenticationProvider.digestAlg" OneOf(&["SHA", "SHA1", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"]), "SHA1", "hash of its passwords";
    Taken "DigestAuthenticationProvider.superDigest" Text, "", "`super:` and a hash: who proves it passes every list";
    Taken "authProvider.*" Class(&["org.apache.zookeeper.server.auth.DigestAuthenticationProvider", "org.apache.zookeeper.server.auth.IPAuthenticationProvider"]), "", "class of a scheme; `digest` and `ip` are always supported, any other class cannot be loaded, and identities of its scheme pass no ACL";
    Taken "enforce.auth.enabled" Flag, "false", "every connection must prove one of the schemes below";
    Taken "enforce.auth.schemes" Text, "", "comma list, such as `digest`";

    // Znodes.
    Taken "extendedTypesEnabled" Flag, "false", "znodes may have a time to live";
    Taken "enforceQuota" Flag, "false", "a hard limit in `/zookeeper/quota` refuses writes";
    Taken "closeSessionTxn.enabled" Flag, "true", "the transaction of a closed session lists its ephemerals; one that would get too long never does";
    Taken "znode.container.checkIntervalMs" Property(1, I32_MAX), "60000", "ms between two looks for empty containers and expired znodes";
    Taken "znode.container.maxPerMinute" Property(1, I32_MAX), "10000", "how many of them are deleted in a minute";
    Taken "znode.container.maxNeverUsedIntervalMs" Property(0, 1 << 53), "0", "ms after which a container that never had a child goes; 0 for never";

    // Windows of the operator.
    Taken "4lw.commands.whitelist" Text, "srvr", "comma list of four-letter words, or `*`";
    Taken "readonlymode.enabled" Flag, "false", "`isro` is answered without being listed; a server without a quorum serves nobody yet";
    Taken "admin.enableServer" Flag, "true", "serve the admin port";
    Taken "admin.serverAddress" Text, "0.0.0.0", "host or address of the admin port";
    Taken "admin.serverPort" Port, "8080", "the admin port";
    Taken "admin.commandURL" Text, "/commands", "path of the admin commands";
    Taken "admin.idleTimeout" Property(0, I32_MAX), "30000", "ms after which a silent connection to the admin port is closed; 0 or less for never";
    Taken "metricsProvider.className" Text, "", "`org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider` serves metrics";
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
    Ignored "quorumCnxnTimeoutMs" Text, "", "an election connection may be silent for ever, as with the reference's default";
    Ignored "IPAuthenticationProvider.usexforwardedfor" Text, "", "a proxy's word for an address is never taken";
    Ignored "ensembleAuthName" Text, "", "the scheme `ensemble` is planned; clients that do not name an ensemble do not need it";
    Ignored "superUser*" Text, "", "SASL is planned";
    Ignored "letAnySaslUserDoX" Text, "", "SASL is planned";
    Ignored "SASLAuthenticationProvider.*" Text, "", "SASL is planned";
    Ignored "requireKerberosConfig" Text, "", "SASL is planned";
    Ignored "security.auth_to_local" Text, "", "SASL is planned";
    Ignored "intBufferStartingSizeBytes" Text, "", "it tunes a buffer of the reference";
    Ignored "jmx.*" Text, "", "there is no JMX";
    Ignored "test.*" Text, "", "it is a test aid of the reference";
    Ignored "testingonly.*" Text, "", "it is a test aid of the reference";
    Ignored "emulate353TTLNodes" Text, "", "times to live are always written in the form that 3.5.4 brought";
    Ignored "admin.snapshot.enabled" Text, "", "the command `snapshot` answers that it is off";
    Ignored "admin.restore.enabled" Text, "", "the command `restore` answers that it is off";
    Ignored "admin.rateLimiterIntervalInMS" Text, "", "the commands that it slows down are off";
    Ignored "admin.httpVersion" Text, "", "the admin port speaks HTTP/1.1";
    Ignored "syncEnabled" Text, "", "observers are planned";
    Ignored "observer.*" Text, "", "observers are planned";
    Ignored "observerMaster.*" Text, "", "observers are planned";
    Ignored "quorum.auth.*" Text, "", "SASL is planned";
    Ignored "quorum.cnxn.threads.size" Text, "", "only the reference's SASL handshakes use these threads";
    Ignored "sasl.serverconfig" Text, "", "SASL is planned";
    Ignored "allowSaslFailedClients" Text, "", "SASL is planned";
    Ignored "kerberos.*" Text, "", "SASL is planned";
    Ignored "java.security.auth.login.config" Text, "", "SASL is planned";
    Ignored "audit.impl.class" Text, "", "it belongs to audit.enable";
    Ignored "jvm.pause.*" Text, "", "there is no virtual machine that pauses";
    Ignored "metricsProvider.*" Text, "", "it tunes the reference's metrics library";
    Ignored "serverCnxnFactory" Text, "", "there is one implementation of the client port";
    Ignored "nio.*" Text, "", "it tunes threads and buffers of the reference's client port";
    Ignored "netty.*" Text, "", "it tunes the reference's other client port";
    Ignored "commitProcessor.*" Text, "", "reads need no pool of threads and no queue here";
    Ignored "follower.skipLearnerRequestToNextProcessor" Text, "", "there is no such processor";
    Ignored "forward_learner_requests_to_commit_processor_disabled" Text, "", "there is no such processor";
    Ignored "request_throttler.shutdownTimeout" Text, "", "no queue of requests has to be drained";
    Ignored "maxResponseCacheSize" Text, "", "replies are encoded from the tree at no more than the cost of a cache";
    Ignored "maxGetChildrenResponseCacheSize" Text, "", "replies are encoded from the tree at no more than the cost of a cache";
    Ignored "watchManagerName" Text, "", "one watch table serves few and many watches";
    Ignored "watcherCleanThreadsNum" Text, "", "it tunes the reference's other watch manager";
    Ignored "watcherCleanThreshold" Text, "", "it tunes the reference's other watch manager";
    Ignored "watcherCleanIntervalInSeconds" Text, "", "it tunes the reference's other watch manager";
    Ignored "maxInProcessingDeadWatchers" Text, "", "it tunes the reference's other watch manager";
    Ignored "bitHashCacheSize" Text, "", "it tunes the reference's other watch manager";
    Ignored "flushDelay" Text, "", "a batch is what has queued while the disk was busy; it never waits to fill";
    Ignored "maxWriteQueuePollTime" Text, "", "a batch is what has queued while the disk was busy; it never waits to fill";
    Ignored "maxBatchSize" Text, "", "a batch is what has queued while the disk was busy; it never waits to fill";
    Ignored "leader.maxConcurrentSnapSyncs" Text, "", "a snapshot is sent from memory; followers do not compete for it";
    Ignored "leader.maxConcurrentDiffSyncs" Text, "", "a DIFF is sent from memory; followers do not compete for it";
    Ignored "leader.maxTimeToWaitForEpoch" Text, "", "initLimit bounds the whole of discovery";
    Ignored "leader.ackLoggingFrequency" Text, "", "acknowledgements are logged at debug only";
    Ignored "leader.closeSocketAsync" Text, "", "closing a socket never waits here";
    Ignored "learner.closeSocketAsync" Text, "", "closing a socket never waits here";
    Ignored "learner.asyncSending" Text, "", "sending never waits here";
    Ignored "leader.nodelay" Text, "", "links between servers never wait for more to send";
    Ignored "follower.nodelay" Text, "", "links between servers never wait for more to send";
    Ignored "request_throttle_stall_time" Text, "", "whoever waits is woken when it is its turn";
    Ignored "request_throttle_drop_stale" Text, "", "requests of a connection that has gone are always dropped";
    Ignored "request_stale_connection_check" Text, "", "requests of a connection that has gone are always dropped";
    Ignored "request_stale_latency_check" Text, "", "requests that wait longer than their session's timeout go with the session, which expires";
    Ignored "snapshotSizeFactor" Text, "", "a follower that is too far behind for a DIFF from memory gets a snapshot";
    Ignored "enableEagerACLCheck" Text, "", "a write is checked by the leader alone";
    Ignored "forceSnapshotSync" Text, "", "it is a test aid of the reference";
    Ignored "messageTracker.*" Text, "", "it keeps packets for the reference's error log";
    Ignored "pathStats.*" Text, "", "it logs the reference's most used paths";
    Ignored "X509AuthenticationProvider.*" Text, "", "TLS is planned";
    Ignored "ssl.authProvider" Text, "", "TLS is planned";
    Ignored "digest.enabled" Text, "", "digests are always computed and compared";
    Ignored "serializeLastProcessedZxid.enabled" Text, "", "snapshots always end in their zxid, which older servers ignore";
};

/// Any number for a standalone server, which does not use it; an ensemble needs at least 1.
const TICKS: Kind = Int(i32::MIN as i64, I32_MAX);
const COUNT: Kind = Property(0, 10_000_000);
const I32_MAX: i64 = i32::MAX as i64;
const U32_MAX: i64 = u32::MAX as i64;
