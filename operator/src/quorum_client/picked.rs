//! Picks a few fields out of a JSON object that comes in pieces, without keeping the rest of it.

use serde_json::{Map, Value};

/// Reads one object, however long. Only the structure is looked at byte by byte; a member that is short enough to be
/// of interest is parsed as JSON.
#[derive(Debug)]
pub(super) struct Picked {
    wanted: &'static [&'static str],
    found: Map<String, Value>,
    /// What was read of the current member of the object, as far as it is of interest.
    member: Vec<u8>,
    depth: usize,
    in_string: bool,
    after_backslash: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    Inside,
    /// The object has ended.
    Complete,
    /// The text is no object.
    Broken,
}

impl Picked {
    /// Nothing was read yet. Fields other than `wanted` are passed over.
    pub(super) fn new(wanted: &'static [&'static str]) -> Self {
        Self {
            wanted,
            found: Map::new(),
            member: Vec::new(),
            depth: 0,
            in_string: false,
            after_backslash: false,
            state: State::Before,
        }
    }

    /// Reads on. Returns whether there is nothing left to find.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match self.state {
                State::Before if byte.is_ascii_whitespace() => {}
                State::Before if *byte == b'{' => (self.state, self.depth) = (State::Inside, 1),
                State::Before => self.state = State::Broken,
                State::Inside => self.inside(*byte),
                State::Complete | State::Broken => break,
            }
        }
        self.found.len() == self.wanted.len()
    }

    /// The fields that were found; absent if the text was no object or broke off before all were found.
    pub(super) fn fields(self) -> Option<Value> {
        let is_all = self.state == State::Complete || self.found.len() == self.wanted.len();
        is_all.then_some(Value::Object(self.found))
    }

    fn inside(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            match (self.after_backslash, byte) {
                (true, _) => self.after_backslash = false,
                (false, b'\\') => self.after_backslash = true,
                (false, b'"') => self.in_string = false,
                (false, _) => {}
            }
            return;
        }
        match byte {
            b',' if self.depth == 1 => self.end_of_member(),
            b'}' | b']' if self.depth == 1 => {
                self.end_of_member();
                self.state = State::Complete;
            }
            b'}' | b']' => {
                self.depth -= 1;
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.keep(byte);
            }
            b'"' => {
                self.in_string = true;
                self.keep(byte);
            }
            other => self.keep(other),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.member.len() <= MEMBER_BYTES_MAX {
            self.member.push(byte);
        }
    }

    fn end_of_member(&mut self) {
        let member = std::mem::take(&mut self.member);
        if member.len() > MEMBER_BYTES_MAX {
            return;
        }
        let object = [b"{", member.as_slice(), b"}"].concat();
        let parsed: Map<String, Value> = serde_json::from_slice(&object).unwrap_or_default();
        let wanted = parsed
            .into_iter()
            .filter(|(name, _)| self.wanted.contains(&name.as_str()));
        self.found.extend(wanted);
    }
}

/// A member of interest is a name and a number.
const MEMBER_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &[&str] = &["synced_followers", "digest_mismatches_count"];

    fn picked(text: &str, piece: usize) -> Option<Value> {
        let mut picked = Picked::new(WANTED);
        for piece in text.as_bytes().chunks(piece) {
            picked.read(piece);
        }
        picked.fields()
    }

    #[test]
    fn wanted_fields_are_found_wherever_they_stand_and_however_the_text_is_cut() {
        let long = "q".repeat(100_000);
        let text = format!(
            r#" {{ "a":[1,{{"synced_followers":7}},"}}"], "{long}\"synced_followers\":8,":{{"synced_followers":9}},
            "b":"\\", "synced_followers" : 2.0, "c":"\"synced_followers\":3", "d":{{"e":"{long}"}} }} "#
        );
        for piece in [1, 2, 3, 7, 4096, text.len()] {
            let found = picked(&text, piece).unwrap();
            assert_eq!(found, serde_json::json!({ "synced_followers": 2.0 }));
        }
    }

    #[test]
    fn reading_may_end_when_everything_is_found() {
        let mut picked = Picked::new(WANTED);
        assert!(!picked.read(br#"{"digest_mismatches_count":18.0,"synced_followers":"#));
        assert!(picked.read(b"4,"));
        let fields = picked.fields().unwrap();
        assert_eq!(fields["digest_mismatches_count"], 18.0);
        assert_eq!(fields["synced_followers"], 4);
    }

    #[test]
    fn what_is_no_whole_object_has_no_fields() {
        for text in [
            "",
            "<html>",
            "[1]",
            r#"{"synced_followers":2"#,
            r#"{"a":"}"#,
        ] {
            assert_eq!(picked(text, 3), None, "{text}");
        }
        assert_eq!(picked("{}", 1), Some(serde_json::json!({})));
    }

    #[test]
    fn nothing_of_a_long_member_is_kept() {
        let mut picked = Picked::new(WANTED);
        picked.read(b"{\"");
        for _ in 0..1000 {
            picked.read(&[b'q'; 1000]);
        }
        assert!(picked.member.capacity() < 1024);
    }
}
