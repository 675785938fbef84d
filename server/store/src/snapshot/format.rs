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

use std::ops::Range;

use adler2::Adler32;
use zk_proto::Zxid;
use zk_proto::jute::{Put, Reader};
use zk_proto::snapshot::image_length;
use zk_proto::txn::TxnDigest;

/// First bytes of the file.
pub(super) const HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
/// Last bytes of the file and of every seal.
const SEAL_END: [u8; 5] = *b"\0\0\0\x01/";
pub(super) const SEAL_BYTES: usize = 13;
pub(super) const MAGIC_BYTES: usize = 4;
pub(super) const DIGEST_PART_BYTES: usize = 20 + SEAL_BYTES;
pub(super) const ZXID_PART_BYTES: usize = 8 + SEAL_BYTES;
/// Smaller files are not looked at.
const BYTES_MIN: usize = 10;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Where the image lies.
    pub(super) image: Range<usize>,
    /// Zxid and digest at the end of serialization, if digests were on.
    pub(super) digest: Option<(Zxid, u64)>,
}

/// Why and where a file is not whole.
pub(super) type Defect = (usize, String);

/// Might the file be whole? The reference's quick test, which finds files
/// that a crash cut short (`SnapStream.isValidSnapshot`).
pub(super) fn looks_whole(bytes: &[u8]) -> bool {
    bytes.len() >= BYTES_MIN && bytes.ends_with(&SEAL_END)
}

/// Reads the file of any version since 3.5 and checks its seals.
pub(super) fn read(bytes: &[u8]) -> Result<Parts, Defect> {
    if !bytes.starts_with(&HEADER[..MAGIC_BYTES]) || bytes.len() < HEADER.len() {
        return Err((0, "it does not begin as a snapshot".to_owned()));
    }
    let body = &bytes[HEADER.len()..];
    let length = image_length(body).map_err(|error| {
        let at = HEADER.len() + error.offset;
        (at, error.reason.to_string())
    })?;
    let image = HEADER.len()..HEADER.len() + length;
    let mut seals = Seals::default();
    let mut at = seals.check(bytes, image.end)?;
    let left = bytes.len() - at;
    let mut digest = None;
    match left {
        0 | ZXID_PART_BYTES => {}
        DIGEST_PART_BYTES | BOTH_PARTS_BYTES => {
            digest = read_digest(&bytes[at..]);
            at = seals.check(bytes, at + DIGEST_PART_BYTES - SEAL_BYTES)?;
        }
        _ => return Err((at, format!("{left} bytes follow the image"))),
    }
    if at < bytes.len() {
        seals.check(bytes, at + ZXID_PART_BYTES - SEAL_BYTES)?;
    }
    Ok(Parts { image, digest })
}

/// Everything after the image, in the form of 3.9. `checksum` has seen the
/// header and the image.
pub(super) fn trailer(mut checksum: Adler32, zxid: Zxid, digest: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEAL_BYTES + BOTH_PARTS_BYTES);
    let mut seal = |out: &mut Vec<u8>, from: usize| {
        checksum.write_slice(&out[from..]);
        let start = out.len();
        out.put_i64(checksum.checksum().into());
        out.put_raw(&SEAL_END);
        checksum.write_slice(&out[start..]);
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

/// Checks seal after seal and looks at each byte once.
#[derive(Default)]
struct Seals {
    checksum: Adler32,
    seen: usize,
}

impl Seals {
    /// Checks the seal at `at`; returns where it ends.
    fn check(&mut self, bytes: &[u8], at: usize) -> Result<usize, Defect> {
        let mut reader = Reader::new(&bytes[at..]);
        let sealed = reader.i64().and_then(|sum| Ok((sum, reader.take(5)?)));
        let (checksum, end) = sealed.map_err(|_| (at, "a seal is cut off".to_owned()))?;
        self.checksum.write_slice(&bytes[self.seen..at]);
        self.seen = at;
        if end != SEAL_END || checksum != i64::from(self.checksum.checksum()) {
            return Err((at, "a seal does not match".to_owned()));
        }
        Ok(at + SEAL_BYTES)
    }
}

pub(super) fn read_digest(bytes: &[u8]) -> Option<(Zxid, u64)> {
    let mut reader = Reader::new(bytes);
    let zxid = Zxid(reader.i64().ok()?);
    let digest = TxnDigest::read(&mut reader).ok()?;
    (digest.version == TxnDigest::VERSION).then_some((zxid, digest.tree_digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::SessionId;
    use zk_proto::client::StatPersisted;
    use zk_proto::snapshot::{
        NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions,
    };

    fn file() -> (Vec<u8>, usize) {
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
        let mut checksum = Adler32::new();
        checksum.write_slice(&out);
        out.extend(trailer(checksum, Zxid(7), 99));
        (out, end)
    }

    #[test]
    fn every_generation_is_read_and_every_other_length_refused() {
        let (whole, end) = file();
        assert_eq!(whole.len(), end + SEAL_BYTES + 54);
        let digest = Some((Zxid(7), 99));
        for cut in 0..whole.len() {
            let bytes = &whole[..cut];
            let got = read(bytes);
            match cut.checked_sub(end + SEAL_BYTES) {
                Some(0) => assert_eq!(got.unwrap().digest, None),
                Some(33) => assert_eq!(got.unwrap().digest, digest),
                _ => {
                    got.expect_err("cut off");
                    continue;
                }
            }
            assert!(looks_whole(bytes));
        }
        let parts = Parts {
            image: 16..end,
            digest,
        };
        assert_eq!(read(&whole).unwrap(), parts);
        let mut zxid_only = whole[..end + SEAL_BYTES].to_vec();
        zxid_only.put_i64(7);
        let sum = adler2::adler32_slice(&zxid_only);
        zxid_only.put_i64(sum.into());
        zxid_only.put_raw(&SEAL_END);
        assert_eq!(read(&zxid_only).unwrap().digest, None);
    }

    #[test]
    fn no_flipped_bit_is_overlooked() {
        let (whole, _) = file();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read(&bytes).expect_err("a flipped bit");
        }
    }
}
