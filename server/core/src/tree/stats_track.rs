//! The text in the znodes of a quota: limits in one, use in the other
//! (reference: `StatsTrack` of 3.9.4).
//!
//! `count=<n>,bytes=<n>`, and if there are other keys `=` and then
//! `;<key>=<n>` for each, sorted. The odd `=` keeps parsers of older releases
//! from seeing the keys that they do not know.

use std::collections::BTreeMap;

/// Numbers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatsTrack {
    numbers: BTreeMap<String, i64>,
}

/// The reference throws upon this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl StatsTrack {
    pub(crate) const COUNT: &str = "count";
    pub(crate) const COUNT_HARD_LIMIT: &str = "countHardLimit";
    pub(crate) const BYTES: &str = "bytes";
    pub(crate) const BYTE_HARD_LIMIT: &str = "byteHardLimit";

    /// What is used: a number of znodes, and the bytes of their data.
    pub(crate) fn usage(count: i64, bytes: i64) -> Self {
        let numbers = [(Self::COUNT, count), (Self::BYTES, bytes)];
        let numbers = numbers.map(|(key, number)| (key.to_owned(), number));
        Self {
            numbers: numbers.into(),
        }
    }

    /// Reads the data of a znode; null is as unreadable as any nonsense.
    pub(crate) fn read(data: Option<&[u8]>) -> Result<Self, Unreadable> {
        let text = String::from_utf8_lossy(data.ok_or(Unreadable)?);
        let mut track = Self::default();
        // As Java splits: nothing at all is one empty part before a separator
        // and none behind it.
        let text = text.trim_end_matches(is_separator);
        if text.is_empty() {
            return Ok(track);
        }
        let mut parts = text.split(is_separator);
        let first = parts.next();
        for part in first
            .into_iter()
            .chain(parts.filter(|part| !part.is_empty()))
        {
            let part = part.trim_end_matches('=');
            let (key, rest) = part.split_once('=').ok_or(Unreadable)?;
            let number = rest.split('=').next().unwrap_or_default();
            let number = match number {
                "" => -1,
                number => number.parse().map_err(|_| Unreadable)?,
            };
            track.numbers.insert(key.to_owned(), number);
        }
        Ok(track)
    }

    /// -1 where there is no such number; in limits that means none.
    pub(crate) fn get(&self, key: &str) -> i64 {
        self.numbers.get(key).copied().unwrap_or(-1)
    }

    /// Changes what is used. The reference's numbers wrap around.
    pub(crate) fn add(&mut self, count: i64, bytes: i64) {
        for (key, diff) in [(Self::COUNT, count), (Self::BYTES, bytes)] {
            let number = self.get(key).wrapping_add(diff);
            self.numbers.insert(key.to_owned(), number);
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.get("count"), self.get("bytes"));
        let others = self
            .numbers
            .iter()
            .filter(|(key, _)| ![Self::COUNT, Self::BYTES].contains(&key.as_str()));
        for (at, (key, number)) in others.enumerate() {
            let start = if at == 0 { "=" } else { "" };
            text += &format!("{start};{key}={number}");
        }
        text
    }
}

fn is_separator(char: char) -> bool {
    matches!(char, ',' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_reference() {
        for (text, canonical) in [
            ("count=1,bytes=2", "count=1,bytes=2"),
            ("", "count=-1,bytes=-1"),
            (",;", "count=-1,bytes=-1"),
            ("bytes=5", "count=-1,bytes=5"),
            ("count=+7,,bytes=-3;", "count=7,bytes=-3"),
            (
                "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4",
                "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4",
            ),
            (
                "zeta=9;count=1;alpha=8;count=5",
                "count=5,bytes=-1=;alpha=8;zeta=9",
            ),
            ("count==3", "count=-1,bytes=-1"),
        ] {
            let track = StatsTrack::read(Some(text.as_bytes())).unwrap();
            assert_eq!(track.text(), canonical, "{text}");
        }
    }

    #[test]
    fn what_the_reference_throws_upon() {
        for text in [
            "count",
            "count=",
            "count=x",
            ",count=1",
            "count=1.5",
            "a=9223372036854775808",
        ] {
            assert_eq!(
                StatsTrack::read(Some(text.as_bytes())),
                Err(Unreadable),
                "{text}"
            );
        }
        assert_eq!(StatsTrack::read(None), Err(Unreadable));
    }

    #[test]
    fn use_goes_up_and_down() {
        let mut track = StatsTrack::usage(1, 2);
        track.add(1, -5);
        assert_eq!(track, StatsTrack::usage(2, -3));
        assert_eq!((track.get("count"), track.get("countHardLimit")), (2, -1));
    }
}
