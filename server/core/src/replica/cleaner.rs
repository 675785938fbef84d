//! The leader deletes containers that were left empty and znodes whose time to
//! live is over (reference: `ContainerManager`).

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::client::OpCode;
use zk_proto::jute::Put;
use zk_proto::{SessionId, Xid};

use super::Replica;
use super::clients::Submitted;
use crate::config::ZnodeConfig;
use crate::tree::Tree;
use crate::{Millis, Now, Output};

/// Where the leader stands with it.
#[derive(Debug)]
pub(super) struct Cleaner {
    config: ZnodeConfig,
    /// When all of them are looked at again.
    next_look: Millis,
    /// The last path that this look has come to.
    looking_at: Option<String>,
    /// What this look has found and nobody has deleted yet.
    found: VecDeque<String>,
    next_deletion: Millis,
}

impl Cleaner {
    /// The first look comes after a whole pause.
    pub(super) fn new(config: ZnodeConfig, now: Millis) -> Self {
        Self {
            config,
            next_look: later(now, config.container_check_interval_ms),
            looking_at: None,
            found: VecDeque::new(),
            next_deletion: now,
        }
    }

    pub(super) fn next_deadline(&self) -> Millis {
        if self.found.is_empty() {
            self.next_look
        } else {
            self.next_deletion
        }
    }

    /// Looks at a part of the tree, if it is time.
    fn look(&mut self, tree: &Tree, now: Now) {
        if !self.found.is_empty() || now.mono < self.next_look {
            return;
        }
        let from = self.looking_at.take().unwrap_or_default();
        let never_used_ms = self.config.container_max_never_used_interval_ms;
        let mut seen = 0;
        for path in tree.expendable_after(&from) {
            if seen == LOOK_ZNODES_MAX {
                return;
            }
            seen += 1;
            if tree.is_expendable(path, now.wall_ms, never_used_ms) {
                self.found.push_back(path.to_owned());
            }
            if seen == LOOK_ZNODES_MAX {
                self.looking_at = Some(path.to_owned());
            }
        }
        self.looking_at = None;
        self.next_look = later(now.mono, self.config.container_check_interval_ms);
    }

    /// The next znode to delete, if it is time.
    fn next(&mut self, tree: &Tree, now: Now) -> Option<String> {
        while now.mono >= self.next_deletion {
            let path = self.found.pop_front()?;
            let never_used_ms = self.config.container_max_never_used_interval_ms;
            // Somebody may have used it since.
            if tree.is_expendable(&path, now.wall_ms, never_used_ms) {
                let per_minute = self.config.container_max_per_minute.max(1);
                self.next_deletion = later(now.mono, u64::from(MINUTE_MS / per_minute));
                return Some(path);
            }
        }
        None
    }
}

impl Replica {
    /// Deletes what may go now, by a transaction each.
    pub(super) fn clean(&mut self, now: Now, out: &mut Vec<Output>) {
        loop {
            let Some(leading) = &mut self.leading else {
                return;
            };
            let cleaner = &mut leading.cleaner;
            if now.mono < cleaner.next_deadline() {
                return;
            }
            let mut next = |tree: &Tree| {
                cleaner.look(tree, now);
                cleaner.next(tree, now)
            };
            let path = match &self.held {
                Some(tree) => next(tree),
                None => next(self.view.read().tree()),
            };
            let Some(path) = path else { return };
            let mut body = Vec::with_capacity(4 + path.len());
            body.put_str(&path);
            let submitted = Submitted {
                owner: None,
                session: SessionId(0),
                cxid: Xid(0),
                op: OpCode::DeleteContainer.code(),
                body: &Bytes::from(body),
                ids: &[],
            };
            self.propose(now, &submitted, out);
        }
    }
}

const fn later(from: Millis, ms: u64) -> Millis {
    Millis(from.0.saturating_add(ms))
}

/// Most znodes looked at before other work gets its turn.
const LOOK_ZNODES_MAX: usize = 1000;
const MINUTE_MS: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{self, NewZnode};
    use zk_proto::Zxid;
    use zk_proto::client::Acl;

    const CONFIG: ZnodeConfig = ZnodeConfig {
        extended_types_enabled: true,
        enforce_quota: false,
        container_check_interval_ms: 1000,
        container_max_per_minute: 600,
        container_max_never_used_interval_ms: 0,
        txn_bytes_max: 2 * 0xf_ffff,
        close_session_lists: true,
        members_shown: true,
    };

    fn add(tree: &mut Tree, path: &str, owner: tree::Owner, time_ms: i64) {
        let new = NewZnode {
            path,
            data: None,
            acl: &[Acl::open()],
            owner,
            parent_cversion: -1,
            zxid: Zxid(1),
            time_ms,
        };
        tree.create(&new).unwrap();
    }

    fn at(ms: u64) -> Now {
        Now {
            mono: Millis(ms),
            wall_ms: i64::try_from(ms).unwrap() + 1_000_000,
        }
    }

    /// What is deleted when time stands at these milliseconds, each once.
    fn deleted(cleaner: &mut Cleaner, tree: &Tree, times: &[u64]) -> Vec<(u64, String)> {
        let mut deleted = Vec::new();
        for &time in times {
            cleaner.look(tree, at(time));
            while let Some(path) = cleaner.next(tree, at(time)) {
                deleted.push((time, path));
            }
        }
        deleted
    }

    #[test]
    fn what_may_go_and_when() {
        let mut tree = Tree::new();
        let start = at(0).wall_ms;
        for (path, owner) in [
            ("/new", tree::Owner::Container),
            ("/used", tree::Owner::Container),
            ("/used/child", tree::Owner::Persistent),
            ("/left", tree::Owner::Container),
            ("/left/child", tree::Owner::Persistent),
            ("/ttl", tree::Owner::Ttl(500)),
            ("/parent", tree::Owner::Ttl(500)),
            ("/parent/child", tree::Owner::Persistent),
            ("/long", tree::Owner::Ttl(2_500)),
            ("/plain", tree::Owner::Persistent),
        ] {
            add(&mut tree, path, owner, start);
        }
        tree.delete("/left/child", Zxid(2)).unwrap();
        let mut cleaner = Cleaner::new(CONFIG, Millis(0));
        let path = |at: u64, path: &str| (at, path.to_owned());
        assert_eq!(deleted(&mut cleaner, &tree, &[0, 999]), []);
        assert_eq!(cleaner.next_deadline(), Millis(1000));
        assert_eq!(deleted(&mut cleaner, &tree, &[1000]), [path(1000, "/left")]);
        tree.delete("/left", Zxid(3)).unwrap();
        assert_eq!(cleaner.next_deadline(), Millis(1100), "ten in a second");
        assert_eq!(deleted(&mut cleaner, &tree, &[1099]), []);
        // A change of the data starts its time again.
        tree.set_data("/ttl", None, 1, Zxid(4), at(1090).wall_ms)
            .unwrap();
        assert_eq!(deleted(&mut cleaner, &tree, &[1100]), []);
        assert_eq!(cleaner.next_deadline(), Millis(2000));
        let ttl = deleted(&mut cleaner, &tree, &[2000, 2100]);
        assert_eq!(ttl, [path(2000, "/ttl")]);
        tree.delete("/ttl", Zxid(5)).unwrap();
        assert_eq!(deleted(&mut cleaner, &tree, &[3000]), [path(3000, "/long")]);
    }

    #[test]
    fn containers_that_were_never_used() {
        let mut tree = Tree::new();
        add(&mut tree, "/new", tree::Owner::Container, at(0).wall_ms);
        let config = ZnodeConfig {
            container_max_never_used_interval_ms: 1500,
            ..CONFIG
        };
        let mut cleaner = Cleaner::new(config, Millis(0));
        let never = deleted(&mut cleaner, &tree, &[1000, 1500, 1501, 2000]);
        assert_eq!(never, [(2000, "/new".to_owned())]);
    }

    #[test]
    fn a_long_look_is_taken_in_parts() {
        let mut tree = Tree::new();
        let count = LOOK_ZNODES_MAX * 2 + 10;
        for number in 0..count {
            add(
                &mut tree,
                &format!("/{number:06}"),
                tree::Owner::Container,
                0,
            );
        }
        add(&mut tree, "/zz", tree::Owner::Ttl(1), 0);
        let mut cleaner = Cleaner::new(CONFIG, Millis(0));
        for _ in 0..2 {
            assert_eq!(deleted(&mut cleaner, &tree, &[1000]), []);
            assert_eq!(cleaner.next_deadline(), Millis(1000), "more to look at");
        }
        assert_eq!(
            deleted(&mut cleaner, &tree, &[1000]),
            [(1000, "/zz".to_owned())]
        );
    }
}
