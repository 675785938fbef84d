//! Shows the records of a snapshot of any size: for tools.

use std::io::Read;

use zk_proto::jute::{DecodeError, Reader};
use zk_proto::snapshot::{
    AclRecord, ImagePart, NodeRecord, SessionRecord, read_acl_record, read_sessions,
};

use super::Compression;
use super::pieces::{Pieces, SnapshotDefect, SnapshotEnd};

/// A record of a snapshot, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRecord<'a> {
    /// A session and its timeout.
    Session(SessionRecord),
    /// A list of the ACL table.
    Acl(AclRecord),
    /// A znode. The root's path is "".
    Znode(NodeRecord<'a>),
}

/// Reads a whole file and checks its seals.
///
/// # Errors
/// Where it is not whole. Records up to there have been visited.
pub fn read_snapshot(
    compression: Compression,
    file: impl Read + Send,
    visit: &mut dyn FnMut(SnapshotRecord<'_>),
) -> Result<SnapshotEnd, SnapshotDefect> {
    let mut visitor = Visitor {
        part: ImagePart::Sessions,
        visit,
    };
    Pieces::new(compression, file)?.read(&mut |piece| visitor.visit_all(piece))
}

struct Visitor<'a> {
    part: ImagePart,
    visit: &'a mut dyn FnMut(SnapshotRecord<'_>),
}

impl Visitor<'_> {
    fn visit_all(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(piece);
        while !reader.rest().is_empty() {
            self.part = self.visit_next(&mut reader)?;
        }
        Ok(())
    }

    fn visit_next(&mut self, reader: &mut Reader<'_>) -> Result<ImagePart, DecodeError> {
        Ok(match self.part {
            ImagePart::Sessions => {
                for session in read_sessions(reader)? {
                    (self.visit)(SnapshotRecord::Session(session));
                }
                ImagePart::AclCount
            }
            ImagePart::AclCount => {
                ImagePart::after_acls(usize::try_from(reader.i32()?).unwrap_or(0))
            }
            ImagePart::Acls(left) => {
                (self.visit)(SnapshotRecord::Acl(read_acl_record(reader)?));
                ImagePart::after_acls(left - 1)
            }
            ImagePart::Znodes => match NodeRecord::read(reader)? {
                Some(znode) => {
                    (self.visit)(SnapshotRecord::Znode(znode));
                    ImagePart::Znodes
                }
                None => ImagePart::Done,
            },
            ImagePart::Done => ImagePart::Done,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{self, HEADER};
    use super::super::pieces::BLOCK_BYTES;
    use super::*;
    use crate::checksum::Adler;
    use zk_proto::client::{Acl, StatPersisted};
    use zk_proto::snapshot::{write_acl_table, write_end, write_sessions};
    use zk_proto::{SessionId, Zxid};

    fn file(znodes: usize, data: &[u8]) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        write_sessions(&mut out, [(SessionId(5), 4000)].into_iter());
        write_acl_table(&mut out, [(3, &[Acl::open()][..])].into_iter());
        for n in 0..znodes {
            NodeRecord {
                path: format!("/{n}").into(),
                data: Some(data),
                acl_ref: 3,
                stat: StatPersisted::default(),
            }
            .write(&mut out);
        }
        write_end(&mut out);
        let mut checksum = Adler::default();
        checksum.write(&out);
        out.extend(format::trailer(checksum, Zxid(7), 99));
        out
    }

    #[test]
    fn records_longer_than_the_window_are_read() {
        let data = vec![9; 3 * BLOCK_BYTES];
        let bytes = file(5, &data);
        let mut seen = Vec::new();
        read_snapshot(Compression::None, &bytes[..], &mut |record| match record {
            SnapshotRecord::Session(session) => assert_eq!(session, (SessionId(5), 4000)),
            SnapshotRecord::Acl(acl) => assert_eq!(acl, (3, vec![Acl::open()])),
            SnapshotRecord::Znode(znode) => {
                assert_eq!(znode.data, Some(&data[..]));
                seen.push(znode.path.into_owned());
            }
        })
        .unwrap();
        assert_eq!(seen, ["/0", "/1", "/2", "/3", "/4"]);
    }
}
