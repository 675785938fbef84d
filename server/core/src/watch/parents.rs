//! What stands before the last slash of watched paths, the slash included:
//! each text once, with a small number for it.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

#[derive(Debug, Default)]
pub(super) struct Parents {
    /// By number. Unused ones are empty and have no users.
    parents: Vec<Parent>,
    unused: Vec<u32>,
    by_text: HashTable<u32>,
}

#[derive(Debug, Default)]
struct Parent {
    text: Box<str>,
    users: u32,
}

impl Parents {
    pub(super) fn text(&self, number: u32) -> &str {
        &self.parents[number as usize].text
    }

    /// The number of this text, which gets one more user.
    pub(super) fn take(&mut self, text: &str, hasher: &FixedState) -> u32 {
        let Self {
            parents,
            unused,
            by_text,
        } = self;
        let hash = hasher.hash_one(text);
        if let Some(&number) = by_text.find(hash, |&n| *parents[n as usize].text == *text) {
            parents[number as usize].users += 1;
            return number;
        }
        let parent = Parent {
            text: text.into(),
            users: 1,
        };
        let number = match unused.pop() {
            Some(number) => {
                parents[number as usize] = parent;
                number
            }
            None => {
                parents.push(parent);
                u32::try_from(parents.len() - 1).expect("there are fewer watches than that")
            }
        };
        by_text.insert_unique(hash, number, |&n| {
            hasher.hash_one(&*parents[n as usize].text)
        });
        number
    }

    /// One user less.
    pub(super) fn release(&mut self, number: u32, hasher: &FixedState) {
        let parent = &mut self.parents[number as usize];
        parent.users -= 1;
        if parent.users > 0 {
            return;
        }
        let text = std::mem::take(&mut parent.text);
        let found = self
            .by_text
            .find_entry(hasher.hash_one(&*text), |&n| n == number);
        found.expect("it had a user").remove();
        self.unused.push(number);
        if self.by_text.len() < self.by_text.capacity() / SHRINK_BELOW {
            let parents = &self.parents;
            self.by_text.shrink_to(self.by_text.len() * 2, |&n| {
                hasher.hash_one(&*parents[n as usize].text)
            });
        }
        if self.by_text.is_empty() {
            *self = Self::default();
        }
    }
}

/// A table that is emptier than one part in this many gives memory back.
const SHRINK_BELOW: usize = 8;
