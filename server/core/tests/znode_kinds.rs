//! Containers, znodes with a time to live and lists: what each request makes,
//! what it answers, and how a batch decides what it is.

mod leader;

use leader::{Leader, create, create_ttl, delete, multi, path_only, set_acl};
use zk_core::auth::AuthConfig;
use zk_core::config::ZnodeConfig;
use zk_core::request::Reply;
use zk_core::tree::Owner;
use zk_proto::SessionId;
use zk_proto::client::{Acl, ErrorCode, Id, MultiResult, OpCode};
use zk_proto::txn::{Txn, decode_txn};

fn owner(leader: &Leader, path: &str) -> Owner {
    leader.tree.znode(path).unwrap().owner()
}

#[test]
fn the_code_decides_what_is_made_and_the_flags_what_it_is_called() {
    let mut leader = Leader::new();
    leader.run(OpCode::CreateSession, vec![0, 0, 0x10, 0]);
    for (op, body, path, made, kind) in [
        (
            OpCode::CreateContainer,
            create("/c", 4),
            "/c",
            Owner::Container,
            OpCode::CreateContainer,
        ),
        (
            OpCode::CreateContainer,
            create("/c-", 3),
            "/c-0000000001",
            Owner::Container,
            OpCode::CreateContainer,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/t", 5, 77),
            "/t",
            Owner::Ttl(77),
            OpCode::CreateTtl,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/t-", 6, (1 << 40) - 1),
            "/t-0000000003",
            Owner::Ttl(Owner::TTL_MS_MAX),
            OpCode::CreateTtl,
        ),
        (
            OpCode::Create2,
            create("/p", 4),
            "/p",
            Owner::Persistent,
            OpCode::Create2,
        ),
        (
            OpCode::Create2,
            create("/e", 1),
            "/e",
            Owner::Session(leader::SESSION),
            OpCode::Create2,
        ),
    ] {
        let applied = leader.run(op, body);
        assert_eq!((applied.err, applied.header.kind), (0, kind.code()));
        let Reply::PathStat(at, stat) = applied.reply else {
            panic!("{path}: {:?}", applied.reply)
        };
        assert_eq!(at, path);
        assert_eq!(owner(&leader, path), made);
        let shown = match made {
            Owner::Session(session) => session,
            _ => SessionId(0),
        };
        assert_eq!(stat.ephemeral_owner, shown, "{path}");
    }
    assert_eq!(
        leader.run(OpCode::Create, create("/plain", 4)).reply,
        Reply::Path("/plain".into())
    );
}

#[test]
fn no_time_to_live_without_extended_types() {
    let mut leader = Leader::with(AuthConfig::default(), ZnodeConfig::default());
    for (op, body) in [
        (OpCode::CreateTtl, create_ttl("no", 5, 0)),
        (OpCode::CreateTtl, create_ttl("no", 6, 5)),
        (OpCode::Create, create("no", 5)),
        (OpCode::CreateContainer, create("no", 6)),
    ] {
        assert_eq!(leader.error(op, body), ErrorCode::Unimplemented.code());
    }
    let results = leader.run(
        OpCode::Multi,
        multi(&[
            (OpCode::Create, create("/a", 0)),
            (OpCode::CreateTtl, create_ttl("/t", 5, 5)),
            (OpCode::Create, create("/b", 0)),
        ]),
    );
    let codes = [0, -6, -2].map(MultiResult::Error);
    assert_eq!(results.reply, Reply::Multi(codes.to_vec()));
}

#[test]
fn in_a_batch_the_flags_decide() {
    let mut leader = Leader::new();
    let applied = leader.run(
        OpCode::Multi,
        multi(&[
            (OpCode::Create, create("/c", 4)),
            (OpCode::Create2, create("/c2", 4)),
            (OpCode::CreateContainer, create("/c3", 0)),
            (OpCode::CreateTtl, create_ttl("/t", 5, 9)),
            (OpCode::CreateTtl, create_ttl("/c4", 4, 9)),
            (OpCode::CreateTtl, create_ttl("/p-", 2, 9)),
        ]),
    );
    let Reply::Multi(results) = applied.reply else {
        panic!("{:?}", applied.reply)
    };
    let paths: Vec<_> = results
        .iter()
        .map(|result| match result {
            MultiResult::Create(path) => ("path", &**path),
            MultiResult::Create2(path, _) => ("path and stat", &**path),
            other => panic!("{other:?}"),
        })
        .collect();
    let with_stat = |path| ("path and stat", path);
    assert_eq!(
        paths,
        [
            with_stat("/c"),
            with_stat("/c2"),
            with_stat("/c3"),
            with_stat("/t"),
            with_stat("/c4"),
            ("path", "/p-0000000005"),
        ]
    );
    for path in ["/c", "/c2", "/c3", "/c4"] {
        assert_eq!(owner(&leader, path), Owner::Container, "{path}");
    }
    assert_eq!(owner(&leader, "/t"), Owner::Ttl(9));
    assert_eq!(owner(&leader, "/p-0000000005"), Owner::Persistent);
}

#[test]
fn what_a_batch_cannot_hold_fails_it_as_a_whole() {
    let mut leader = Leader::new();
    let good = (OpCode::Create, create("/a", 0));
    for (op, body) in [
        (OpCode::Create, create("/b", 9)),
        (OpCode::Create, create("/b", 5)),
        (OpCode::Create2, create("/b", 6)),
        (OpCode::CreateContainer, create("/b", 5)),
        (OpCode::SetAcl, set_acl("/a", Some(vec![Acl::open()]), -1)),
        (OpCode::DeleteContainer, path_only("/a")),
        (OpCode::GetData, vec![]),
    ] {
        let body = multi(&[good.clone(), (op, body)]);
        let marshalling = ErrorCode::MarshallingError.code();
        assert_eq!(leader.error(OpCode::Multi, body), marshalling, "{op:?}");
    }
    // Flags that nobody knows are found late in this one.
    let late = multi(&[good, (OpCode::CreateTtl, create_ttl("/b", 9, 5))]);
    let applied = leader.run(OpCode::Multi, late);
    let codes = [0, ErrorCode::BadArguments.code()].map(MultiResult::Error);
    assert_eq!(applied.reply, Reply::Multi(codes.to_vec()));
    assert!(leader.tree.znode("/a").is_none());
}

#[test]
fn an_empty_batch_is_a_transaction() {
    let applied = Leader::new().run(OpCode::Multi, multi(&[]));
    assert_eq!((applied.err, applied.reply), (0, Reply::Multi(vec![])));
}

#[test]
fn a_list_counts_for_the_requests_behind_it() {
    let only = |perms| {
        Some(vec![Acl {
            perms,
            id: Id::anyone(),
        }])
    };
    let mut leader = Leader::new();
    leader.propose(OpCode::Create, create("/a", 0));
    leader.propose(OpCode::SetAcl, set_acl("/a", only(1 | 16), 0));
    let create_below = |leader: &mut Leader| leader.error(OpCode::Create, create("/a/b", 0));
    assert_eq!(create_below(&mut leader), ErrorCode::NoAuth.code());
    // A batch that fails gives nothing away.
    let failing = multi(&[
        (OpCode::Delete, delete("/a", -1)),
        (OpCode::Delete, delete("/x", -1)),
    ]);
    leader.propose(OpCode::Multi, failing);
    assert_eq!(create_below(&mut leader), ErrorCode::NoAuth.code());
    assert_eq!(
        leader.error(OpCode::SetAcl, set_acl("/a", only(31), 0)),
        ErrorCode::BadVersion.code()
    );
    let entry = leader.propose(OpCode::SetAcl, set_acl("/a", only(31), 1));
    let Txn::SetAcl(set) = decode_txn(&entry.data).unwrap().1 else {
        panic!("no list")
    };
    assert_eq!(set.version, 2);
    assert_eq!(create_below(&mut leader), 0);
    leader.apply_all();
    let stat = leader.tree.znode("/a").unwrap().stat();
    assert_eq!((stat.aversion, stat.version), (2, 0));
    assert_eq!(leader.tree.znode("/a").unwrap().acl(), [Acl::open()]);
}

#[test]
fn delete_container_takes_any_childless_znode_but_an_ephemeral() {
    let mut leader = Leader::new();
    for (op, body) in [
        (OpCode::Create, create("/p", 0)),
        (OpCode::CreateContainer, create("/c", 4)),
        (OpCode::CreateTtl, create_ttl("/t", 5, 5)),
    ] {
        assert_eq!(leader.run(op, body).err, 0);
    }
    for path in ["/p", "/c", "/t"] {
        let applied = leader.run(OpCode::DeleteContainer, path_only(path));
        assert_eq!((applied.err, applied.reply), (0, Reply::None));
        assert_eq!(applied.header.kind, OpCode::DeleteContainer.code());
        assert!(leader.tree.znode(path).is_none());
    }
    assert_eq!(
        leader.tree.znode("/").unwrap().stat_persisted().pzxid,
        leader.tree.last_zxid()
    );
}

#[test]
fn the_root_has_one_place_among_the_outstanding_changes() {
    let mut leader = Leader::new();
    leader.propose(OpCode::Create, create("/a", 0));
    let entry = leader.propose(OpCode::Create, create("/", 2));
    let Txn::Create(created) = decode_txn(&entry.data).unwrap().1 else {
        panic!("no create")
    };
    assert_eq!(
        created.path, "/0000000001",
        "after one outstanding creation"
    );
    leader.apply_all();
}
