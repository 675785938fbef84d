//! What is sent, and what a right answer to it looks like.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::codec::{self, Reply};

/// The mixes of requests that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// getData only.
    Read,
    /// setData only.
    Write,
    /// 90 % getData, 10 % setData.
    Mix,
    /// setData, one connection, one outstanding.
    Single,
    /// create of persistent znodes; the tree grows with every reply.
    Create,
}

/// A request that has been sent and waits for its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outstanding {
    pub(crate) xid: i32,
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) sent_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Create,
}

/// Makes requests from encoded templates, so that one costs a copy and a few patched bytes.
pub(crate) struct Load {
    workload: Workload,
    znodes: u32,
    data_bytes: usize,
    read: Template,
    write: Template,
    create: Template,
    created: u32,
    random: u64,
}

impl Load {
    /// `run` tells the znodes created in this run from those of any other.
    pub(crate) fn new(workload: Workload, znodes: u32, data_bytes: usize, run: u64) -> Self {
        let data = |number| znode_data(number, data_bytes);
        Self {
            workload,
            znodes,
            data_bytes,
            read: Template::new(|number| codec::get_data(0, &znode_path(number))),
            write: Template::new(|number| codec::set_data(0, &znode_path(number), &data(number))),
            create: Template::new(|number| {
                let path = format!("{CREATED_PARENT}/{run:016x}-{}", text(&digits(number)));
                codec::create(0, &path, &data(number))
            }),
            created: 0,
            random: run | 1,
        }
    }

    /// Appends the next request to `out`.
    pub(crate) fn put_next(&mut self, xid: i32, now_ns: u64, out: &mut Vec<u8>) -> Outstanding {
        let random = self.next_random();
        let kind = match self.workload {
            Workload::Read => Kind::Read,
            Workload::Write | Workload::Single => Kind::Write,
            Workload::Mix if random % 100 < MIX_WRITES_PERCENT => Kind::Write,
            Workload::Mix => Kind::Read,
            Workload::Create => Kind::Create,
        };
        let number = match kind {
            Kind::Read | Kind::Write => {
                u32::try_from((random >> 32) % u64::from(self.znodes)).unwrap_or(0)
            }
            Kind::Create => {
                self.created = (self.created + 1) % NUMBERS;
                self.created
            }
        };
        match kind {
            Kind::Read => &self.read,
            Kind::Write => &self.write,
            Kind::Create => &self.create,
        }
        .put(xid, number, out);
        Outstanding {
            xid,
            kind,
            number,
            sent_ns: now_ns,
        }
    }

    /// Checks the body of a reply without error.
    ///
    /// # Errors
    /// When it is not the answer to `request`.
    pub(crate) fn verify(&self, request: Outstanding, reply: &Reply<'_>) -> Result<()> {
        match request.kind {
            Kind::Read => {
                let data = codec::data_of_get(reply.body)?;
                ensure!(
                    data.len() == self.data_bytes && data.starts_with(&digits(request.number)),
                    "getData of znode {} gave {} bytes: {}",
                    request.number,
                    data.len(),
                    text(&data[..data.len().min(NUMBER_DIGITS)])
                );
            }
            Kind::Write => {
                let length = codec::data_length_of_set(reply.body)?;
                ensure!(
                    usize::try_from(length).is_ok_and(|length| length == self.data_bytes),
                    "setData of {} bytes gave a stat with dataLength {length}",
                    self.data_bytes
                );
            }
            Kind::Create => {
                let path = codec::path_of_create(reply.body)?;
                ensure!(
                    path.ends_with(&digits(request.number)),
                    "create of {} gave path {}",
                    request.number,
                    text(path)
                );
            }
        }
        Ok(())
    }

    /// xorshift64*: the load needs an even spread, not secrecy.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Path of one of the znodes that are read and written.
pub(crate) fn znode_path(number: u32) -> String {
    format!("{PARENT}/{}", text(&digits(number)))
}

/// Data of that znode: its number and padding, so that a reply meant for another request shows.
pub(crate) fn znode_data(number: u32, data_bytes: usize) -> Vec<u8> {
    let mut data = digits(number).to_vec();
    data.resize(data_bytes, b'.');
    data
}

/// An encoded request with the places where its xid and its number go.
struct Template {
    frame: Vec<u8>,
    numbers_at: Vec<usize>,
}

impl Template {
    /// `encode` gives the request for a number: where the first and the last number differ,
    /// the digits stand.
    fn new(encode: impl Fn(u32) -> Vec<u8>) -> Self {
        let frame = encode(0);
        let last = encode(NUMBERS - 1);
        let mut numbers_at = Vec::new();
        let mut at = 0;
        while at < frame.len() {
            if frame[at] == last[at] {
                at += 1;
            } else {
                numbers_at.push(at);
                at += NUMBER_DIGITS;
            }
        }
        Self { frame, numbers_at }
    }

    fn put(&self, xid: i32, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        frame[codec::XID_AT..codec::XID_AT + 4].copy_from_slice(&xid.to_be_bytes());
        let digits = digits(number);
        for at in &self.numbers_at {
            frame[*at..*at + NUMBER_DIGITS].copy_from_slice(&digits);
        }
    }
}

fn digits(mut number: u32) -> [u8; NUMBER_DIGITS] {
    let mut digits = [b'0'; NUMBER_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Parent of the znodes that are read and written.
pub(crate) const PARENT: &str = "/bench";
/// Parent of the znodes that the create workload leaves behind.
pub(crate) const CREATED_PARENT: &str = "/bench-created";

const MIX_WRITES_PERCENT: u64 = 10;
const NUMBER_DIGITS: usize = 7;
const NUMBERS: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DATA_BYTES: usize = 100;

    fn request(kind: Kind, number: u32) -> Outstanding {
        Outstanding {
            xid: 1,
            kind,
            number,
            sent_ns: 0,
        }
    }

    fn reply(body: &[u8]) -> Reply<'_> {
        Reply {
            xid: 1,
            zxid: 1,
            err: 0,
            body,
        }
    }

    #[test]
    fn a_template_gives_the_same_bytes_as_the_codec() {
        for workload in [Workload::Read, Workload::Write, Workload::Create] {
            let mut load = Load::new(workload, 1000, DATA_BYTES, 0x0100_0000_0000_0000);
            let mut out = Vec::new();
            let sent = load.put_next(77, 0, &mut out);
            let path = znode_path(sent.number);
            let data = znode_data(sent.number, DATA_BYTES);
            let expected = match sent.kind {
                Kind::Read => codec::get_data(77, &path),
                Kind::Write => codec::set_data(77, &path, &data),
                Kind::Create => codec::create(77, "/bench-created/0100000000000000-0000001", &data),
            };
            assert_eq!(out, expected, "{workload:?}");
        }
    }

    #[test]
    fn the_mix_has_nine_reads_to_a_write_and_touches_all_znodes() {
        let mut load = Load::new(Workload::Mix, 50, DATA_BYTES, 5);
        let mut writes = 0;
        let mut seen = [false; 50];
        for _ in 0..20_000 {
            let sent = load.put_next(1, 0, &mut Vec::new());
            writes += u32::from(sent.kind == Kind::Write);
            seen[sent.number as usize] = true;
        }
        assert!((1_800..2_200).contains(&writes), "{writes}");
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn a_read_is_right_only_with_all_bytes_of_the_znode_asked_for() {
        let load = Load::new(Workload::Read, 1000, DATA_BYTES, 1);
        let body = |data: &[u8]| {
            let mut body = i32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
            body.extend(data);
            body.extend([0; 68]);
            body
        };
        let right = body(&znode_data(42, DATA_BYTES));
        load.verify(request(Kind::Read, 42), &reply(&right))
            .unwrap();
        let short = body(&znode_data(42, DATA_BYTES - 1));
        let other = body(&znode_data(43, DATA_BYTES));
        for wrong in [&short, &other, &right[..right.len() - 1].to_vec()] {
            assert!(load.verify(request(Kind::Read, 42), &reply(wrong)).is_err());
        }
    }

    #[test]
    fn a_write_is_right_only_with_a_stat_of_the_data_written() {
        let load = Load::new(Workload::Write, 1000, DATA_BYTES, 1);
        let mut stat = [0; 68];
        assert!(load.verify(request(Kind::Write, 1), &reply(&stat)).is_err());
        stat[55] = 100;
        load.verify(request(Kind::Write, 1), &reply(&stat)).unwrap();
        assert!(
            load.verify(request(Kind::Write, 1), &reply(&stat[..67]))
                .is_err()
        );
    }

    #[test]
    fn a_create_is_right_only_with_its_own_path() {
        let load = Load::new(Workload::Create, 1000, DATA_BYTES, 1);
        let body = b"\0\0\0\x08x0000012";
        load.verify(request(Kind::Create, 12), &reply(body))
            .unwrap();
        assert!(
            load.verify(request(Kind::Create, 13), &reply(body))
                .is_err()
        );
    }
}
