use zk_core::auth::IDS_WIRE_BYTES_MAX;

use super::*;

fn read(text: &str) -> Result<Loaded, ConfigError> {
    ServerConfig::read(Path::new("zoo.cfg"), text, Some(Sid(2)))
}

fn message(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const THREE: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/data\nclientPort=2181\n\
    server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";

#[test]
fn the_operators_file_is_read() {
    let text = format!(
        "{THREE}quorumListenOnAllIPs=true\nadmin.serverPort=8080\n4lw.commands.whitelist=srvr, ruok,mntr\n\
         metricsProvider.className={PROMETHEUS_PROVIDER}\nmetricsProvider.httpPort=7000\n"
    );
    let Loaded { config, warnings } = read(&text).unwrap();
    assert_eq!(warnings, []);
    assert_eq!((config.sid, config.standalone), (Sid(2), false));
    assert_eq!(config.ensemble.members.len(), 3);
    assert_eq!(
        (config.tick_ms, config.init_limit, config.sync_limit),
        (2000, 10, 5)
    );
    assert_eq!(
        (config.session_timeout_min_ms, config.session_timeout_max_ms),
        (4000, 40_000)
    );
    assert_eq!(config.data_log_dir, Path::new("/data"));
    assert_eq!(config.frame_bytes_max, 1_048_575);
    assert_eq!(config.metrics.as_ref().unwrap().port, 7000);
    assert!(config.commands.allows("mntr") && config.commands.allows("ruok"));
    assert!(!config.commands.allows("stat"));
    assert!(config.quorum_listen_on_all_addresses && config.force_sync);
}

#[test]
fn one_voter_stands_alone_unless_told_otherwise() {
    let one = "dataDir=/d\nclientPort=1\n";
    let config = read(one).unwrap().config;
    assert!(config.standalone);
    assert_eq!((config.tick_ms, config.ensemble.members.len()), (3000, 1));
    let listed = "dataDir=/d\nserver.2=a:1:2;2181\n";
    let config = read(listed).unwrap().config;
    assert_eq!((config.standalone, config.client_port), (true, 2181));
    let text = format!("{listed}standaloneEnabled=false\ninitLimit=1\nsyncLimit=1\n");
    assert!(!read(&text).unwrap().config.standalone);
}

#[test]
fn both_spellings_of_properties_are_taken() {
    for text in [
        "zookeeper.snapCount=7\njute.maxbuffer=4096",
        "snapCount=7\nzookeeper.jute.maxbuffer=4096",
    ] {
        let config = read(&format!("{THREE}{text}")).unwrap().config;
        assert_eq!((config.snap_count, config.frame_bytes_max), (7, 4096));
    }
}

#[test]
fn a_leader_reads_what_its_learners_forward_whatever_the_limits_are() {
    for limits in [
        "",
        "jute.maxbuffer=100",
        "jute.maxbuffer.extrasize=0",
        "jute.maxbuffer=20000\njute.maxbuffer.extrasize=0",
        "jute.maxbuffer=5000000\njute.maxbuffer.extrasize=100",
    ] {
        let config = read(&format!("{THREE}{limits}")).unwrap().config;
        let max = config.storage.request_bytes_max();
        // Session and cxid stand where the frame has only its xid.
        assert!(max >= config.frame_bytes_max + 8, "{limits}: {max}");
        assert!(max >= IDS_WIRE_BYTES_MAX, "{limits}: {max}");
    }
}

#[test]
fn lists_of_closed_sessions_are_turned_off_by_their_key() {
    for (line, want) in [
        ("", true),
        ("closeSessionTxn.enabled=false", false),
        ("zookeeper.closeSessionTxn.enabled=FALSE", false),
        ("closeSessionTxn.enabled=true", true),
    ] {
        let config = read(&format!("{THREE}{line}")).unwrap().config;
        assert_eq!(config.znodes.close_session_lists, want, "{line}");
    }
}

#[test]
fn keys_without_effect_are_named() {
    let text = format!("{THREE}nonsense=1\nzookeeper.nio.directBufferBytes=9\ntikTime=5");
    let warnings = read(&text).unwrap().warnings;
    let named: Vec<_> = warnings.iter().map(|it| (&*it.key, it.line)).collect();
    assert_eq!(
        named,
        [
            ("nonsense", 9),
            ("zookeeper.nio.directBufferBytes", 10),
            ("tikTime", 11)
        ]
    );
    assert_eq!(warnings[0].reason, "it is unknown");
    let want = "it is unknown; the nearest key is tickTime";
    assert_eq!(warnings[2].reason, want);
}

#[test]
fn errors_name_file_line_key_and_what_is_allowed() {
    for (line, want) in [
        (
            "tickTime=fast",
            "zoo.cfg:9: tickTime=fast must be a whole number from 1 to 2147483647",
        ),
        (
            "server.x=a:1:2",
            "zoo.cfg:9: server.x=a:1:2 has the server id \"x\"; allowed is 0 to 255",
        ),
        (
            "server.4=a:1:1",
            "zoo.cfg:9: server.4=a:1:1 must have different ports for quorum and election",
        ),
        (
            "quorumListenOnAllIPs=maybe",
            "zoo.cfg:9: quorumListenOnAllIPs=maybe must be true or false",
        ),
        (
            "dynamicConfigFile=f",
            "zoo.cfg:9: dynamicConfigFile=f must be absent: dynamic reconfiguration is planned; put the server lines of that file into zoo.cfg in its place",
        ),
        (
            "sslQuorum=true",
            "zoo.cfg:9: sslQuorum=true must be false: TLS between servers is planned",
        ),
        (
            "minSessionTimeout=50000",
            "zoo.cfg:9: minSessionTimeout=50000 makes the range of session timeouts empty: 50000 to 40000 ms",
        ),
        ("a=\\uzzzz", "zoo.cfg:9: \\u needs four hexadecimal digits"),
    ] {
        assert_eq!(message(&format!("{THREE}{line}\n")), want);
    }
    assert_eq!(
        message("server.1=a:1:2\nserver.2=b:1:2\ndataDir=/d\nclientPort=1"),
        "zoo.cfg: initLimit is missing: every server of an ensemble needs it, in ticks"
    );
    assert!(message("clientPort=1").starts_with("zoo.cfg: dataDir is missing"));
    assert!(message("dataDir=/d").starts_with("zoo.cfg: clientPort is missing"));
    assert_eq!(
        message("dataDir=/d\nclientPort=2\nserver.2=a:1:2;3"),
        "zoo.cfg:2: clientPort=2 disagrees with the 3 of server.2"
    );
}

#[test]
fn the_myid_file_must_name_a_listed_server() {
    let dir = tempfile::tempdir().unwrap();
    let text = THREE.replace("/data", &dir.path().display().to_string());
    let load = || ServerConfig::read(Path::new("zoo.cfg"), &text, None);
    assert!(
        load()
            .unwrap_err()
            .to_string()
            .contains("cannot read this server's id")
    );
    for (content, want) in [
        ("x\n", "holds \"x\"; allowed is a number"),
        ("9\n", "holds 9, but zoo.cfg has no server.9 line"),
    ] {
        fs::write(dir.path().join("myid"), content).unwrap();
        assert!(load().unwrap_err().to_string().ends_with(want));
    }
    fs::write(dir.path().join("myid"), "3\n").unwrap();
    assert_eq!(load().unwrap().config.sid, Sid(3));
}

/// The only warning about these lines, which follow eight.
fn reason(lines: &str) -> (usize, String) {
    let warnings = read(&format!("{THREE}{lines}")).unwrap().warnings;
    match <[Warning; 1]>::try_from(warnings) {
        Ok([warning]) => (warning.line, warning.reason),
        Err(warnings) => panic!("{lines}: {warnings:?}"),
    }
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    for (lines, line, want) in [
        (
            "server.1=d:2888:3888",
            6,
            "line 9 gives it again, and the last one is used",
        ),
        ("zookeeper.tickTime=7", 1, "line 9 gives it again"),
        (
            "server.4=A:2888:3889",
            9,
            "it has the address of server.1 in line 6",
        ),
        (
            "server.4=a:3888:5",
            9,
            "it has the address of server.1 in line 6",
        ),
        (
            "DigestAuthenticationProvider.superDigest=super:secret",
            9,
            "`quorate digest` prints",
        ),
        (
            "DigestAuthenticationProvider.superDigest=secret",
            9,
            "nobody can be the super user",
        ),
        (
            "DigestAuthenticationProvider.digestAlg=SHA-256\n\
             DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=",
            10,
            "the SHA-256 hash",
        ),
        (
            "4lw.commands.whitelist=srvr, ruokk,stats",
            9,
            "no such four-letter word: ruokk, stats",
        ),
        (
            "admin.serverPort=2181",
            5,
            "2181 is admin.serverPort of this server, too",
        ),
        (
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
             metricsProvider.httpPort=2181",
            5,
            "2181 is metricsProvider.httpPort of this server, too",
        ),
        (
            "authProvider.1=org.example.Kerberos",
            9,
            "org.example.Kerberos cannot be loaded: only the classes of",
        ),
    ] {
        let (found, reason) = reason(lines);
        assert!(
            found == line && reason.contains(want),
            "{lines}: {found} {reason}"
        );
    }
    let text = THREE.replace("server.2=b:2888", "server.2=b:2181");
    let reason = &read(&text).unwrap().warnings[0].reason;
    assert!(reason.contains("2181 is the quorum port"), "{reason}");
    for lines in [
        "DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=",
        "DigestAuthenticationProvider.superDigest=",
        "server.4=a:2889:3889",
        "4lw.commands.whitelist=*",
        "admin.enableServer=false\nadmin.serverPort=2181",
        "clientPortAddress=10.0.0.1\nadmin.serverAddress=10.0.0.2\nadmin.serverPort=2181",
        "metricsProvider.httpPort=2181",
    ] {
        let warnings = read(&format!("{THREE}{lines}")).unwrap().warnings;
        assert_eq!(warnings, [], "{lines}");
    }
}

#[test]
fn addresses_in_brackets_and_marks_of_editors_are_taken() {
    let text = format!("{THREE}clientPortAddress=[::1]\nadmin.serverAddress=[::1]");
    let config = read(&text).unwrap().config;
    assert_eq!(config.client_address.as_deref(), Some("::1"));
    assert_eq!(config.admin.unwrap().address.host, "::1");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let bytes = b"\xef\xbb\xbftickTime=7\ndataDir=d\nclientPort=1";
    fs::write(&file, bytes).unwrap();
    let loaded = ServerConfig::load(&file).unwrap();
    assert_eq!((loaded.config.tick_ms, loaded.warnings), (7, vec![]));
    for mark in [[0xff, 0xfe], [0xfe, 0xff]] {
        fs::write(&file, mark).unwrap();
        let refused = ServerConfig::load(&file).unwrap_err().to_string();
        assert!(refused.ends_with("zoo.cfg:1: the file is text in UTF-16; save it as UTF-8"));
    }
}

#[test]
fn a_server_that_is_told_its_id_must_be_listed_also_alone() {
    let text = "dataDir=/d\nclientPort=1\nserver.1=a:1:2";
    let refused = message(text);
    let want = "zoo.cfg: no server.2 line for this server, whose id is 2";
    assert!(refused.starts_with(want), "{refused}");
    read(&text.replace("server.1", "server.2")).unwrap();
}

#[test]
fn what_the_command_line_makes_up_is_named_by_its_flag() {
    let refused = |text: &str| {
        let read = ServerConfig::read(Path::new(super::super::EMBEDDED), text, None);
        read.unwrap_err().to_string()
    };
    let want = "--set: tickTime=fast must be a whole number";
    assert!(refused("dataDir=/d\nclientPort=1\ntickTime=fast").starts_with(want));
    assert!(refused("dataDir=/d").starts_with("--set: clientPort is missing"));
}
