//! Quotas: what is used, as the znodes of the quota say it, and what a limit
//! refuses. The texts are those of a running Apache ZooKeeper 3.9.4.

mod leader;

use leader::{Leader, create, create_with, delete, multi, set};
use zk_core::auth::AuthConfig;
use zk_core::config::ZnodeConfig;
use zk_core::request::Reply;
use zk_core::tree::Tree;
use zk_proto::client::{Acl, CreateRequest, ErrorCode, MultiResult, OpCode};
use zk_proto::txn::{Txn, decode_txn};

fn text(leader: &Leader, path: &str) -> String {
    let data = leader.tree.znode(path).unwrap().data().unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

fn used(leader: &Leader, of: &str) -> String {
    text(leader, &format!("/zookeeper/quota{of}/zookeeper_stats"))
}

fn create_data(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    CreateRequest {
        path: path.into(),
        data: Some(data),
        acl: Some(vec![Acl::open()]),
        flags: 0,
    }
    .write(&mut body);
    body
}

/// As the command line client sets a quota.
fn limit(leader: &mut Leader, of: &str, limits: &str) {
    let mut path = "/zookeeper/quota".to_owned();
    for name in of.split('/').skip(1) {
        path = format!("{path}/{name}");
        leader.run(OpCode::Create, create_data(&path, b""));
    }
    for (name, text) in [
        ("zookeeper_limits", limits),
        ("zookeeper_stats", "count=0,bytes=0"),
    ] {
        let body = create_data(&format!("{path}/{name}"), text.as_bytes());
        assert_eq!(leader.run(OpCode::Create, body).err, 0);
    }
}

fn enforcing() -> Leader {
    let znodes = ZnodeConfig {
        enforce_quota: true,
        ..ZnodeConfig::default()
    };
    Leader::with(AuthConfig::default(), znodes)
}

#[test]
fn what_is_used_is_counted_in_place() {
    let mut leader = Leader::new();
    for (path, data) in [("/a", "12345"), ("/a/b", "123"), ("/c", "1")] {
        leader.run(OpCode::Create, create_data(path, data.as_bytes()));
    }
    limit(&mut leader, "/a", "count=5,bytes=-1");
    assert_eq!(used(&leader, "/a"), "count=2,bytes=8");
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    let stat = *leader.tree.znode(stats).unwrap().stat_persisted();
    let digest = leader.tree.digest();

    leader.run(OpCode::Create, create_data("/a/b/c", b"22"));
    assert_eq!(used(&leader, "/a"), "count=3,bytes=10");
    leader.run(OpCode::SetData, set("/a", None, -1));
    assert_eq!(used(&leader, "/a"), "count=3,bytes=5");
    leader.run(OpCode::SetData, set("/a/b", Some(b"1234"), -1));
    leader.run(OpCode::SetData, set("/c", Some(b"1234"), -1));
    assert_eq!(used(&leader, "/a"), "count=3,bytes=6");
    leader.run(OpCode::Delete, delete("/a/b/c", -1));
    assert_eq!(used(&leader, "/a"), "count=2,bytes=4");
    leader.run(OpCode::Create, create("/a/ephemeral", 1));
    leader.run(OpCode::CloseSession, vec![]);
    assert_eq!(used(&leader, "/a"), "count=2,bytes=4");

    assert_eq!(*leader.tree.znode(stats).unwrap().stat_persisted(), stat);
    assert_ne!(leader.tree.digest(), digest);
    assert_eq!(leader.tree.znode(stats).unwrap().digest(), 0);
}

#[test]
fn the_longest_path_with_limits_counts_alone() {
    let mut leader = Leader::new();
    for path in ["/a", "/a/b", "/ab"] {
        leader.run(OpCode::Create, create_data(path, b"1"));
    }
    limit(&mut leader, "/a", "count=1,bytes=1");
    limit(&mut leader, "/a/b", "count=1,bytes=1");
    assert_eq!(
        leader.tree.quota_paths().collect::<Vec<_>>(),
        ["/a", "/a/b"]
    );
    leader.run(OpCode::Create, create_data("/a/b/c", b"1"));
    leader.run(OpCode::Create, create_data("/ab/c", b"1"));
    assert_eq!(used(&leader, "/a"), "count=2,bytes=2");
    assert_eq!(used(&leader, "/a/b"), "count=2,bytes=2");
    let gone = delete("/zookeeper/quota/a/b/zookeeper_limits", -1);
    leader.run(OpCode::Delete, gone);
    assert_eq!(leader.tree.quota_over("/a/b/c"), Some("/a"));
    assert_eq!(leader.tree.quota_over("/ab"), None);
    leader.run(OpCode::Create, create_data("/a/b/d", b"1"));
    assert_eq!(used(&leader, "/a"), "count=3,bytes=3");
    assert_eq!(used(&leader, "/a/b"), "count=2,bytes=2");
}

/// Each of them makes every server count the whole subtree.
#[test]
fn large_subtrees_are_counted_only_now_and_then() {
    let mut leader = Leader::new();
    leader.run(OpCode::Create, create("/a", 0));
    for n in 0..9_999 {
        leader.run(OpCode::Create, create(&format!("/a/{n}"), 0));
    }
    leader.run(OpCode::Create, create("/zookeeper/quota/a", 0));
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    let throttled = ErrorCode::ThrottledOp.code();
    let again = |leader: &mut Leader| -> usize {
        let mut is_throttled = |_: &usize| {
            let error = leader.error(OpCode::Create, create(stats, 0));
            leader.apply_all();
            if error == 0 {
                leader.run(OpCode::Delete, delete(stats, -1));
            }
            error == throttled
        };
        (0..300).position(|n| is_throttled(&n)).unwrap()
    };
    assert_eq!(again(&mut leader), 200, "two million znodes");
    leader.time_ms += 49;
    assert_eq!(again(&mut leader), 1, "what is left pays for one");
    leader.time_ms += 50;
    assert_eq!(again(&mut leader), 1);
    leader.time_ms += 1_000_000_000;
    assert_eq!(again(&mut leader), 200, "no more than at first");
    // A clock that is set back keeps nobody out for longer.
    leader.time_ms -= 900_000_000;
    assert_eq!(again(&mut leader), 0);
    leader.time_ms += 10_000;
    assert_eq!(again(&mut leader), 200);
    // Nobody else is kept out.
    leader.run(OpCode::Create, create("/b", 0));
    let error = leader.error(OpCode::Create, create("/zookeeper/quota/a/b", 0));
    assert_eq!(error, 0);
    leader.apply_all();
}

/// A subtree that stands in the same batch is counted when that is applied.
#[test]
fn znodes_that_are_outstanding_cost_as_much() {
    let mut leader = Leader::new();
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    let mut ops = vec![
        (OpCode::Create, create("/zookeeper/quota/a", 0)),
        (OpCode::Create, create("/a", 0)),
    ];
    let znodes = (0..9_998).map(|n| (OpCode::Create, create(&format!("/a/{n}"), 0)));
    ops.extend(znodes);
    for _ in 0..300 {
        ops.push((OpCode::Create, create(stats, 0)));
        ops.push((OpCode::Delete, delete(stats, -1)));
    }
    let entry = leader.propose(OpCode::Multi, multi(&ops));
    let Txn::Multi(txns) = decode_txn(&entry.data).unwrap().1 else {
        panic!("a batch");
    };
    let throttled = Txn::Error(ErrorCode::ThrottledOp.code());
    let at = txns.iter().position(|txn| *txn == throttled).unwrap();
    assert!((10_390..10_410).contains(&at), "{at}: two hundred counts");
}

#[test]
fn quotas_inside_quotas_are_counted_alike_when_they_are_loaded() {
    let mut leader = Leader::new();
    for path in ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/x", "/ab"] {
        leader.run(OpCode::Create, create_data(path, path.as_bytes()));
    }
    for path in ["/a/b", "/a", "/a/b/c/d", "/ab", "/a/b/none"] {
        limit(&mut leader, path, "count=1,bytes=1");
    }
    let all = ["/a", "/a/b", "/a/b/c/d", "/ab", "/a/b/none"];
    let before = all.map(|path| used(&leader, path));
    assert_eq!(before[0], "count=5,bytes=24");
    assert_eq!(before[1], "count=3,bytes=18");
    leader.tree = Tree::from_image(&leader.tree.image(), leader.tree.last_zxid()).unwrap();
    assert_eq!(all.map(|path| used(&leader, path)), before);
}

#[test]
fn loading_counts_again() {
    let mut leader = Leader::new();
    leader.run(OpCode::Create, create_data("/a", b"123"));
    leader.run(OpCode::Create, create_data("/a/b", b"123"));
    limit(&mut leader, "/a", "count=1,bytes=1");
    limit(&mut leader, "/none", "count=1,bytes=1");
    // A client may write there what it likes.
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    leader.run(
        OpCode::SetData,
        set(stats, Some(b"count=77,bytes=1=;x=5"), -1),
    );
    leader.run(OpCode::Create, create_data("/a/c", b""));
    assert_eq!(text(&leader, stats), "count=78,bytes=1=;x=5");
    leader.run(OpCode::SetData, set(stats, Some(b"nonsense"), -1));
    leader.run(OpCode::Create, create_data("/a/d", b"1"));
    leader.tree = Tree::from_image(&leader.tree.image(), leader.tree.last_zxid()).unwrap();
    assert_eq!(used(&leader, "/a"), "count=4,bytes=7");
    assert_eq!(used(&leader, "/none"), "count=0,bytes=0");
    leader.run(OpCode::Delete, delete("/a/d", -1));
    assert_eq!(used(&leader, "/a"), "count=3,bytes=6");
}

#[test]
fn limits_in_odd_places_do_no_harm() {
    let mut leader = Leader::new();
    leader.run(OpCode::Create, create_data("/a", b"123"));
    // The reference ends upon the first two; the third counts the whole tree.
    for path in [
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/zookeeper_limits",
    ] {
        assert_eq!(leader.run(OpCode::Create, create_data(path, b"x")).err, 0);
        assert_eq!(leader.run(OpCode::Delete, delete(path, -1)).err, 0);
    }
    let root = "/zookeeper/quota/zookeeper_stats";
    leader.run(OpCode::Create, create_data(root, b""));
    assert_eq!(text(&leader, root), "count=6,bytes=3");
    assert_eq!(leader.tree.quota_over("/a"), None);
    // Names of spaces are not looked at.
    limit(&mut leader, "/ /a", "count=1,bytes=1");
    assert_eq!(leader.tree.quota_over("/a"), Some("/a"));
    assert_eq!(leader.tree.quota_over("/a/ /b"), Some("/a"));
}

#[test]
fn a_hard_limit_refuses_where_the_reference_does() {
    let mut leader = enforcing();
    leader.run(OpCode::Create, create_data("/a", b""));
    leader.run(OpCode::Create, create("/a/e", 1));
    limit(
        &mut leader,
        "/a",
        "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3",
    );
    assert_eq!(used(&leader, "/a"), "count=2,bytes=4");
    let quota = ErrorCode::QuotaExceeded.code();
    let long = |path| create_data(path, b"1234567");
    // What is checked before, and what after.
    for (op, body, want) in [
        (OpCode::Create, long("/a"), ErrorCode::NodeExists.code()),
        (
            OpCode::Create,
            long("/a/e/x"),
            ErrorCode::NoChildrenForEphemerals.code(),
        ),
        (OpCode::Create, long("/a/x"), quota),
        (OpCode::SetData, set("/a/e", Some(b"1234567890"), 7), 0),
        (OpCode::SetData, set("/a/e", Some(b"12345678901"), 7), quota),
        (
            OpCode::SetData,
            set("/zookeeper", Some(b"12345678901"), -1),
            0,
        ),
    ] {
        let error = leader.error(op, body.clone());
        if want == 0 {
            assert_ne!(error, quota);
        } else {
            assert_eq!(error, want, "{op:?} {:?}", String::from_utf8_lossy(&body));
        }
    }
    // Outstanding creations do not count yet, outstanding data does.
    for path in ["/a/1", "/a/2"] {
        assert_eq!(leader.error(OpCode::Create, create_data(path, b"")), 0);
    }
    leader.apply_all();
    assert_eq!(used(&leader, "/a"), "count=4,bytes=4");
    assert_eq!(
        leader.error(OpCode::Create, create_data("/a/3", b"")),
        quota
    );
    let longer = |data: &'static [u8]| set("/a/1", Some(data), -1);
    assert_eq!(leader.error(OpCode::SetData, longer(b"123456")), 0);
    assert_eq!(
        leader.error(OpCode::SetData, longer(b"1234567890")),
        0,
        "4 + 4 more"
    );
    assert_eq!(
        leader.error(OpCode::SetData, longer(b"12345678901234567")),
        quota
    );
    leader.apply_all();
    assert_eq!(used(&leader, "/a"), "count=4,bytes=14");
    let batch = multi(&[
        (OpCode::Create, create_data("/ok", b"")),
        (OpCode::Create, create_data("/a/4", b"")),
    ]);
    let codes = [0, quota].map(MultiResult::Error);
    assert_eq!(
        leader.run(OpCode::Multi, batch).reply,
        Reply::Multi(codes.to_vec())
    );
    // Less is always right, and so is the same.
    assert_eq!(
        leader.error(OpCode::SetData, set("/a/1", Some(b"1"), -1)),
        0
    );
    assert_eq!(leader.error(OpCode::Delete, delete("/a/2", -1)), 0);
    leader.apply_all();
    assert_eq!(
        leader.error(OpCode::Create, create_data("/a/5", b"")),
        quota,
        "3 and one more"
    );
}

#[test]
fn a_soft_limit_and_a_limit_that_nobody_enforces_refuse_nothing() {
    let mut soft = enforcing();
    let mut off = Leader::new();
    for (leader, limits) in [
        (&mut soft, "count=1,bytes=1"),
        (
            &mut off,
            "count=1,bytes=1=;byteHardLimit=1;countHardLimit=1",
        ),
    ] {
        leader.run(OpCode::Create, create_data("/a", b"123"));
        limit(leader, "/a", limits);
        assert_eq!(
            leader.run(OpCode::Create, create_data("/a/b", b"123")).err,
            0
        );
        assert_eq!(
            leader
                .run(OpCode::SetData, set("/a", Some(b"12345"), -1))
                .err,
            0
        );
        assert_eq!(used(leader, "/a"), "count=2,bytes=8");
    }
}

#[test]
fn nonsense_in_the_limits_is_a_marshalling_error() {
    let mut leader = enforcing();
    leader.run(OpCode::Create, create_data("/a", b""));
    limit(&mut leader, "/a", "nonsense");
    let marshalling = ErrorCode::MarshallingError.code();
    assert_eq!(
        leader.error(OpCode::Create, create_data("/a/b", b"")),
        marshalling
    );
    assert_eq!(
        leader.error(
            OpCode::Create,
            create_with("/b", 0, Some(vec![Acl::open()]))
        ),
        0
    );
    leader.apply_all();
}
