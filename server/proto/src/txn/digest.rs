//! Tree digests (reference: `DigestCalculator`, `AdHash`, 3.6 and later).

use crc32fast::Hasher;

use crate::client::StatPersisted;
use crate::jute::{DecodeError, Put, Reader};

/// Digest of a tree that holds only the root and the `/zookeeper` znodes.
pub const TREE_DIGEST_EMPTY: u64 = 1_371_985_504;

/// The tree digest after a transaction, at the end of its record; 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// 2 since 3.6.0.
    pub version: i32,
    /// Wrapping sum of the znodes' digests.
    pub tree_digest: u64,
}

impl TxnDigest {
    /// Version that this implementation computes.
    pub const VERSION: i32 = 2;

    /// Reads 12 bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: reader.i32()?,
            tree_digest: reader.i64()? as u64,
        })
    }

    /// Appends 12 bytes.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i32(self.version);
        out.put_i64(self.tree_digest as i64);
    }
}

/// What one znode adds to the tree digest. `path` is the full path, `/` for
/// the root. Znodes below `/zookeeper/` add nothing.
#[must_use]
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    digest_of(path.as_bytes(), data, stat)
}

/// A charset in which a leader of the reference may hash paths: the default one
/// of its virtual machine, where that is not UTF-8 (`String.getBytes` in
/// `DigestCalculator`). Java writes a question mark for what a charset lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathCharset {
    /// With `LC_ALL=C`, as in many containers and init scripts.
    Ascii,
    /// Latin 1. For most paths Windows 1252 is the same.
    Latin1,
}

impl PathCharset {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ascii, Self::Latin1];

    /// As Java names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ascii => "US-ASCII",
            Self::Latin1 => "ISO-8859-1",
        }
    }

    /// As [`node_digest`], with the path in this charset.
    #[must_use]
    pub fn node_digest(self, path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
        let last = match self {
            Self::Ascii => 0x7f,
            Self::Latin1 => 0xff,
        };
        let byte = |char: char| u8::try_from(char).ok().filter(|byte| *byte <= last);
        let path: Vec<_> = path.chars().map(|it| byte(it).unwrap_or(b'?')).collect();
        digest_of(&path, data, stat)
    }
}

fn digest_of(path: &[u8], data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    if path.starts_with(b"/zookeeper/") {
        return 0;
    }
    let path: &[u8] = if path == b"/" { b"" } else { path };
    let data = data.unwrap_or_default();
    let mut numbers = [0; 60];
    let longs = [
        stat.czxid.0,
        stat.mzxid.0,
        stat.pzxid.0,
        stat.ctime,
        stat.mtime,
    ];
    for (to, from) in numbers.chunks_exact_mut(8).zip(longs) {
        to.copy_from_slice(&from.to_be_bytes());
    }
    for (to, from) in
        numbers[40..52]
            .chunks_exact_mut(4)
            .zip([stat.version, stat.cversion, stat.aversion])
    {
        to.copy_from_slice(&from.to_be_bytes());
    }
    numbers[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    u64::from(crc32([path, data, &numbers]))
}

/// In one go where that is possible: the fast way needs some length.
fn crc32(parts: [&[u8]; 3]) -> u32 {
    let mut whole = [0; 512];
    let mut length = 0;
    for part in parts {
        let Some(to) = whole.get_mut(length..length + part.len()) else {
            let mut hasher = Hasher::new();
            parts.iter().for_each(|part| hasher.update(part));
            return hasher.finalize();
        };
        to.copy_from_slice(part);
        length += part.len();
    }
    crc32fast::hash(&whole[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_how_it_is_computed() {
        let stat = StatPersisted::default();
        for length in [0, 100, 443, 444, 445, 451, 452, 453, 511, 512, 513, 5_000] {
            let data = vec![7; length];
            let mut hasher = Hasher::new();
            hasher.update(b"/a");
            hasher.update(&data);
            hasher.update(&[0; 60]);
            let want = u64::from(hasher.finalize());
            assert_eq!(node_digest("/a", Some(&data), &stat), want, "{length}");
        }
    }

    #[test]
    fn what_a_charset_lacks_is_one_question_mark() {
        let stat = StatPersisted::default();
        let hashed = |path: &[u8]| digest_of(path, None, &stat);
        for (charset, path) in [
            (PathCharset::Ascii, &b"/a?b??c"[..]),
            (PathCharset::Latin1, &b"/a\xfcb??c"[..]),
        ] {
            let digest = charset.node_digest("/aüb€😀c", None, &stat);
            assert_eq!(digest, hashed(path), "{charset:?}");
            let plain = charset.node_digest("/plain", None, &stat);
            assert_eq!(plain, node_digest("/plain", None, &stat));
        }
    }

    #[test]
    fn an_empty_tree_has_the_reference_digest() {
        let stat = StatPersisted::default();
        assert_eq!(node_digest("/", None, &stat), 68_323_592);
        assert_eq!(node_digest("/zookeeper", None, &stat), 1_303_661_912);
        assert_eq!(node_digest("/zookeeper/quota", None, &stat), 0);
        assert_eq!(68_323_592 + 1_303_661_912, TREE_DIGEST_EMPTY);
    }
}
