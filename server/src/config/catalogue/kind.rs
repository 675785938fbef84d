//! What the value of a key may be, and what is made of any other.
//!
//! The reference reads a value in one of two ways, and each has its own answer
//! to a value that is out of order. `QuorumPeerConfig` parses the keys that it
//! knows and refuses to start. Every other key becomes a system property, and
//! whoever reads that takes its default, or the nearest value that makes sense
//! (`Integer.getInteger`, `Boolean.getBoolean`). Here, too: what starts the
//! reference starts this server, with a warning that says what is used instead.

use super::{Key, State};

/// What a key may hold, and what becomes of anything else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) enum Kind {
    /// A whole number in this range, both ends included. Anything else is
    /// refused.
    Int(i64, i64),
    /// A whole number; beyond this range its nearest end is used. What is not
    /// a number is refused.
    Nearest(i64, i64),
    /// A whole number, also as `0x` with hexadecimal or `0` with octal digits;
    /// beyond this range its nearest end is used. What is not a number leaves
    /// the default.
    Property(i64, i64),
    /// A port, written like a [`Kind::Property`]. What is not a number leaves
    /// the default; a number that is not a port is refused.
    Port,
    /// A decimal number; beyond this range its nearest end is used. What is not
    /// a number is refused.
    Decimal(f64, f64),
    /// `true` or `false`, in any case. Anything else is refused.
    Switch,
    /// `true` in any case; anything else counts as `false`.
    Flag,
    /// One of these, in any case. Anything else is refused.
    OneOf(&'static [&'static str]),
    /// One of these, in any case. Anything else leaves the default.
    Choice(&'static [&'static str]),
    /// One of these, to the letter. Anything else leaves the default.
    Word(&'static [&'static str]),
    /// The name of a class. One that is not among these cannot be loaded, which
    /// the meaning of the key explains.
    Class(&'static [&'static str]),
    /// Anything; whoever reads it may say more.
    Text,
}

/// A value as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Reading {
    /// As it would have been written in order.
    pub(in crate::config) value: String,
    /// What is used instead of what was written, and why; `None` where it was
    /// in order.
    pub(in crate::config) note: Option<String>,
}

impl Reading {
    fn as_written(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            note: None,
        }
    }

    fn instead(value: impl ToString, why: &str) -> Self {
        let value = value.to_string();
        Self {
            note: Some(format!("{why}; {value} is used")),
            value,
        }
    }
}

impl Key {
    /// What is used for a value as written. The error says what is allowed.
    pub(in crate::config) fn read(&self, written: &str) -> Result<Reading, String> {
        let reading = self.read_kind(written);
        match (self.state, reading) {
            (State::OffOnly, Err(what)) => Err(format!("{what}: {}", self.meaning)),
            (State::OffOnly, Ok(reading)) if !self.is_off(&reading.value) => Err(format!(
                "must be {}: {}",
                if self.default.is_empty() {
                    "absent"
                } else {
                    self.default
                },
                self.meaning
            )),
            (State::Taken | State::OffOnly | State::Ignored, reading) => reading,
        }
    }

    fn is_off(&self, value: &str) -> bool {
        match self.kind {
            Kind::OneOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Kind::Int(..)
            | Kind::Nearest(..)
            | Kind::Property(..)
            | Kind::Port
            | Kind::Decimal(..)
            | Kind::Switch
            | Kind::Flag
            | Kind::Choice(_)
            | Kind::Word(_)
            | Kind::Class(_)
            | Kind::Text => value.eq_ignore_ascii_case(self.default),
        }
    }

    fn read_kind(&self, written: &str) -> Result<Reading, String> {
        match self.kind {
            Kind::Int(min, max) => match parsed(written) {
                Some(number) if (min..=max).contains(&number) => Ok(number.into()),
                _ if min == max => Err(format!("must be {min}")),
                _ => Err(format!("must be a whole number from {min} to {max}")),
            },
            Kind::Nearest(min, max) => match parsed(written) {
                Some(number) => Ok(nearest(number, min, max)),
                None => Err(format!("must be a whole number from {min} to {max}")),
            },
            Kind::Property(min, max) => Ok(match decoded(written) {
                Some(number) => nearest(number, min, max),
                None => Reading::instead(self.default, "is not a number"),
            }),
            Kind::Port => match decoded(written) {
                Some(port @ 0..=65_535) => Ok(port.into()),
                Some(_) => Err("must be a port from 0 to 65535".to_owned()),
                None => Ok(Reading::instead(self.default, "is not a number")),
            },
            Kind::Decimal(min, max) => match written.parse::<f64>() {
                Ok(number) if number < min => Ok(Reading::instead(min, "is too small")),
                Ok(number) if number > max => Ok(Reading::instead(max, "is too large")),
                Ok(number) if !number.is_nan() => Ok(Reading::as_written(written)),
                _ => Err(format!("must be a number from {min} to {max}")),
            },
            Kind::Switch => match &*written.to_ascii_lowercase() {
                "true" | "false" => Ok(Reading::as_written(written)),
                _ => Err("must be true or false".to_owned()),
            },
            Kind::Flag => Ok(match &*written.to_ascii_lowercase() {
                "true" | "false" => Reading::as_written(written),
                _ => Reading::instead("false", "is neither true nor false"),
            }),
            Kind::OneOf(words) if any_case(words, written) => Ok(Reading::as_written(written)),
            Kind::OneOf(words) => Err(format!("must be {}", listed(words))),
            Kind::Choice(words) if any_case(words, written) => Ok(Reading::as_written(written)),
            Kind::Word(words) if words.contains(&written) => Ok(Reading::as_written(written)),
            Kind::Choice(words) | Kind::Word(words) => Ok(Reading {
                value: self.default.to_owned(),
                note: Some(match self.default {
                    "" => format!("is not {} and has no effect", listed(words)),
                    default => format!("is not {}; {default} is used", listed(words)),
                }),
            }),
            Kind::Class(names) => Ok(Reading {
                value: written.to_owned(),
                note: (!names.contains(&written))
                    .then(|| format!("cannot be loaded: {}", self.meaning)),
            }),
            Kind::Text => Ok(Reading::as_written(written)),
        }
    }
}

impl From<i64> for Reading {
    /// A number in order.
    fn from(number: i64) -> Self {
        Self {
            value: number.to_string(),
            note: None,
        }
    }
}

fn nearest(number: i64, min: i64, max: i64) -> Reading {
    match number {
        _ if number < min => Reading::instead(min, "is too small"),
        _ if number > max => Reading::instead(max, "is too large"),
        _ => number.into(),
    }
}

/// `Integer.parseInt`, with the range of a long.
fn parsed(written: &str) -> Option<i64> {
    written.parse().ok()
}

/// `Integer.decode`, with the range of a long.
fn decoded(written: &str) -> Option<i64> {
    let (sign, digits) = match written.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, written.strip_prefix('+').unwrap_or(written)),
    };
    let hex = ["0x", "0X", "#"]
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        (None, _) => (digits, 10),
    };
    // A second sign would be taken otherwise.
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(digits, radix)
        .ok()
        .map(|number| sign * number)
}

fn any_case(words: &[&str], written: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(written))
}

/// Such as "a, b or c".
fn listed(words: &[&str]) -> String {
    let words: Vec<_> = words
        .iter()
        .filter(|word| !word.is_empty())
        .copied()
        .collect();
    match &*words {
        [] => "absent".to_owned(),
        [only] => (*only).to_owned(),
        [some @ .., last] => format!("{} or {last}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, written: &str) -> (String, Option<String>) {
        let reading = Key::of(name).unwrap().read(written).unwrap();
        (reading.value, reading.note)
    }

    fn refused(name: &str, written: &str) -> String {
        Key::of(name).unwrap().read(written).unwrap_err()
    }

    #[test]
    fn what_is_refused_says_what_is_allowed() {
        assert_eq!(refused("electionAlg", "0"), "must be 3");
        assert_eq!(
            refused("tickTime", "0"),
            "must be a whole number from 1 to 2147483647"
        );
        assert_eq!(
            refused("maxClientCnxns", "many"),
            "must be a whole number from 0 to 10000000"
        );
        assert_eq!(refused("standaloneEnabled", "yes"), "must be true or false");
        assert!(refused("sslQuorum", "true").starts_with("must be false: "));
        assert!(refused("audit.enable", "TRUE").starts_with("must be false: "));
        assert!(refused("oraclePath", "/o").starts_with("must be absent: "));
        assert!(refused("leaderServes", "no").starts_with("must be yes: "));
        assert_eq!(
            refused("admin.serverPort", "70000"),
            "must be a port from 0 to 65535"
        );
    }

    #[test]
    fn what_the_reference_corrects_is_corrected_and_said() {
        for (name, written, value, note) in [
            ("snapCount", "1", "2", "is too small; 2 is used"),
            (
                "snapCount",
                "x",
                "100000",
                "is not a number; 100000 is used",
            ),
            (
                "preAllocSize",
                "64M",
                "65536",
                "is not a number; 65536 is used",
            ),
            ("maxClientCnxns", "-1", "0", "is too small; 0 is used"),
            ("forceSync", "NO", "yes", "is not yes or no; yes is used"),
            ("skipACL", "YES", "no", "is not yes or no; no is used"),
            (
                "db.autocreate",
                "yes",
                "false",
                "is neither true nor false; false is used",
            ),
            ("observerMasterPort", "-1", "0", "is too small; 0 is used"),
            (
                "leaderServes",
                "maybe",
                "yes",
                "is not yes or no; yes is used",
            ),
            (
                "connection_throttle_drop_increase",
                "2",
                "1",
                "is too large; 1 is used",
            ),
            (
                "snapshot.compression.method",
                "zip",
                "",
                "is not gz or snappy and has no effect",
            ),
        ] {
            assert_eq!(
                read(name, written),
                (value.to_owned(), Some(note.to_owned())),
                "{name}={written}"
            );
        }
        let (_, note) = read("authProvider.1", "org.example.Kerberos");
        assert!(note.unwrap().contains("cannot be loaded"));
    }

    #[test]
    fn what_is_in_order_is_taken_as_it_is() {
        for (name, written, value) in [
            ("jute.maxbuffer", "0x9fffff", "10485759"),
            ("jute.maxbuffer", "#9FFFFF", "10485759"),
            ("snapCount", "010", "8"),
            ("snapCount", "+7", "7"),
            ("txnLogSizeLimitInKb", "-0x1", "-1"),
            ("initLimit", "0", "0"),
            ("clientTcpKeepAlive", "True", "True"),
            ("snapshot.compression.method", "GZ", "GZ"),
        ] {
            assert_eq!(read(name, written), (value.to_owned(), None), "{name}");
        }
    }

    #[test]
    fn numbers_are_decoded_as_the_reference_decodes_them() {
        for odd in [
            "",
            "-",
            "0x",
            "0x-1",
            "08",
            "--1",
            "1k",
            "0x+1",
            "9223372036854775808",
        ] {
            assert_eq!(decoded(odd), None, "{odd}");
        }
        assert_eq!(decoded("0"), Some(0));
    }
}
