//! A znode's name, numbers and data as one run of bytes.
//!
//! | part | size | there |
//! |---|---|---|
//! | which of the later parts are there | 1 | always |
//! | name | varint length, bytes | always |
//! | czxid, ctime, less those of the [`Base`] | varint each | always |
//! | mzxid - czxid, mtime - ctime | varint each | [`WAS_SET`] |
//! | pzxid - czxid | varint | [`HAS_PZXID`] |
//! | version, cversion, aversion, ephemeralOwner | varint each | a flag each |
//! | place of the ACL | varint | [`HAS_ACL`] |
//! | data | varint length + 1, 0 for null; bytes | always; the bytes not with [`IS_LARGE`] |
//!
//! A znode that was created and never changed so needs 5 to 10 bytes beside
//! name and data. The bytes never leave this process.

use zk_proto::Zxid;
use zk_proto::client::StatPersisted;

use super::acl_table::AclSlot;

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) name: &'a [u8],
    pub(super) data: Data<'a>,
    pub(super) acl: AclSlot,
    pub(super) stat: StatPersisted,
    /// Bytes of the record itself.
    pub(super) length: usize,
}

/// What znodes that were created at about the same time have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) zxid: i64,
    pub(super) time_ms: i64,
}

/// Where the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data<'a> {
    Null,
    Inline(&'a [u8]),
    /// Longer than [`INLINE_BYTES_MAX`], and kept elsewhere.
    Large,
}

/// Longer data is not copied together with its neighbours.
pub(super) const INLINE_BYTES_MAX: usize = 512;

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes`.
    pub(super) fn read(bytes: &'a [u8], base: Base) -> Self {
        let mut cursor = Cursor { bytes, at: 1 };
        let flags = bytes[0];
        let name = cursor.counted();
        let czxid = base.zxid.wrapping_add(cursor.signed());
        let ctime = base.time_ms.wrapping_add(cursor.signed());
        let mut field = |flag: u8| {
            if flags & flag == 0 {
                0
            } else {
                cursor.signed()
            }
        };
        let (mzxid, mtime) = (field(WAS_SET), field(WAS_SET));
        let stat = StatPersisted {
            czxid: Zxid(czxid),
            ctime,
            mzxid: Zxid(czxid.wrapping_add(mzxid)),
            mtime: ctime.wrapping_add(mtime),
            pzxid: Zxid(czxid.wrapping_add(field(HAS_PZXID))),
            version: low_half(field(HAS_VERSION)),
            cversion: low_half(field(HAS_CVERSION)),
            aversion: low_half(field(HAS_AVERSION)),
            ephemeral_owner: field(HAS_OWNER),
        };
        let acl = if flags & HAS_ACL == 0 {
            AclSlot::OPEN
        } else {
            AclSlot::from_number(cursor.unsigned())
        };
        let data = match cursor.unsigned() {
            0 => Data::Null,
            _ if flags & IS_LARGE != 0 => Data::Large,
            length => Data::Inline(cursor.take(length as usize - 1)),
        };
        Self {
            name,
            data,
            acl,
            stat,
            length: cursor.at,
        }
    }

    /// Only the name of the record at the front of `bytes`.
    pub(super) fn name(bytes: &'a [u8]) -> &'a [u8] {
        Cursor { bytes, at: 1 }.counted()
    }
}

/// Appends a record. Data longer than [`INLINE_BYTES_MAX`] is not in it.
pub(super) fn write_record(
    out: &mut Vec<u8>,
    name: &[u8],
    data: Option<&[u8]>,
    acl: AclSlot,
    stat: &StatPersisted,
    base: Base,
) {
    let StatPersisted {
        czxid: Zxid(czxid),
        mzxid: Zxid(mzxid),
        ctime,
        mtime,
        version,
        cversion,
        aversion,
        ephemeral_owner,
        pzxid: Zxid(pzxid),
    } = *stat;
    let flags_at = out.len();
    out.push(0);
    put_unsigned(out, name.len() as u64);
    out.extend_from_slice(name);
    put_signed(out, czxid.wrapping_sub(base.zxid));
    put_signed(out, ctime.wrapping_sub(base.time_ms));
    let mut flags = 0;
    if (mzxid, mtime) != (czxid, ctime) {
        flags |= WAS_SET;
        put_signed(out, mzxid.wrapping_sub(czxid));
        put_signed(out, mtime.wrapping_sub(ctime));
    }
    for (flag, value) in [
        (HAS_PZXID, pzxid.wrapping_sub(czxid)),
        (HAS_VERSION, version.into()),
        (HAS_CVERSION, cversion.into()),
        (HAS_AVERSION, aversion.into()),
        (HAS_OWNER, ephemeral_owner),
    ] {
        if value != 0 {
            flags |= flag;
            put_signed(out, value);
        }
    }
    if acl != AclSlot::OPEN {
        flags |= HAS_ACL;
        put_unsigned(out, acl.number());
    }
    match data {
        None => put_unsigned(out, 0),
        Some(data) => {
            put_unsigned(out, data.len() as u64 + 1);
            if data.len() > INLINE_BYTES_MAX {
                flags |= IS_LARGE;
            } else {
                out.extend_from_slice(data);
            }
        }
    }
    out[flags_at] = flags;
}

const WAS_SET: u8 = 1;
const HAS_PZXID: u8 = 1 << 1;
const HAS_VERSION: u8 = 1 << 2;
const HAS_CVERSION: u8 = 1 << 3;
const HAS_AVERSION: u8 = 1 << 4;
const HAS_OWNER: u8 = 1 << 5;
const HAS_ACL: u8 = 1 << 6;
const IS_LARGE: u8 = 1 << 7;

/// Over bytes that [`write_record`] wrote.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let start = self.at;
        self.at += length;
        &self.bytes[start..self.at]
    }

    fn counted(&mut self) -> &'a [u8] {
        let length = self.unsigned();
        self.take(length as usize)
    }

    fn signed(&mut self) -> i64 {
        let value = self.unsigned();
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }

    fn unsigned(&mut self) -> u64 {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }
}

/// Small numbers of either sign take few bytes.
fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What was widened from 32 bits.
const fn low_half(value: i64) -> i32 {
    value as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat() -> impl Strategy<Value = StatPersisted> {
        let number = || prop_oneof![Just(0_i64), any::<i64>(), 0..1_i64 << 41];
        let small = || prop_oneof![Just(0_i32), any::<i32>()];
        (
            (number(), number(), number(), number(), number()),
            (small(), small(), small(), number()),
            any::<bool>(),
        )
            .prop_map(|((czxid, mzxid, pzxid, ctime, mtime), rest, was_set)| {
                let (version, cversion, aversion, ephemeral_owner) = rest;
                StatPersisted {
                    czxid: Zxid(czxid),
                    mzxid: Zxid(if was_set { mzxid } else { czxid }),
                    pzxid: Zxid(pzxid),
                    ctime,
                    mtime: if was_set { mtime } else { ctime },
                    version,
                    cversion,
                    aversion,
                    ephemeral_owner,
                }
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_written_is_read(
            stat in stat(),
            name in "[a-zž]{0,200}",
            length in prop::option::of(prop_oneof![0..300_usize, 500..520_usize]),
            acl in prop_oneof![Just(0), 1..1_000_000_u64],
            (zxid, time_ms) in any::<(i64, i64)>(),
        ) {
            let base = Base { zxid, time_ms };
            let data = length.map(|length| vec![7; length]);
            let mut bytes = vec![1, 2, 3];
            write_record(&mut bytes, name.as_bytes(), data.as_deref(), AclSlot::from_number(acl), &stat, base);
            let length = bytes.len() - 3;
            bytes.extend_from_slice(&[9; 5]);
            let record = Record::read(&bytes[3..], base);
            prop_assert_eq!(Record::name(&bytes[3..]), name.as_bytes());
            prop_assert_eq!(record.name, name.as_bytes());
            prop_assert_eq!(record.stat, stat);
            prop_assert_eq!(record.acl.number(), acl);
            prop_assert_eq!(record.length, length);
            prop_assert_eq!(record.data, match &data {
                None => Data::Null,
                Some(data) if data.len() > INLINE_BYTES_MAX => Data::Large,
                Some(data) => Data::Inline(data),
            });
        }
    }

    #[test]
    fn a_plain_znode_takes_little_beside_its_name_and_data() {
        let stat = StatPersisted {
            czxid: Zxid(0x1_0000_1234),
            mzxid: Zxid(0x1_0000_1234),
            pzxid: Zxid(0x1_0000_1234),
            ctime: 1_790_000_000_000,
            mtime: 1_790_000_000_000,
            ..StatPersisted::default()
        };
        let mut out = Vec::new();
        let base = Base {
            zxid: 0x1_0000_1200,
            time_ms: 1_790_000_000_000 - 9,
        };
        write_record(&mut out, b"name", Some(b"data"), AclSlot::OPEN, &stat, base);
        assert_eq!(out.len(), 8 + 5);
    }
}
