//! Keys of zoo.cfg that the server knows, and what they may hold.
//!
//! `zoo_cfg_keys.tsv` is the server's own catalogue, written by its tests, so the two cannot part.

use std::sync::LazyLock;

/// Why the server would not take a line of zoo.cfg.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("{key} is no key of zoo.cfg{}", suggestion(.nearest.as_ref()))]
    Unknown {
        /// As the user wrote it.
        key: String,
        /// A known key that looks like it.
        nearest: Option<String>,
    },
    /// The key is known, the value is not allowed.
    #[error("{key}={value} {reason}")]
    Value {
        /// As the user wrote it.
        key: String,
        /// As the user wrote it.
        value: String,
        /// What is allowed.
        reason: String,
    },
}

fn suggestion(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; the nearest one is {nearest}")
    })
}

/// Checks a key, with or without `zookeeper.`, and its value.
pub fn check(written: &str, value: &str) -> Result<(), KeyError> {
    let name = bare(written);
    let Some(key) = find(name) else {
        return Err(KeyError::Unknown {
            key: written.to_owned(),
            nearest: nearest(name),
        });
    };
    key.kind.check(value).map_err(|reason| KeyError::Value {
        key: written.to_owned(),
        value: value.to_owned(),
        reason: match key.why_off {
            Some(why) => format!("{reason}: {why}"),
            None => reason,
        },
    })
}

/// A key without the prefix of the reference's system properties.
pub fn bare(written: &str) -> &str {
    written.strip_prefix("zookeeper.").unwrap_or(written)
}

struct Key {
    /// A name that ends in `*` stands for all that begin so.
    name: &'static str,
    kind: Kind,
    /// Why nothing but "off" is allowed.
    why_off: Option<&'static str>,
}

enum Kind {
    Int(i64, i64),
    /// A whole number, also as `0x` with hexadecimal or `0` with octal digits.
    Property(i64, i64),
    Decimal(f64, f64),
    Switch,
    OneOf(Vec<&'static str>),
    Text,
}

impl Kind {
    fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Int(min, max) => match value.parse::<i64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(()),
                Ok(_) | Err(_) if min == max => Err(format!("must be {min}")),
                Ok(_) | Err(_) => Err(format!("must be a whole number from {min} to {max}")),
            },
            Self::Property(min, max) => match decoded(value) {
                Some(number) if (*min..=*max).contains(&number) => Ok(()),
                Some(_) | None => Err(format!("must be a whole number from {min} to {max}")),
            },
            Self::Decimal(min, max) => match value.parse::<f64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(()),
                Ok(_) | Err(_) => Err(format!("must be a number from {min} to {max}")),
            },
            Self::Switch => Self::OneOf(vec!["true", "false"]).check(value),
            Self::OneOf(words) => {
                if words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
                    return Ok(());
                }
                let words: Vec<&str> = words
                    .iter()
                    .copied()
                    .filter(|word| !word.is_empty())
                    .collect();
                Err(match words.as_slice() {
                    [] => "must be absent".to_owned(),
                    words => format!("must be {}", words.join(" or ")),
                })
            }
            Self::Text => Ok(()),
        }
    }
}

/// `Integer.decode` of Java, with the range of a long.
/// The server's catalogue has the same for its configuration: operator and server know each other over the network
/// only, and share no crate.
fn decoded(value: &str) -> Option<i64> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
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
    let begins = digits.starts_with(|first: char| first.is_ascii_hexdigit());
    let number = i64::from_str_radix(digits, radix).ok().filter(|_| begins)?;
    Some(sign * number)
}

fn find(name: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.name == name);
    exact.or_else(|| {
        KEYS.iter().find(|key| {
            key.name
                .strip_suffix('*')
                .is_some_and(|family| name.starts_with(family))
        })
    })
}

/// The known key that a slip of the fingers would turn into `name`.
fn nearest(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    KEYS.iter()
        .map(|key| key.name)
        .filter(|known| !known.ends_with('*'))
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&known.to_lowercase(), &lower);
            (distance, known)
        })
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known.to_owned())
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let lines = include_str!("zoo_cfg_keys.tsv").lines();
    lines.map(|line| read(line).expect(GENERATED)).collect()
});

/// name, state, kind, two values or words, and why it must be off, apart by tabs.
fn read(line: &'static str) -> Option<Key> {
    let mut fields = line.split('\t');
    let (name, state, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let (values, why) = (fields.next()?, fields.next()?);
    let range = || {
        let (min, max) = values.split_once('|')?;
        Some((min.parse().ok()?, max.parse().ok()?))
    };
    let kind = match kind {
        "int" => range().map(|(min, max)| Kind::Int(min, max)),
        "property" => range().map(|(min, max)| Kind::Property(min, max)),
        "decimal" => {
            let (min, max) = values.split_once('|')?;
            Some(Kind::Decimal(min.parse().ok()?, max.parse().ok()?))
        }
        "switch" => Some(Kind::Switch),
        "words" => Some(Kind::OneOf(values.split('|').collect())),
        "text" => Some(Kind::Text),
        _ => None,
    };
    Some(Key {
        name,
        kind: kind?,
        why_off: (state == "off").then_some(why),
    })
}

const GENERATED: &str =
    "the file is written by a test of the server, and a test here reads all of it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        assert!(KEYS.len() > 100);
        check("tickTime", "2000").unwrap();
        check("zookeeper.snapCount", "200").unwrap();
        check("jute.maxbuffer", "0x9fffff").unwrap();
        check("ssl.trustStore.location", "/x").unwrap();
    }

    #[test]
    fn a_key_with_a_slip_is_refused_with_the_one_that_was_meant() {
        let says = |key| check(key, "2000").unwrap_err().to_string();
        assert_eq!(
            says("tikTime"),
            "tikTime is no key of zoo.cfg; the nearest one is tickTime"
        );
        assert_eq!(
            says("ticktime"),
            "ticktime is no key of zoo.cfg; the nearest one is tickTime"
        );
        assert_eq!(
            says("zookeeper.snapCuont"),
            "zookeeper.snapCuont is no key of zoo.cfg; the nearest one is snapCount"
        );
        assert_eq!(says("somethingElse"), "somethingElse is no key of zoo.cfg");
    }

    #[test]
    fn a_value_is_refused_with_what_is_allowed() {
        let says = |key, value| check(key, value).unwrap_err().to_string();
        assert!(
            says("tickTime", "abc").starts_with("tickTime=abc must be a whole number from 1 to ")
        );
        assert_eq!(
            says("forceSync", "maybe"),
            "forceSync=maybe must be yes or no"
        );
        assert!(says("sslQuorum", "true").starts_with("sslQuorum=true must be false: "));
    }
}
