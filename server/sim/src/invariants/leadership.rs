//! An epoch has at most one established leader (`Zab.tla`: Leadership).

use std::collections::BTreeMap;

use zk_proto::Epoch;

use super::{Life, Violation};

/// Who was established when.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    leaders: BTreeMap<Epoch, Life>,
}

impl Leadership {
    pub(super) fn established(&mut self, who: Life, epoch: Epoch) -> Result<(), Violation> {
        if let Some(other) = self.leaders.insert(epoch, who) {
            let detail = format!("{other} and {who} both lead epoch {epoch}");
            return Err(Violation::new("one leader per epoch", detail));
        }
        Ok(())
    }
}
