//! A reply is about the request that it answers: the transaction whose zxid it
//! carries is what the client has asked for.

use std::collections::BTreeMap;

use zk_proto::Zxid;
use zk_proto::txn::{CreateTxn, Txn};

use super::Violation;

/// What each transaction does, in a few words.
#[derive(Debug, Default)]
pub(crate) struct Subjects(BTreeMap<Zxid, String>);

impl Subjects {
    pub(super) fn proposed(&mut self, zxid: Zxid, subject: String) {
        self.0.insert(zxid, subject);
    }

    /// A client was told that the request for `wanted` has succeeded as `zxid`.
    pub(super) fn answered(&self, zxid: Zxid, wanted: &str) -> Result<(), Violation> {
        let subject = self.0.get(&zxid).map_or("nothing", String::as_str);
        // The server has added a number to the name.
        let is_numbered = wanted.ends_with('-') && subject.starts_with(wanted);
        if subject == wanted || is_numbered {
            return Ok(());
        }
        let detail =
            format!("a client was told that \"{wanted}\" is {zxid}, which is \"{subject}\"");
        Err(Violation::new("a reply fits its request", detail))
    }
}

/// What a transaction does, in the words of [`Subjects`].
pub(crate) fn subject(txn: &Txn<'_>) -> String {
    let create = |create: &CreateTxn<'_>| format!("create {}", create.path);
    match txn {
        Txn::Create(txn)
        | Txn::Create2(txn)
        | Txn::CreateContainer(txn)
        | Txn::CreateTtl(txn, _) => create(txn),
        Txn::Delete(path) | Txn::DeleteContainer(path) => format!("delete {path}"),
        Txn::SetData(set) | Txn::Reconfig(set) => {
            let data = String::from_utf8_lossy(set.data.unwrap_or_default());
            format!("set {} {data}", set.path)
        }
        Txn::SetAcl(set) => format!("set ACL of {}", set.path),
        Txn::Check(path, _) => format!("check {path}"),
        Txn::Multi(txns) => {
            let data = txns.first().map(subject).unwrap_or_default();
            format!("multi {data}")
        }
        Txn::CreateSession(_) => "open".to_owned(),
        Txn::CloseSession(_) => "close".to_owned(),
        Txn::Error(code) => format!("error {code}"),
    }
}
