//! Digests of leaders of the reference that do not hash paths as UTF-8.
//!
//! The reference hashes a path in the default charset of its virtual machine.
//! With paths beyond ASCII its digests are others then, although its znodes are
//! the same. Which charset it is shows in the difference: that is the sum over
//! the znodes with such paths.

use zk_proto::Zxid;
use zk_proto::client::StatPersisted;
use zk_proto::txn::PathCharset;

use super::chunk::{Family, SlotId};
use super::data_tree::Tree;

/// The charset in which a leader hashes paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaderCharset {
    charset: PathCharset,
    /// By how much its digest is above that of the same tree.
    above: u64,
}

/// The znodes of a tree whose paths are not ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeyondAscii {
    /// By how much the digest would be higher with the paths in each of
    /// [`PathCharset::ALL`].
    pub differences: [u64; 2],
    /// The transaction that has created the oldest of them.
    pub oldest: Zxid,
}

impl LeaderCharset {
    /// What a znode with this digest adds to the difference.
    pub(super) fn part(
        self,
        path: &str,
        data: Option<&[u8]>,
        stat: &StatPersisted,
        digest: u32,
    ) -> u64 {
        if path.is_ascii() {
            return 0;
        }
        let theirs = self.charset.node_digest(path, data, stat);
        theirs.wrapping_sub(digest.into())
    }

    pub(super) const fn add(&mut self, part: u64) {
        self.above = self.above.wrapping_add(part);
    }

    pub(super) const fn remove(&mut self, part: u64) {
        self.above = self.above.wrapping_sub(part);
    }
}

impl Tree {
    /// The digest that the leader has for the same znodes: [`Self::digest`],
    /// unless its charset was found to be another.
    #[must_use]
    pub fn leader_digest(&self) -> u64 {
        let above = self.charset.map_or(0, |charset| charset.above);
        self.digest.wrapping_add(above)
    }

    /// A leader's digest is above [`Self::leader_digest`] by so much. If that is
    /// because it hashes paths in another charset than was known, its digests
    /// are expected from now on. Looks at every znode.
    pub fn follow_charset(&mut self, by: u64) -> bool {
        let above = self.leader_digest().wrapping_sub(self.digest);
        let wanted = by.wrapping_add(above);
        if wanted == 0 {
            self.charset = None;
            return true;
        }
        let Some(BeyondAscii { differences, .. }) = self.beyond_ascii() else {
            return false;
        };
        let mut all = PathCharset::ALL.into_iter().zip(differences);
        let Some((charset, above)) = all.find(|(_, it)| *it == wanted) else {
            return false;
        };
        tracing::warn!(
            charset = charset.name(),
            "digests of transactions were made by a Java virtual machine that does not use UTF-8 (ZooKeeper hashes \
             paths in its default charset); they are compared accordingly; start the Java members in a UTF-8 locale \
             or with -Dfile.encoding=UTF-8"
        );
        self.charset = Some(LeaderCharset { charset, above });
        true
    }

    /// The next digests come from somebody else.
    pub const fn forget_charset(&mut self) {
        self.charset = None;
    }

    /// The charset that was found, if it is not UTF-8.
    #[must_use]
    pub fn leader_charset(&self) -> Option<PathCharset> {
        self.charset.map(|it| it.charset)
    }

    /// `None` if all paths are ASCII. Looks at every znode.
    #[must_use]
    pub fn beyond_ascii(&self) -> Option<BeyondAscii> {
        let slots = self.nodes.slots();
        let root = self.nodes.root();
        let (mut at, mut path) = (root, String::new());
        let mut found: Option<BeyondAscii> = None;
        while at != SlotId::NONE {
            if !path.is_ascii() {
                let (_, content) = slots.znode(at);
                let created = content.stat.czxid;
                let found = found.get_or_insert(BeyondAscii {
                    differences: [0; 2],
                    oldest: created,
                });
                found.oldest = found.oldest.min(created);
                let sums = found.differences.iter_mut();
                for (sum, charset) in sums.zip(PathCharset::ALL) {
                    let theirs = charset.node_digest(&path, content.data, &content.stat);
                    let part = theirs.wrapping_sub(slots.slot(at).digest.into());
                    *sum = sum.wrapping_add(part);
                }
            }
            let Family { first, .. } = slots.family(at);
            let mut next = first;
            // Back up to the nearest one that has a next sibling.
            while next == SlotId::NONE && at != root {
                path.truncate(path.len() - slots.name(at).len() - 1);
                next = slots.slot(at).next;
                at = slots.slot(at).parent;
            }
            at = next;
            if at != SlotId::NONE {
                path.push('/');
                path.push_str(slots.name(at));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use zk_proto::client::Acl;

    use super::super::{NewZnode, Owner};
    use super::*;

    fn create(tree: &mut Tree, path: &str, zxid: i64) {
        let new = NewZnode {
            path,
            data: Some(b"x"),
            acl: &[Acl::open()],
            owner: Owner::Persistent,
            parent_cversion: -1,
            zxid: Zxid(zxid),
            time_ms: zxid,
        };
        tree.create(&new).unwrap();
    }

    #[test]
    fn the_difference_is_kept_up_whatever_is_done_to_a_znode() {
        for (n, charset) in PathCharset::ALL.into_iter().enumerate() {
            let mut tree = Tree::new();
            assert_eq!(tree.beyond_ascii(), None);
            create(&mut tree, "/plain", 1);
            create(&mut tree, "/zürich", 2);
            create(&mut tree, "/zürich/€😀", 3);
            let seen = tree.beyond_ascii().unwrap();
            assert_eq!(seen.oldest, Zxid(2));
            let by = seen.differences[n];
            assert!(!tree.follow_charset(by.wrapping_add(1)));
            assert_eq!(tree.leader_digest(), tree.digest());
            assert!(tree.follow_charset(by));
            assert_eq!(tree.leader_charset(), Some(charset));
            // The next log may be that of a server with UTF-8.
            assert!(tree.follow_charset(by.wrapping_neg()));
            assert_eq!(tree.leader_charset(), None);
            assert!(tree.follow_charset(by));
            let agrees = |tree: &Tree, what| {
                let above = tree.beyond_ascii().map_or(0, |it| it.differences[n]);
                let want = tree.digest().wrapping_add(above);
                assert_eq!(tree.leader_digest(), want, "{what} {charset:?}");
            };
            create(&mut tree, "/zürich/plain", 4);
            agrees(&tree, "create");
            let set = |tree: &mut Tree, path| tree.set_data(path, None, 1, Zxid(5), 5);
            set(&mut tree, "/zürich").unwrap();
            set(&mut tree, "/plain").unwrap();
            agrees(&tree, "setData");
            tree.set_acl("/zürich/€😀", &[Acl::open()], 7).unwrap();
            agrees(&tree, "setACL");
            for path in ["/zürich/€😀", "/zürich/plain", "/zürich"] {
                tree.delete(path, Zxid(6)).unwrap();
                agrees(&tree, "delete");
            }
            assert_eq!(tree.leader_digest(), tree.digest());
            // It is still known.
            create(&mut tree, "/bern", 7);
            create(&mut tree, "/bern/ü", 8);
            agrees(&tree, "create again");
            tree.forget_charset();
            assert_eq!(tree.leader_digest(), tree.digest());
        }
    }
}
