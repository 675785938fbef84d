//! Layout of a snapshot file.
//!
//! | part | size | layout | since |
//! |---|---|---|---|
//! | header | 16 | int "ZKSN", int version 2, long -1 | |
//! | image | | sessions, ACL table, znodes, end mark: `zk_proto::snapshot` | |
//! | seal | 13 | long Adler-32 of all bytes before it, ustring "/" | |
//! | digest | 20 | long zxid, int digest version 2, long tree digest | 3.6 |
//! | seal | 13 | | 3.6 |
//! | last zxid | 8 | long | 3.9 |
//! | seal | 13 | | 3.9 |
//!
//! Nothing says which of the later parts are there but the number of bytes
//! left after the first seal: 0, 33, 21 or 54.

use zk_proto::Zxid;
use zk_proto::jute::{Put, Reader};
use zk_proto::txn::TxnDigest;

use crate::checksum::Adler;

/// First bytes of the file.
pub(super) const HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
/// Last bytes of the file and of every seal.
pub(super) const SEAL_END: [u8; 5] = *b"\0\0\0\x01/";
pub(super) const SEAL_BYTES: usize = 13;
pub(super) const MAGIC_BYTES: usize = 4;
pub(super) const DIGEST_PART_BYTES: usize = 20 + SEAL_BYTES;
pub(super) const ZXID_PART_BYTES: usize = 8 + SEAL_BYTES;

/// Everything after the image, in the form of 3.9. `checksum` has seen the
/// header and the image.
pub(super) fn trailer(mut checksum: Adler, zxid: Zxid, digest: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEAL_BYTES + BOTH_PARTS_BYTES);
    let mut seal = |out: &mut Vec<u8>, from: usize| {
        checksum.write(&out[from..]);
        let start = out.len();
        out.put_i64(checksum.value());
        out.put_raw(&SEAL_END);
        checksum.write(&out[start..]);
    };
    seal(&mut out, 0);
    let start = out.len();
    out.put_i64(zxid.0);
    let digest = TxnDigest {
        version: TxnDigest::VERSION,
        tree_digest: digest,
    };
    digest.write(&mut out);
    seal(&mut out, start);
    let start = out.len();
    out.put_i64(zxid.0);
    seal(&mut out, start);
    out
}

/// Both optional parts.
pub(super) const BOTH_PARTS_BYTES: usize = DIGEST_PART_BYTES + ZXID_PART_BYTES;

pub(super) fn read_digest(bytes: &[u8]) -> Option<(Zxid, u64)> {
    let mut reader = Reader::new(bytes);
    let zxid = Zxid(reader.i64().ok()?);
    let digest = TxnDigest::read(&mut reader).ok()?;
    (digest.version == TxnDigest::VERSION).then_some((zxid, digest.tree_digest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use zk_proto::SessionId;
    use zk_proto::client::StatPersisted;
    use zk_proto::snapshot::{
        NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions,
    };

    /// A small file of 3.9, and where its image ends.
    pub(in super::super) fn file() -> (Vec<u8>, usize) {
        let mut out = HEADER.to_vec();
        write_sessions(&mut out, [(SessionId(5), 4000)].into_iter());
        write_acl_table(&mut out, [].into_iter());
        for path in ["", "/a"] {
            NodeRecord {
                path: path.into(),
                data: Some(b"xyz"),
                acl_ref: OPEN_ACL_REF,
                stat: StatPersisted::default(),
            }
            .write(&mut out);
        }
        write_end(&mut out);
        let end = out.len();
        let mut checksum = Adler::default();
        checksum.write(&out);
        out.extend(trailer(checksum, Zxid(7), 99));
        (out, end)
    }
}
