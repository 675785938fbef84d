//! Lists that requests bring, and who passes those that are there.

mod leader;

use leader::{Leader, create_with, delete, path_only, set, set_acl};
use zk_core::auth::AuthConfig;
use zk_core::config::ZnodeConfig;
use zk_proto::client::{Acl, ErrorCode, Id, OpCode};

fn id(scheme: &str, id: &str) -> Id {
    Id {
        scheme: scheme.into(),
        id: id.into(),
    }
}

fn grant(perms: i32, scheme: &str, who: &str) -> Acl {
    Acl {
        perms,
        id: id(scheme, who),
    }
}

fn bob() -> Id {
    id("digest", "bob:0ezhUayTjEymfNB3K9C0+wkMLMo=")
}

#[test]
fn lists_are_stored_as_the_reference_fixes_them() {
    let mut leader = Leader::new();
    let mut number = 0;
    let mut stored = |leader: &mut Leader, list: &[Acl]| {
        number += 1;
        let path = format!("/z{number}");
        let applied = leader.run(OpCode::Create, create_with(&path, 0, Some(list.to_vec())));
        let znode = leader.tree.znode(&path);
        assert_eq!(znode.is_some(), applied.err == 0);
        znode.map(|znode| znode.acl().to_vec()).ok_or(applied.err)
    };
    let invalid = Err(ErrorCode::InvalidAcl.code());
    let anyone = |perms| grant(perms, "world", "anyone");
    let net = grant(5, "ip", "10.0.0.0/8");
    let amy = grant(2, "digest", "amy:x");
    // As they come, but each once.
    assert_eq!(
        stored(
            &mut leader,
            &[amy.clone(), anyone(-1), amy.clone(), net.clone(), anyone(1)]
        ),
        Ok(vec![amy.clone(), anyone(-1), net.clone(), anyone(1)])
    );
    for wrong in [
        grant(31, "world", "somebody"),
        grant(31, "digest", "amy"),
        grant(31, "digest", "a:b:c"),
        grant(31, "ip", "10.0.0"),
        grant(31, "ip", "10.0.0.0/33"),
        grant(31, "super", ""),
        grant(31, "sasl", "amy"),
        grant(31, "", ""),
        grant(31, "auth", ""),
    ] {
        assert_eq!(stored(&mut leader, &[anyone(31), wrong]), invalid);
    }
    // Addresses and the super user do not stand in for `auth`; both digests do.
    leader.ids = vec![id("ip", "10.1.2.3"), id("super", "")];
    assert_eq!(
        stored(&mut leader, &[grant(3, "auth", "whatever")]),
        invalid
    );
    leader.ids.extend([bob(), id("digest", "amy:x")]);
    let bobs = |perms| Acl { perms, id: bob() };
    assert_eq!(
        stored(&mut leader, &[net.clone(), grant(2, "auth", ""), anyone(1)]),
        Ok(vec![net, bobs(2), amy.clone(), anyone(1)])
    );
    // An entry that comes out of `auth` may well be there twice.
    assert_eq!(
        stored(&mut leader, &[amy.clone(), grant(2, "auth", "")]),
        Ok(vec![amy.clone(), bobs(2), amy])
    );
}

#[test]
fn each_request_asks_for_its_own_permission() {
    let requests = |leader: &mut Leader, no: i32| {
        let mut code = |op, body| leader.error(op, body);
        [
            code(
                OpCode::Create,
                create_with(&format!("/p/n{no}"), 0, Some(vec![Acl::open()])),
            ),
            code(OpCode::SetData, set("/p/c", None, -1)),
            code(
                OpCode::SetAcl,
                set_acl(
                    "/p/c",
                    Some(vec![Acl {
                        perms: no,
                        id: bob(),
                    }]),
                    -1,
                ),
            ),
            code(OpCode::DeleteContainer, path_only("/p/d")),
            code(OpCode::Delete, delete("/p/e", -1)),
        ]
    };
    let no = ErrorCode::NoAuth.code();
    let open = vec![Acl::open()];
    for (perms, want) in [
        (1, [no; 5]),
        (2, [no, 0, no, no, no]),
        (4, [0, no, no, no, no]),
        (8, [no, no, no, 0, 0]),
        (16, [no, no, 0, no, no]),
        (31, [0, 0, 0, 0, 0]),
    ] {
        let mut leader = Leader::new();
        for path in ["/p", "/p/c", "/p/d", "/p/e"] {
            leader.run(OpCode::Create, create_with(path, 0, Some(open.clone())));
        }
        for path in ["/p/c", "/p"] {
            let list = vec![Acl { perms, id: bob() }];
            assert_eq!(
                leader
                    .run(OpCode::SetAcl, set_acl(path, Some(list), -1))
                    .err,
                0
            );
        }
        assert_eq!(requests(&mut leader, perms), [no; 5], "nobody");
        leader.ids = vec![bob()];
        assert_eq!(requests(&mut leader, perms), want, "bob with {perms}");
        leader.apply_all();
    }
}

#[test]
fn super_and_skip_acl_pass_everything() {
    let nobody = || vec![grant(0, "world", "anyone")];
    let mut leader = Leader::new();
    leader.run(OpCode::Create, create_with("/shut", 0, Some(nobody())));
    let write = |leader: &mut Leader| leader.run(OpCode::SetData, set("/shut", None, -1)).err;
    assert_eq!(write(&mut leader), ErrorCode::NoAuth.code());
    leader.ids = vec![id("super", "")];
    assert_eq!(write(&mut leader), 0);
    // The reference's super user may change the config's list too.
    let config = set_acl("/zookeeper/config", Some(vec![Acl::open()]), -1);
    assert_eq!(leader.run(OpCode::SetAcl, config).err, 0);

    let auth = AuthConfig {
        skip_acl: true,
        ..AuthConfig::default()
    };
    let mut leader = Leader::with(auth, ZnodeConfig::default());
    leader.run(OpCode::Create, create_with("/shut", 0, Some(nobody())));
    assert_eq!(write(&mut leader), 0);
}
