//! Who watches which path: buckets of packed records. There is one bucket for
//! about [`RECORDS_PER_BUCKET`] records, or fewer of long paths, and they grow and shrink one at a
//! time (linear hashing), so no change moves more than two of them.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::buckets::{address, partner};
use super::crowd::Crowd;
use super::modes::Modes;
use super::parents::Parents;
use super::record::{self, FEW_MAX, Few, Record, Slot, Span, Watchers};

#[derive(Debug)]
pub(super) struct Index {
    hasher: FixedState,
    buckets: Vec<Vec<u8>>,
    records: usize,
    /// Bytes of all records.
    bytes: usize,
    parents: Parents,
    crowds: Vec<Crowd>,
    unused_crowds: Vec<u32>,
    /// The bucket to sweep next.
    sweep_at: usize,
    scratch: Vec<u8>,
}

/// A path on its way to its record.
#[derive(Clone, Copy)]
struct Key<'p> {
    /// Up to the last slash, which is included.
    parent: &'p str,
    name: &'p str,
    hash: u64,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            buckets: Vec::new(),
            records: 0,
            bytes: 0,
            parents: Parents::default(),
            crowds: Vec::new(),
            unused_crowds: Vec::new(),
            sweep_at: 0,
            scratch: Vec::new(),
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        let hasher = self.hasher.clone();
        *self = Self {
            hasher,
            ..Self::new(0)
        };
    }

    /// In which ways a connection watches a path.
    pub(super) fn modes(&self, path: &str, slot: Slot) -> Modes {
        match self.watchers(path) {
            None => Modes::default(),
            Some(Watchers::Crowd(number)) => self.crowds[number as usize].modes(slot),
            Some(Watchers::Few(few)) => few
                .as_slice()
                .iter()
                .find(|(watcher, _)| *watcher == slot)
                .map_or_else(Modes::default, |(_, modes)| *modes),
        }
    }

    /// Replaces them. Without any, the watcher is forgotten.
    pub(super) fn set_modes(&mut self, path: &str, slot: Slot, modes: Modes) {
        let key = self.key(path);
        let Some((bucket, span)) = self.find(key) else {
            if !modes.is_empty() {
                let few = Few::from_iter([(slot, modes)]);
                self.insert(key, &Watchers::Few(few));
            }
            return;
        };
        match Record::at(&self.buckets[bucket], &span).watchers() {
            Watchers::Crowd(number) => {
                self.crowds[number as usize].set(slot, modes);
                self.crowd_shrank(bucket, span, number);
            }
            Watchers::Few(mut few) => {
                let mut crowd = None;
                match few
                    .as_slice()
                    .binary_search_by_key(&slot, |(watcher, _)| *watcher)
                {
                    Ok(_) if modes.is_empty() => few.retain(|(watcher, _)| *watcher != slot),
                    Ok(at) => few.set(at, modes),
                    Err(_) if modes.is_empty() => return,
                    Err(_) if few.is_full() => crowd = Some(self.new_crowd(&few, slot, modes)),
                    Err(at) => few.insert(at, (slot, modes)),
                }
                let watchers = crowd.map_or(Watchers::Few(few), Watchers::Crowd);
                self.rewrite(bucket, span, &watchers);
                self.resize();
            }
        }
    }

    /// Appends those who watch the path in any of these ways, by slot.
    pub(super) fn collect(&self, path: &str, wanted: Modes, out: &mut Vec<Slot>) {
        match self.watchers(path) {
            None => {}
            Some(Watchers::Crowd(number)) => self.crowds[number as usize].collect(wanted, out),
            Some(Watchers::Few(few)) => out.extend(
                few.as_slice()
                    .iter()
                    .filter(|(_, modes)| modes.has_any(wanted))
                    .map(|(slot, _)| *slot),
            ),
        }
    }

    /// As [`Self::collect`], and takes the modes `once` away. `gone` gets
    /// those of whom none of `wanted` is left.
    pub(super) fn consume(
        &mut self,
        path: &str,
        wanted: Modes,
        once: Modes,
        out: &mut Vec<Slot>,
        gone: &mut Vec<Slot>,
    ) {
        let Some((bucket, span)) = self.find(self.key(path)) else {
            return;
        };
        match Record::at(&self.buckets[bucket], &span).watchers() {
            Watchers::Crowd(number) => {
                let crowd = &mut self.crowds[number as usize];
                crowd.collect(wanted, out);
                let start = gone.len();
                crowd.collect(once, gone);
                if gone.len() == start {
                    return;
                }
                crowd.clear(once);
                let mut kept = start;
                for at in start..gone.len() {
                    if !crowd.modes(gone[at]).has_any(wanted) {
                        gone[kept] = gone[at];
                        kept += 1;
                    }
                }
                gone.truncate(kept);
                self.crowd_shrank(bucket, span, number);
            }
            Watchers::Few(mut few) => {
                let mut changed = false;
                few.retain(|(slot, modes)| {
                    if modes.has_any(wanted) {
                        out.push(*slot);
                    }
                    changed |= modes.has_any(once);
                    let had = modes.has_any(wanted);
                    *modes = modes.without(once);
                    if had && !modes.has_any(wanted) {
                        gone.push(*slot);
                    }
                    !modes.is_empty()
                });
                if changed {
                    self.rewrite(bucket, span, &Watchers::Few(few));
                    self.resize();
                }
            }
        }
    }

    /// Looks through some buckets and forgets the watchers that are dead.
    pub(super) fn sweep(
        &mut self,
        buckets: usize,
        is_dead: impl Fn(Slot) -> bool,
        mut on_dropped: impl FnMut(Slot, Modes),
    ) {
        for _ in 0..buckets.min(self.buckets.len()) {
            if self.sweep_at >= self.buckets.len() {
                self.sweep_at = 0;
            }
            let has_dead = |record: &Record<'_>| match record.watchers() {
                Watchers::Crowd(_) => true,
                Watchers::Few(few) => few.as_slice().iter().any(|(slot, _)| is_dead(*slot)),
            };
            // From the end, so that places before stay right.
            let spans: Vec<_> = Record::all(&self.buckets[self.sweep_at])
                .filter(|(.., record)| has_dead(record))
                .map(|(span, ..)| span)
                .collect();
            for span in spans.into_iter().rev() {
                self.sweep_record(span, &is_dead, &mut on_dropped);
            }
            self.sweep_at += 1;
        }
        self.resize();
    }

    /// The number of buckets.
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Visits all paths with those who watch them in any of these ways.
    pub(super) fn for_each(&self, wanted: Modes, visit: &mut dyn FnMut(&str, &[Slot])) {
        let mut path = String::new();
        let mut slots = Vec::new();
        for (_, _, record) in self.buckets.iter().flat_map(|bucket| Record::all(bucket)) {
            slots.clear();
            match record.watchers() {
                Watchers::Crowd(number) => {
                    self.crowds[number as usize].collect(wanted, &mut slots);
                }
                Watchers::Few(few) => {
                    let wanting = few
                        .as_slice()
                        .iter()
                        .filter(|(_, modes)| modes.has_any(wanted));
                    slots.extend(wanting.map(|(slot, _)| *slot));
                }
            }
            if !slots.is_empty() {
                path.clear();
                path.push_str(self.parents.text(record.parent));
                path.push_str(&String::from_utf8_lossy(record.name));
                visit(&path, &slots);
            }
        }
    }

    fn sweep_record(
        &mut self,
        span: Span,
        is_dead: &impl Fn(Slot) -> bool,
        on_dropped: &mut impl FnMut(Slot, Modes),
    ) {
        let bucket = self.sweep_at;
        match Record::at(&self.buckets[bucket], &span).watchers() {
            Watchers::Crowd(number) => {
                let crowd = &mut self.crowds[number as usize];
                let mut slots = Vec::new();
                crowd.collect(Modes::DATA.with(Modes::CHILDREN), &mut slots);
                slots.retain(|slot| is_dead(*slot));
                for slot in &slots {
                    on_dropped(*slot, crowd.modes(*slot));
                    crowd.set(*slot, Modes::default());
                }
                if !slots.is_empty() {
                    self.fit_crowd(bucket, span, number);
                }
            }
            Watchers::Few(mut few) => {
                few.retain(|(slot, modes)| {
                    let is_dead = is_dead(*slot);
                    if is_dead {
                        on_dropped(*slot, *modes);
                    }
                    !is_dead
                });
                self.rewrite(bucket, span, &Watchers::Few(few));
            }
        }
    }

    fn watchers(&self, path: &str) -> Option<Watchers> {
        let (bucket, span) = self.find(self.key(path))?;
        Some(Record::at(&self.buckets[bucket], &span).watchers())
    }

    fn find(&self, key: Key<'_>) -> Option<(usize, Span)> {
        if self.records == 0 {
            return None;
        }
        let number = address(key.hash, self.buckets.len());
        let bucket = &self.buckets[number];
        let is_it = |span: &Span| {
            let record = Record::at(bucket, span);
            record.name == key.name.as_bytes() && self.parents.text(record.parent) == key.parent
        };
        let span = record::with_tag(bucket, key.tag()).find(is_it)?;
        Some((number, span))
    }

    fn insert(&mut self, key: Key<'_>, watchers: &Watchers) {
        if self.buckets.is_empty() {
            self.buckets.push(Vec::new());
        }
        let parent = self.parents.take(key.parent, &self.hasher);
        self.scratch.clear();
        let name = key.name.as_bytes();
        record::write(&mut self.scratch, key.tag(), parent, watchers, name);
        let number = address(key.hash, self.buckets.len());
        append(&mut self.buckets[number], &self.scratch);
        self.records += 1;
        self.bytes += self.scratch.len();
        self.resize();
    }

    /// Replaces the watchers of a record; without any it goes.
    fn rewrite(&mut self, bucket: usize, span: Span, watchers: &Watchers) {
        let bytes = &mut self.buckets[bucket];
        let Record { parent, name, .. } = Record::at(bytes, &span);
        self.scratch.clear();
        if *watchers == Watchers::Few(Few::default()) {
            self.parents.release(parent, &self.hasher);
            self.records -= 1;
        } else {
            record::write(&mut self.scratch, bytes[span.start], parent, watchers, name);
        }
        self.bytes = self.bytes + self.scratch.len() - (span.end - span.start);
        let grown = self.scratch.len().saturating_sub(span.end - span.start);
        bytes.reserve_exact(grown);
        replace(bytes, span, &self.scratch);
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
    }

    /// A crowd of these and one more.
    fn new_crowd(&mut self, few: &Few, slot: Slot, modes: Modes) -> u32 {
        let mut crowd = Crowd::default();
        crowd.set(slot, modes);
        for (slot, modes) in few.as_slice() {
            crowd.set(*slot, *modes);
        }
        match self.unused_crowds.pop() {
            Some(number) => {
                self.crowds[number as usize] = crowd;
                number
            }
            None => {
                self.crowds.push(crowd);
                u32::try_from(self.crowds.len() - 1).expect("there are fewer paths than that")
            }
        }
    }

    fn crowd_shrank(&mut self, bucket: usize, span: Span, number: u32) {
        self.fit_crowd(bucket, span, number);
        self.resize();
    }

    /// A crowd that has become small goes back into its record.
    fn fit_crowd(&mut self, bucket: usize, span: Span, number: u32) {
        let crowd = &mut self.crowds[number as usize];
        if crowd.len_max() > FEW_MAX / 2 {
            return;
        }
        let crowd = std::mem::take(crowd);
        self.unused_crowds.push(number);
        let mut slots = Vec::new();
        crowd.collect(Modes::DATA.with(Modes::CHILDREN), &mut slots);
        let few = slots.iter().map(|slot| (*slot, crowd.modes(*slot)));
        let few = Watchers::Few(few.collect());
        self.rewrite(bucket, span, &few);
    }

    /// Splits or joins buckets so that their number fits that of the records.
    fn resize(&mut self) {
        while self.buckets_wanted() > self.buckets.len() {
            self.split();
        }
        while self.buckets.len() > 1 && self.buckets_wanted() < self.buckets.len() / SHRINK_BELOW {
            let last = self.buckets.pop().expect("there are two");
            let partner = partner(self.buckets.len());
            append(&mut self.buckets[partner], &last);
        }
        if self.records == 0 && !self.buckets.is_empty() {
            self.clear();
        }
    }

    /// As many as the records need, by their number or by their bytes. A bucket
    /// is copied when it changes.
    fn buckets_wanted(&self) -> usize {
        let by_number = self.records.div_ceil(RECORDS_PER_BUCKET);
        by_number.max(self.bytes.div_ceil(BYTES_PER_BUCKET))
    }

    fn split(&mut self) {
        let new = self.buckets.len();
        let old = std::mem::take(&mut self.buckets[partner(new)]);
        self.buckets.push(Vec::new());
        let goes_to_new = |record: &Record<'_>| {
            let parent = self.parents.text(record.parent).as_bytes();
            address(hash(&self.hasher, parent, record.name), new + 1) == new
        };
        let (mut stays, mut goes) = (Vec::new(), Vec::new());
        for (span, _, record) in Record::all(&old) {
            let to = if goes_to_new(&record) {
                &mut goes
            } else {
                &mut stays
            };
            to.extend_from_slice(&old[span.start..span.end]);
        }
        stays.shrink_to_fit();
        goes.shrink_to_fit();
        self.buckets[partner(new)] = stays;
        self.buckets[new] = goes;
    }

    fn key<'p>(&self, path: &'p str) -> Key<'p> {
        let (parent, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        Key {
            parent,
            name,
            hash: hash(&self.hasher, parent.as_bytes(), name.as_bytes()),
        }
    }
}

impl Key<'_> {
    /// A byte of the hash that does not choose the bucket.
    const fn tag(&self) -> u8 {
        (self.hash >> 56) as u8
    }
}

fn hash(hasher: &FixedState, parent: &[u8], name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(parent);
    hasher.write(name);
    hasher.finish()
}

/// Takes no more room than needed: buckets are short and many.
fn append(bucket: &mut Vec<u8>, bytes: &[u8]) {
    bucket.reserve_exact(bytes.len());
    bucket.extend_from_slice(bytes);
}

/// Puts other bytes into the place of some. Moves what follows as a whole, which
/// `Vec::splice` does byte by byte.
fn replace(bytes: &mut Vec<u8>, span: Span, with: &[u8]) {
    let old = bytes.len();
    let new = old - (span.end - span.start) + with.len();
    bytes.resize(new.max(old), 0);
    bytes.copy_within(span.end..old, span.start + with.len());
    bytes[span.start..][..with.len()].copy_from_slice(with);
    bytes.truncate(new);
}

/// Fewer make lookups faster and memory larger.
const RECORDS_PER_BUCKET: usize = 16;
/// The same in bytes, which only records of long paths reach.
const BYTES_PER_BUCKET: usize = 64 * 1024;
/// Buckets are joined when they hold less than one part in this many of it.
const SHRINK_BELOW: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_have_buckets_to_themselves() {
        let mut index = Index::new(1);
        let path = |n: usize| format!("/{n}{}", "w".repeat(4 * BYTES_PER_BUCKET));
        let watch = Modes::of_kind(crate::watch::WatchKind::Data);
        for n in 0..100 {
            index.set_modes(&path(n), 1, watch);
        }
        let longest = index.buckets.iter().map(Vec::len).max();
        assert!(longest < Some(5 * 4 * BYTES_PER_BUCKET), "{longest:?}");
        for n in 0..100 {
            assert_eq!(index.modes(&path(n), 1), watch);
            index.set_modes(&path(n), 1, Modes::default());
        }
        assert_eq!((index.bytes, index.buckets()), (0, 0));
    }

    #[test]
    fn other_bytes_take_the_place_of_some() {
        for (with, want) in [("", "abgh"), ("12", "ab12gh"), ("123456", "ab123456gh")] {
            let mut bytes = b"abcdefgh".to_vec();
            replace(&mut bytes, Span { start: 2, end: 6 }, with.as_bytes());
            assert_eq!(bytes, want.as_bytes());
        }
    }
}
