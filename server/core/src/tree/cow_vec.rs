//! A vector whose clone is cheap and stays as it was.

use std::sync::Arc;

/// Elements in leaves that clones share until one of them changes. A clone
/// takes one step per leaf, the first change of a leaf after it copies that
/// leaf, all later ones copy nothing.
#[derive(Clone)]
pub(super) struct CowVec<T> {
    leaves: Vec<Arc<[T]>>,
    len: usize,
}

impl<T> CowVec<T> {
    pub(super) const fn new() -> Self {
        Self {
            leaves: Vec::new(),
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.leaves[at / LEAF][at % LEAF]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.leaves.iter().flat_map(|leaf| &**leaf).take(self.len)
    }
}

impl<T: Clone + Default> CowVec<T> {
    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.leaves[at / LEAF])[at % LEAF]
    }

    pub(super) fn push(&mut self, element: T) {
        if self.len == self.leaves.len() * LEAF {
            self.leaves.push((0..LEAF).map(|_| T::default()).collect());
        }
        self.len += 1;
        *self.get_mut(self.len - 1) = element;
    }
}

/// A power of two. A million znodes are some 130 leaves of chunks.
const LEAF: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut numbers = CowVec::new();
        (0..300).for_each(|number| numbers.push(number));
        let before = numbers.clone();
        for at in [0, 127, 128, 299] {
            *numbers.get_mut(at) = -1;
        }
        numbers.push(300);
        assert!(before.iter().copied().eq(0..300));
        assert_eq!((before.len(), numbers.len()), (300, 301));
        assert_eq!(numbers.iter().filter(|number| **number == -1).count(), 4);
        assert!(Arc::ptr_eq(&before.leaves[1], &before.clone().leaves[1]));
    }
}
