//! What stands before the last slash of watched paths, the slash included:
//! each text once, with a small number for it.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::buckets::{address, partner};

#[derive(Debug, Default)]
pub(super) struct Parents {
    /// By number, in chunks, so that growth moves none. Unused ones are empty
    /// and have no users.
    parents: Vec<Vec<Parent>>,
    unused: Vec<u32>,
    /// Half of each text's hash and its number. These buckets grow one at a
    /// time, as those of the paths do.
    by_text: Vec<Vec<(u32, u32)>>,
    len: usize,
}

#[derive(Debug, Default)]
struct Parent {
    text: Box<str>,
    users: u32,
}

impl Parents {
    pub(super) fn text(&self, number: u32) -> &str {
        &self.at(number).text
    }

    /// The number of this text, which gets one more user.
    pub(super) fn take(&mut self, text: &str, hasher: &FixedState) -> u32 {
        let hash = hasher.hash_one(text);
        if let Some(number) = self.find(text, hash) {
            self.at_mut(number).users += 1;
            return number;
        }
        let number = self.unused.pop().unwrap_or_else(|| self.new_number());
        *self.at_mut(number) = Parent {
            text: text.into(),
            users: 1,
        };
        self.len += 1;
        if self.len > self.by_text.len() * PER_BUCKET {
            self.split(hasher);
        }
        let bucket = address(hash, self.by_text.len());
        self.by_text[bucket].push((tag(hash), number));
        number
    }

    /// One user less.
    pub(super) fn release(&mut self, number: u32, hasher: &FixedState) {
        let parent = self.at_mut(number);
        parent.users -= 1;
        if parent.users > 0 {
            return;
        }
        let text = std::mem::take(&mut parent.text);
        let bucket = address(hasher.hash_one(&*text), self.by_text.len());
        self.by_text[bucket].retain(|(_, other)| *other != number);
        self.unused.push(number);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.by_text.len() > 1
            && self.len < self.by_text.len() * PER_BUCKET / SHRINK_BELOW
        {
            let last = self.by_text.pop().unwrap_or_default();
            let partner = partner(self.by_text.len());
            self.by_text[partner].extend(last);
        }
    }

    fn find(&self, text: &str, hash: u64) -> Option<u32> {
        if self.by_text.is_empty() {
            return None;
        }
        let bucket = &self.by_text[address(hash, self.by_text.len())];
        let mut numbers = bucket.iter().filter(|(of, _)| *of == tag(hash));
        numbers
            .find(|(_, number)| self.text(*number) == text)
            .map(|(_, number)| *number)
    }

    fn split(&mut self, hasher: &FixedState) {
        let new = self.by_text.len();
        self.by_text.push(Vec::new());
        if new == 0 {
            return;
        }
        let old = std::mem::take(&mut self.by_text[partner(new)]);
        let goes = |number| address(hasher.hash_one(self.text(number)), new + 1) == new;
        let (goes, stays) = old.into_iter().partition(|(_, number)| goes(*number));
        self.by_text[partner(new)] = stays;
        self.by_text[new] = goes;
    }

    fn new_number(&mut self) -> u32 {
        if self.parents.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.parents.push(Vec::new());
        }
        let chunks = self.parents.len();
        let chunk = &mut self.parents[chunks - 1];
        chunk.push(Parent::default());
        let number = (chunks - 1) * CHUNK + chunk.len() - 1;
        u32::try_from(number).expect("there are fewer watches than that")
    }

    fn at(&self, number: u32) -> &Parent {
        let number = number as usize;
        &self.parents[number / CHUNK][number % CHUNK]
    }

    fn at_mut(&mut self, number: u32) -> &mut Parent {
        let number = number as usize;
        &mut self.parents[number / CHUNK][number % CHUNK]
    }
}

/// The half of a hash that does not choose the bucket.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Texts whose numbers are kept together.
const CHUNK: usize = 1024;
/// About so many texts share a bucket.
const PER_BUCKET: usize = 16;
/// Buckets are joined when they hold less than one part in this many of it.
const SHRINK_BELOW: usize = 3;
