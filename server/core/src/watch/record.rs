//! A watched path as bytes in a bucket: a byte of its hash, the length of the
//! rest, the number of its parent, its watchers, its name.

use super::modes::Modes;

/// A connection's number.
pub(super) type Slot = u32;

/// Who watches a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Watchers {
    /// Sorted by slot; none means that there is no record.
    Few(Few),
    /// The number of a crowd.
    Crowd(u32),
}

/// At most [`FEW_MAX`] watchers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Few {
    watchers: [(Slot, Modes); FEW_MAX],
    len: usize,
}

/// A record without its first byte, taken apart.
#[derive(Debug)]
pub(super) struct Record<'b> {
    pub(super) parent: u32,
    /// What follows the last slash.
    pub(super) name: &'b [u8],
    watchers: &'b [u8],
}

/// Where a record stands in its bucket.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// More watchers than this are a crowd.
pub(super) const FEW_MAX: usize = 8;

impl Few {
    pub(super) fn as_slice(&self) -> &[(Slot, Modes)] {
        &self.watchers[..self.len]
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == FEW_MAX
    }

    /// Not when it is full.
    pub(super) fn insert(&mut self, at: usize, watcher: (Slot, Modes)) {
        self.watchers.copy_within(at..self.len, at + 1);
        self.watchers[at] = watcher;
        self.len += 1;
    }

    pub(super) fn set(&mut self, at: usize, modes: Modes) {
        self.watchers[at].1 = modes;
    }

    /// Keeps those of whom `keep` says so, and their order.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut (Slot, Modes)) -> bool) {
        let mut kept = Self::default();
        for watcher in &mut self.watchers[..self.len] {
            if keep(watcher) {
                kept.insert(kept.len, *watcher);
            }
        }
        *self = kept;
    }
}

impl FromIterator<(Slot, Modes)> for Few {
    fn from_iter<I: IntoIterator<Item = (Slot, Modes)>>(watchers: I) -> Self {
        let mut few = Self::default();
        for watcher in watchers {
            few.insert(few.len, watcher);
        }
        few
    }
}

impl<'b> Record<'b> {
    /// The records of a bucket with their places and their byte of the hash.
    pub(super) fn all(bucket: &'b [u8]) -> impl Iterator<Item = (Span, u8, Record<'b>)> {
        spans(bucket).map(|(span, tag)| {
            let record = Self::at(bucket, &span);
            (span, tag, record)
        })
    }

    /// The record at this place.
    pub(super) fn at(bucket: &'b [u8], span: &Span) -> Self {
        let mut bytes = &bucket[span.start + 1..span.end];
        take(&mut bytes);
        let parent = take(&mut bytes);
        let watchers = bytes;
        match take(&mut bytes) {
            0 => {
                take(&mut bytes);
            }
            few => (0..few).for_each(|_| {
                take(&mut bytes);
            }),
        }
        let watchers = &watchers[..watchers.len() - bytes.len()];
        Self {
            parent,
            name: bytes,
            watchers,
        }
    }

    pub(super) fn watchers(&self) -> Watchers {
        let mut bytes = self.watchers;
        match take(&mut bytes) {
            0 => Watchers::Crowd(take(&mut bytes)),
            few => Watchers::Few((0..few).map(|_| unpack(take(&mut bytes))).collect()),
        }
    }
}

/// The places of a bucket's records that have this byte of the hash.
pub(super) fn with_tag(bucket: &[u8], wanted: u8) -> impl Iterator<Item = Span> {
    spans(bucket).filter_map(move |(span, tag)| (tag == wanted).then_some(span))
}

fn spans(bucket: &[u8]) -> impl Iterator<Item = (Span, u8)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let tag = *bucket.get(start)?;
        let mut bytes = &bucket[start + 1..];
        let length = take(&mut bytes) as usize;
        let end = bucket.len() - bytes.len() + length;
        let span = Span { start, end };
        start = end;
        Some((span, tag))
    })
}

/// Appends a record.
pub(super) fn write(out: &mut Vec<u8>, tag: u8, parent: u32, watchers: &Watchers, name: &[u8]) {
    out.push(tag);
    let length = size(parent) + watchers_size(watchers) + name.len();
    put(
        out,
        u32::try_from(length).expect("a path is shorter than 4 GiB"),
    );
    put(out, parent);
    match watchers {
        Watchers::Crowd(number) => {
            put(out, 0);
            put(out, *number);
        }
        Watchers::Few(few) => {
            put(out, few.len as u32);
            few.as_slice()
                .iter()
                .for_each(|watcher| put(out, pack(*watcher)));
        }
    }
    out.extend_from_slice(name);
}

/// Slots of this size and above do not fit.
pub(super) const SLOTS_MAX: Slot = 1 << (u32::BITS - Modes::BITS);

const fn pack((slot, modes): (Slot, Modes)) -> u32 {
    slot << Modes::BITS | modes.0 as u32
}

const fn unpack(packed: u32) -> (Slot, Modes) {
    let modes = packed & ((1 << Modes::BITS) - 1);
    (packed >> Modes::BITS, Modes(modes as u8))
}

fn watchers_size(watchers: &Watchers) -> usize {
    match watchers {
        Watchers::Crowd(number) => 1 + size(*number),
        Watchers::Few(few) => 1 + few.as_slice().iter().map(|w| size(pack(*w))).sum::<usize>(),
    }
}

/// Seven bits a byte, low ones first; the high bit says that more follow.
fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

const fn size(number: u32) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        0x1000_0000.. => 5,
    }
}

fn take(bytes: &mut &[u8]) -> u32 {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (byte, rest) = bytes.split_first().expect("records are whole");
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few(watchers: &[(Slot, Modes)]) -> Watchers {
        Watchers::Few(watchers.iter().copied().collect())
    }

    #[test]
    fn a_bucket_reads_back_what_was_written() {
        let records = [
            (3, 0, few(&[(0, Modes(1))]), "a".repeat(200)),
            (3, 127, Watchers::Crowd(1 << 20), String::new()),
            (
                9,
                300_000,
                Watchers::Few((0..8).map(|n| (n << 23, Modes(31))).collect()),
                "name".into(),
            ),
            (3, u32::MAX, few(&[(SLOTS_MAX - 1, Modes(16))]), "x".into()),
        ];
        let mut bucket = Vec::new();
        for (tag, parent, watchers, name) in &records {
            write(&mut bucket, *tag, *parent, watchers, name.as_bytes());
        }
        let mut count = 0;
        for ((_, tag, record), want) in Record::all(&bucket).zip(&records) {
            assert_eq!((tag, record.parent), (want.0, want.1));
            assert_eq!(
                (&record.watchers(), record.name),
                (&want.2, want.3.as_bytes())
            );
            count += 1;
        }
        assert_eq!(count, records.len());
        assert_eq!(with_tag(&bucket, 3).count(), 3);
        assert_eq!(with_tag(&bucket, 4).count(), 0);
    }

    #[test]
    fn a_sparse_watch_is_small() {
        let mut bucket = Vec::new();
        let one = few(&[(1000, Modes::DATA_ONCE)]);
        write(&mut bucket, 0, 100, &one, b"n-0000000001");
        assert_eq!(bucket.len(), 12 + 7);
    }
}
