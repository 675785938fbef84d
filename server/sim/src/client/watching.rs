//! What a client watches, and what it may therefore believe without asking: as
//! long as no event has come, nothing has changed.

use std::collections::BTreeMap;

use zk_proto::Zxid;
use zk_proto::client::EventKind;
use zk_proto::jute::Put;

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// That the znode exists, and its data.
    Data,
    /// The set of its children.
    Children,
}

/// `mzxid` or `pzxid`; `None` when there is no such znode.
pub(super) type Seen = Option<Zxid>;

/// The watches of one client.
#[derive(Debug, Default)]
pub(super) struct Watching {
    once: BTreeMap<(Aspect, String), Seen>,
    /// Persistent watches and whether they are recursive.
    always: BTreeMap<String, bool>,
    /// What was read under a persistent watch since its last event.
    known: BTreeMap<(Aspect, String), Seen>,
    /// The server does not know of them.
    is_stale: bool,
}

impl Watching {
    /// A read shows this. `Err` tells what the client believed.
    pub(super) fn read(
        &mut self,
        aspect: Aspect,
        path: &str,
        seen: Seen,
        watch: bool,
    ) -> Result<(), Seen> {
        let key = (aspect, path.to_owned());
        let believed = self.once.get(&key).or_else(|| self.known.get(&key));
        if let Some(believed) = believed
            && *believed != seen
        {
            return Err(*believed);
        }
        if watch && (seen.is_some() || aspect == Aspect::Data) {
            self.once.insert(key.clone(), seen);
        }
        if self.is_always_watched(aspect, path) {
            self.known.insert(key, seen);
        }
        Ok(())
    }

    /// An event has come.
    pub(super) fn event(&mut self, kind: i32, path: &str) {
        let mut forget = |aspect| {
            let key = (aspect, path.to_owned());
            self.once.remove(&key);
            self.known.remove(&key);
        };
        if kind == EventKind::NodeChildrenChanged as i32 {
            return forget(Aspect::Children);
        }
        forget(Aspect::Data);
        if kind != EventKind::NodeDataChanged as i32 {
            forget(Aspect::Children);
        }
    }

    pub(super) fn add_always(&mut self, path: &str, is_recursive: bool) {
        self.always.insert(path.to_owned(), is_recursive);
        self.known.clear();
    }

    pub(super) fn remove_always(&mut self, path: &str) {
        self.always.remove(path);
        self.known.clear();
    }

    /// One of the persistent watches.
    pub(super) fn any_always(&self) -> Option<(&str, bool)> {
        let first = self.always.first_key_value();
        first.map(|(path, is_recursive)| (&**path, *is_recursive))
    }

    /// What changes until the watches are set again is told for those that
    /// fire once, and not for the others.
    pub(super) fn disconnected(&mut self) {
        self.known.clear();
        self.is_stale = !self.once.is_empty() || !self.always.is_empty();
    }

    /// The body of setWatches2, if the server must be told.
    pub(super) fn set_again(&mut self, last_zxid: Zxid) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_stale) {
            return None;
        }
        let once = |wanted: Aspect, exists: bool| {
            let found = self
                .once
                .iter()
                .filter(move |((aspect, _), seen)| *aspect == wanted && seen.is_some() == exists);
            found.map(|((_, path), _)| path.as_str()).collect()
        };
        let always = |recursive: bool| {
            let found = self.always.iter().filter(|(_, is)| **is == recursive);
            found.map(|(path, _)| path.as_str()).collect()
        };
        let lists: [Vec<&str>; 5] = [
            once(Aspect::Data, true),
            once(Aspect::Data, false),
            once(Aspect::Children, true),
            always(false),
            always(true),
        ];
        let mut body = Vec::new();
        body.put_i64(last_zxid.0);
        for list in lists {
            body.put_count(list.len());
            list.iter().for_each(|path| body.put_str(path));
        }
        Some(body)
    }

    /// The session is gone, and everything with it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_always_watched(&self, aspect: Aspect, path: &str) -> bool {
        self.always.iter().any(|(watched, is_recursive)| {
            let below = path.strip_prefix(watched.as_str());
            match (below, is_recursive) {
                (Some(""), false) => true,
                // A recursive watch tells of created and deleted children, not of the parent.
                (Some(""), true) => aspect == Aspect::Data,
                (Some(rest), true) => aspect == Aspect::Data && rest.starts_with('/'),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_an_event_is_noticed() {
        let mut watching = Watching::default();
        assert_eq!(watching.read(Aspect::Data, "/a", None, true), Ok(()));
        assert_eq!(watching.read(Aspect::Data, "/a", None, false), Ok(()));
        let changed = Some(Zxid(7));
        assert_eq!(watching.read(Aspect::Data, "/a", changed, false), Err(None));
        watching.event(EventKind::NodeCreated as i32, "/a");
        assert_eq!(watching.read(Aspect::Data, "/a", changed, false), Ok(()));
        assert_eq!(
            watching.read(Aspect::Data, "/a", Some(Zxid(8)), false),
            Ok(())
        );
    }

    #[test]
    fn a_recursive_watch_covers_what_is_below() {
        let mut watching = Watching::default();
        watching.add_always("/a", true);
        for path in ["/a", "/a/b"] {
            assert_eq!(watching.read(Aspect::Data, path, None, false), Ok(()));
            let changed = Some(Zxid(1));
            assert_eq!(watching.read(Aspect::Data, path, changed, false), Err(None));
        }
        for path in ["/ab", "/"] {
            assert_eq!(watching.read(Aspect::Data, path, None, false), Ok(()));
            assert_eq!(
                watching.read(Aspect::Data, path, Some(Zxid(1)), false),
                Ok(())
            );
        }
    }
}
