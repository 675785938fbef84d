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
    let text = format!("{THREE}nonsense=1\nzookeeper.nio.directBufferBytes=9");
    let warnings = read(&text).unwrap().warnings;
    let named: Vec<_> = warnings.iter().map(|it| (&*it.key, it.line)).collect();
    assert_eq!(
        named,
        [("nonsense", 9), ("zookeeper.nio.directBufferBytes", 10)]
    );
    assert_eq!(warnings[0].reason, "it is unknown");
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
