//! Frames for one client, in the order in which they leave.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

/// Whole frames with their length prefixes. Most are written one after the
/// other into one buffer. A long watch event is encoded once, and all who are
/// told of it share the bytes. What waits for long is kept in pieces, so that
/// no buffer has to grow, and with it be copied, without end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(Kept);

/// As large as one buffer: a connection that rests has one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Buffer(Vec<u8>),
    Pieces(Box<Pieces>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pieces {
    /// What leaves before `open`; none of them is empty.
    sealed: VecDeque<Bytes>,
    /// Sum of their lengths.
    sealed_bytes: usize,
    open: Vec<u8>,
}

impl Default for Kept {
    fn default() -> Self {
        Self::Buffer(Vec::new())
    }
}

impl Frames {
    /// Number of bytes. Those that are shared count for everybody.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_bytes() + self.last().len()
    }

    /// Are there no frames?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the frames hold, unused room included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.sealed_bytes() + self.last().capacity()
    }

    /// The buffer at the end. Only whole frames may be added to it.
    pub const fn open(&mut self) -> &mut Vec<u8> {
        match &mut self.0 {
            Kept::Buffer(open) => open,
            Kept::Pieces(pieces) => &mut pieces.open,
        }
    }

    /// Adds frames that others may have, too.
    pub fn share(&mut self, frames: Bytes) {
        self.seal();
        self.push(frames);
    }

    /// Adds all of `later` behind what is there.
    pub fn append(&mut self, later: Self) {
        let open = match later.0 {
            Kept::Buffer(open) => open,
            Kept::Pieces(pieces) => {
                for piece in pieces.sealed {
                    self.share(piece);
                }
                pieces.open
            }
        };
        if open.is_empty() {
            return;
        }
        if self.last().len() >= PIECE_BYTES {
            self.seal();
        }
        if self.last().is_empty() {
            *self.open() = open;
        } else {
            self.open().extend_from_slice(&open);
        }
    }

    /// The pieces in which the frames are kept. No frame is in two of them.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let sealed = match &self.0 {
            Kept::Buffer(_) => None,
            Kept::Pieces(pieces) => Some(&pieces.sealed),
        };
        let open = Some(&self.last()[..]).filter(|open| !open.is_empty());
        let sealed = sealed.into_iter().flatten();
        sealed.map(|piece| &piece[..]).chain(open)
    }

    /// Are all frames in the buffer at the end?
    #[must_use]
    pub const fn is_one_piece(&self) -> bool {
        matches!(self.0, Kept::Buffer(_))
    }

    /// Drops the first piece.
    pub fn drop_first(&mut self) {
        let pieces = match &mut self.0 {
            Kept::Buffer(open) => return open.clear(),
            Kept::Pieces(pieces) => pieces,
        };
        let first = pieces.sealed.pop_front();
        pieces.sealed_bytes -= first.map_or(0, |piece| piece.len());
        if pieces.sealed.is_empty() {
            self.0 = Kept::Buffer(mem::take(&mut pieces.open));
        }
    }

    /// All of it in one buffer.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Kept::Buffer(open) => open,
            Kept::Pieces(_) => self.pieces().collect::<Vec<_>>().concat(),
        }
    }

    const fn last(&self) -> &Vec<u8> {
        match &self.0 {
            Kept::Buffer(open) => open,
            Kept::Pieces(pieces) => &pieces.open,
        }
    }

    const fn sealed_bytes(&self) -> usize {
        match &self.0 {
            Kept::Buffer(_) => 0,
            Kept::Pieces(pieces) => pieces.sealed_bytes,
        }
    }

    /// Nothing more is added to what is in the buffer at the end.
    fn seal(&mut self) {
        if !self.last().is_empty() {
            let mut open = mem::take(self.open());
            open.shrink_to_fit();
            self.push(open.into());
        }
    }

    fn push(&mut self, piece: Bytes) {
        if let Kept::Buffer(open) = &mut self.0 {
            let open = mem::take(open);
            self.0 = Kept::Pieces(Box::new(Pieces {
                open,
                ..Pieces::default()
            }));
        }
        if let Kept::Pieces(pieces) = &mut self.0 {
            pieces.sealed_bytes += piece.len();
            pieces.sealed.push_back(piece);
        }
    }
}

impl From<Vec<u8>> for Frames {
    fn from(open: Vec<u8>) -> Self {
        Self(Kept::Buffer(open))
    }
}

/// To a buffer of this length nothing is appended.
const PIECE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_adding() {
        let mut frames = Frames::default();
        assert!(frames.is_empty());
        frames.open().extend_from_slice(b"ab");
        frames.share(Bytes::from_static(b"cd"));
        frames.open().extend_from_slice(b"e");
        let mut all = Frames::from(b"0".to_vec());
        all.append(frames.clone());
        all.append(frames);
        assert_eq!((all.len(), all.is_one_piece()), (11, false));
        assert_eq!(all.clone().into_vec(), b"0abcdeabcde");
        let mut left = 11;
        while !all.is_empty() {
            left -= all.pieces().next().map_or(0, <[u8]>::len);
            all.drop_first();
            assert_eq!(all.len(), left);
        }
        assert!(all.is_empty() && all.is_one_piece());
    }

    #[test]
    fn what_is_shared_is_not_copied() {
        let event = Bytes::from(vec![7; 50_000]);
        let mut told = [Frames::default(), Frames::default()];
        for frames in &mut told {
            frames.open().push(1);
            let mut more = Frames::default();
            more.share(event.clone());
            frames.append(more);
            let second = frames.pieces().nth(1).unwrap();
            assert!(std::ptr::eq(second, &event[..]));
        }
    }

    #[test]
    fn what_is_sealed_keeps_no_unused_room() {
        let mut frames = Frames::default();
        frames.open().reserve(4096);
        frames.open().push(1);
        frames.share(Bytes::from_static(b"event"));
        let Kept::Pieces(mut pieces) = frames.0 else {
            panic!("it is one piece");
        };
        let sealed = pieces.sealed.pop_front().unwrap();
        assert_eq!(sealed.try_into_mut().unwrap().capacity(), 1);
    }

    #[test]
    fn what_waits_takes_little_more_than_its_bytes() {
        let mut waiting = Frames::default();
        for _ in 0..100_000 {
            waiting.append(Frames::from(vec![3; 60]));
        }
        assert_eq!(waiting.len(), 6_000_000);
        assert!(waiting.held() < 6_000_000 + 2 * PIECE_BYTES);
        assert!(waiting.pieces().all(|piece| piece.len() < PIECE_BYTES + 60));
    }
}
