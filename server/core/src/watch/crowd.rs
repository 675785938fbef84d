//! The watchers of a path that has many.

use super::modes::Modes;
use super::record::Slot;

/// For each mode its watchers.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    sets: [Slots; Modes::BITS as usize],
}

/// A set of slots: a sorted list, or bits where they take less room.
#[derive(Debug)]
enum Slots {
    List(Vec<Slot>),
    Bits { words: Vec<u64>, len: usize },
}

impl Crowd {
    pub(super) fn modes(&self, slot: Slot) -> Modes {
        let bits = self.sets.iter().enumerate();
        Modes(bits.fold(0, |modes, (bit, set)| {
            modes | u8::from(set.contains(slot)) << bit
        }))
    }

    /// Replaces the modes of one watcher; none removes it.
    pub(super) fn set(&mut self, slot: Slot, modes: Modes) {
        for (bit, set) in self.sets.iter_mut().enumerate() {
            if modes.0 & 1 << bit != 0 {
                set.insert(slot);
            } else {
                set.remove(slot);
            }
        }
    }

    /// Appends all watchers that have any of these modes, in order.
    pub(super) fn collect(&self, wanted: Modes, out: &mut Vec<Slot>) {
        let start = out.len();
        let mut sets = 0;
        for (bit, set) in self.sets.iter().enumerate() {
            if wanted.0 & 1 << bit != 0 && set.len() > 0 {
                set.collect(out);
                sets += 1;
            }
        }
        if sets > 1 {
            out[start..].sort_unstable();
            let mut kept = start;
            for at in start..out.len() {
                if at == start || out[at] != out[kept - 1] {
                    out[kept] = out[at];
                    kept += 1;
                }
            }
            out.truncate(kept);
        }
    }

    /// Upper bound of the number of watchers.
    pub(super) fn len_max(&self) -> usize {
        self.sets.iter().map(Slots::len).sum()
    }

    /// Forgets a whole mode.
    pub(super) fn clear(&mut self, modes: Modes) {
        for (bit, set) in self.sets.iter_mut().enumerate() {
            if modes.0 & 1 << bit != 0 {
                *set = Slots::default();
            }
        }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Slots {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits { len, .. } => *len,
        }
    }

    fn contains(&self, slot: Slot) -> bool {
        match self {
            Self::List(list) => list.binary_search(&slot).is_ok(),
            Self::Bits { words, .. } => {
                let (word, bit) = place(slot);
                words.get(word).is_some_and(|word| word & bit != 0)
            }
        }
    }

    fn insert(&mut self, slot: Slot) {
        match self {
            Self::List(list) => {
                let Err(at) = list.binary_search(&slot) else {
                    return;
                };
                list.insert(at, slot);
                let highest = *list.last().expect("one was inserted");
                if size_of_val(&list[..]) > bits_bytes(highest) {
                    self.be_bits();
                }
            }
            Self::Bits { words, len } => {
                let (word, bit) = place(slot);
                if words.len() <= word {
                    words.resize(word + 1, 0);
                }
                *len += usize::from(words[word] & bit == 0);
                words[word] |= bit;
                self.be_list_if_smaller();
            }
        }
    }

    fn remove(&mut self, slot: Slot) {
        match self {
            Self::List(list) => {
                if let Ok(at) = list.binary_search(&slot) {
                    list.remove(at);
                }
            }
            Self::Bits { words, len } => {
                let (word, bit) = place(slot);
                if let Some(word) = words.get_mut(word).filter(|word| **word & bit != 0) {
                    *word &= !bit;
                    *len -= 1;
                    self.be_list_if_smaller();
                }
            }
        }
    }

    fn collect(&self, out: &mut Vec<Slot>) {
        match self {
            Self::List(list) => out.extend_from_slice(list),
            Self::Bits { words, len } => {
                out.reserve(*len);
                for (number, word) in (0..).zip(words) {
                    let mut left = *word;
                    while left != 0 {
                        out.push(number * u64::BITS + left.trailing_zeros());
                        left &= left - 1;
                    }
                }
            }
        }
    }

    fn be_bits(&mut self) {
        let mut slots = Vec::new();
        self.collect(&mut slots);
        let highest = slots.last().copied().unwrap_or_default();
        let mut words = vec![0; place(highest).0 + 1];
        for slot in &slots {
            let (word, bit) = place(*slot);
            words[word] |= bit;
        }
        let len = slots.len();
        *self = Self::Bits { words, len };
    }

    /// A list must be half as large, lest the form changes back and forth.
    fn be_list_if_smaller(&mut self) {
        let Self::Bits { words, len } = self else {
            return;
        };
        if *len * size_of::<Slot>() * 2 < size_of_val(&words[..]) {
            let mut list = Vec::new();
            self.collect(&mut list);
            *self = Self::List(list);
        }
    }
}

const fn place(slot: Slot) -> (usize, u64) {
    ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS))
}

const fn bits_bytes(highest: Slot) -> usize {
    (place(highest).0 + 1) * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_in_either_form() {
        let mut crowd = Crowd::default();
        let mut model = std::collections::BTreeMap::new();
        let mut state = 7_u32;
        for step in 0..4000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Few high slots, then many low ones, then none.
            let slot = if step < 100 {
                state >> 8
            } else {
                (state >> 16) % 700
            };
            let modes = Modes((state >> 3) as u8 % 32);
            let modes = if step < 3000 { modes } else { Modes(0) };
            crowd.set(slot, modes);
            if modes.is_empty() {
                model.remove(&slot);
            } else {
                model.insert(slot, modes);
            }
            assert_eq!(crowd.modes(slot), modes);
            if step % 97 == 0 {
                for wanted in [Modes::DATA, Modes::CHILDREN, Modes::DATA_ONCE] {
                    let mut got = vec![Slot::MAX];
                    crowd.collect(wanted, &mut got);
                    let of_model = model.iter().filter(|(_, modes)| modes.has_any(wanted));
                    let want: Vec<_> = [&Slot::MAX]
                        .into_iter()
                        .chain(of_model.map(|(s, _)| s))
                        .copied()
                        .collect();
                    assert_eq!(got, want, "step {step}");
                }
            }
        }
        let is_bits = |set: &Slots| matches!(set, Slots::Bits { .. });
        assert!(!crowd.sets.iter().any(is_bits), "emptied sets are lists");
    }

    #[test]
    fn bits_are_taken_when_they_are_smaller() {
        let mut set = Slots::default();
        for slot in 0..1000 {
            set.insert(slot);
        }
        let Slots::Bits { words, len } = &set else {
            panic!("a full set is bits");
        };
        assert_eq!((words.len(), *len), (16, 1000));
        set.insert(1_000_000);
        assert!(matches!(set, Slots::List(_)), "far apart");
        assert_eq!(set.len(), 1001);
    }
}
