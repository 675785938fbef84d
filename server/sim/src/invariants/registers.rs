//! A znode whose data is set by version only is a register with
//! compare-and-set: each version is written once, and none after a newer one
//! was acknowledged.

use std::collections::BTreeMap;

use zk_proto::Zxid;

use super::Violation;

/// A version of a register.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest {
    pub(crate) version: i32,
    /// Where the tree stood that showed it.
    pub(crate) zxid: Zxid,
}

/// All registers of a run; they are never deleted.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    written: BTreeMap<(String, i32), String>,
    newest: BTreeMap<String, Newest>,
}

impl Registers {
    /// The newest version that was acknowledged; what is asked for from now on
    /// comes after it.
    pub(crate) fn newest(&self, path: &str) -> Option<Newest> {
        self.newest.get(path).copied()
    }

    /// A client was told that its data is now that version. When it asked, the
    /// newest was `before`, and it had asked for the one after `expected`.
    pub(crate) fn set(
        &mut self,
        path: &str,
        expected: i32,
        before: i32,
        is: Newest,
        data: &str,
    ) -> Result<(), Violation> {
        let version = is.version;
        if version != expected + 1 || version <= before {
            let detail = format!(
                "{path} was to be set at version {expected} and has version {version}; {before} \
                 had been acknowledged before"
            );
            return Err(Violation::new("a register is compared and set", detail));
        }
        let newest = self.newest.entry(path.to_owned()).or_default();
        if version > newest.version {
            *newest = is;
        }
        self.shows(path, version, data)
    }

    /// A client was told, by a write or a read, that this version has this data.
    pub(crate) fn shows(&mut self, path: &str, version: i32, data: &str) -> Result<(), Violation> {
        let key = (path.to_owned(), version);
        let known = self.written.entry(key).or_insert_with(|| data.to_owned());
        if known == data {
            return Ok(());
        }
        let detail = format!("version {version} of {path} is {known} and {data}");
        Err(Violation::new("a register is compared and set", detail))
    }
}

/// A client has synced when `least` had been acknowledged, and reads. A leader
/// that was replaced and has not noticed knows nothing of later epochs.
pub(crate) fn is_shown(
    client: usize,
    path: &str,
    least: Option<Newest>,
    shown: Newest,
) -> Result<(), Violation> {
    match least {
        Some(least) if shown.zxid.epoch() >= least.zxid.epoch() => {
            if shown.version >= least.version {
                return Ok(());
            }
            let detail = format!(
                "client {client} has synced after version {} of {path} was acknowledged, and \
                 reads version {} at {}",
                least.version, shown.version, shown.zxid
            );
            Err(Violation::new("a sync shows what was acknowledged", detail))
        }
        Some(_) | None => Ok(()),
    }
}
