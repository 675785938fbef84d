//! A sync shows what was acknowledged before it was sent.

use std::collections::BTreeMap;

use zk_proto::{Epoch, Zxid};

use super::Violation;

/// The newest acknowledged transaction of each epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged(BTreeMap<Epoch, Zxid>);

impl Acknowledged {
    pub(super) fn acknowledged(&mut self, zxid: Zxid) {
        let newest = self.0.entry(zxid.epoch()).or_default();
        *newest = zxid.max(*newest);
    }

    /// A sync was answered by a server at `zxid`. `self` is what had been
    /// acknowledged when it was sent. A leader that was replaced and has not
    /// noticed knows nothing of later epochs, as in the reference.
    pub(crate) fn are_shown(&self, client: usize, zxid: Zxid) -> Result<(), Violation> {
        let of_epoch = self.0.range(..=zxid.epoch()).next_back();
        match of_epoch {
            Some((_, newest)) if *newest > zxid => {
                let detail = format!(
                    "client {client} has synced at {zxid}, {newest} was acknowledged before"
                );
                Err(Violation::new("a sync shows what was acknowledged", detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}
