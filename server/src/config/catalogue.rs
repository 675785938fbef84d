//! Every key of zoo.cfg: what it may hold, its default, and what becomes of it.
//!
//! One table for the reader, the documents and the tests. Keys of the
//! reference server are all of those that its release 3.9 reads, whether it
//! takes them from zoo.cfg or only as properties of its virtual machine.

mod keys;

pub(super) use keys::KEYS;

/// One key, named without `zookeeper.`. A name that ends in `*` stands for all
/// that begin so.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As the documents show it; a number, a switch or a word is also what is
    /// taken where the key is absent.
    pub(super) default: &'static str,
    pub(super) state: State,
    /// What it does; why it does nothing; why nothing else is allowed.
    pub(super) meaning: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A whole number in this range, both ends included.
    Int(i64, i64),
    /// A decimal number in this range.
    Decimal(f64, f64),
    /// `true` or `false`, in any case.
    Switch,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// Anything; whoever reads it may say more.
    Text,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has its effect.
    Taken,
    /// Only "off" is allowed, because to ignore it would weaken what its owner
    /// expects.
    OffOnly,
    /// It has no effect, and a warning says why.
    Ignored,
}

impl Key {
    /// The entry for a key as written, with or without `zookeeper.`.
    pub(super) fn of(written: &str) -> Option<&'static Self> {
        let name = bare(written);
        let exact = KEYS.iter().find(|key| key.name == name);
        exact.or_else(|| {
            KEYS.iter().find(|key| {
                let family = key.name.strip_suffix('*');
                family.is_some_and(|family| name.starts_with(family))
            })
        })
    }

    /// Why a value is not allowed.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let allowed = match self.kind {
            Kind::Int(min, max) => value.parse().is_ok_and(|n| (min..=max).contains(&n)),
            Kind::Decimal(min, max) => value.parse().is_ok_and(|n| (min..=max).contains(&n)),
            Kind::Switch => matches!(&*value.to_ascii_lowercase(), "true" | "false"),
            Kind::OneOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Kind::Text => true,
        };
        if allowed {
            return Ok(());
        }
        let what = match self.kind {
            Kind::Int(only, max) if only == max => format!("must be {only}"),
            Kind::Int(min, max) => format!("must be a whole number from {min} to {max}"),
            Kind::Decimal(min, max) => format!("must be a number from {min} to {max}"),
            Kind::Switch => "must be true or false".to_owned(),
            Kind::OneOf(words) => {
                let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).collect();
                match &*words {
                    [] => "must be absent".to_owned(),
                    [only] => format!("must be {only}"),
                    [some @ .., last] => {
                        let some: Vec<_> = some.iter().map(|word| **word).collect();
                        format!("must be {} or {last}", some.join(", "))
                    }
                }
            }
            Kind::Text => unreachable!("any text is allowed"),
        };
        Err(match self.state {
            State::OffOnly => format!("{what}: {}", self.meaning),
            State::Taken | State::Ignored => what,
        })
    }
}

/// A key without the prefix of the reference's system properties. The
/// reference takes some keys only with it and some only without.
pub(super) fn bare(written: &str) -> &str {
    written.strip_prefix("zookeeper.").unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::*;
    use crate::documents::assert_table;

    #[test]
    fn names_are_unique_and_defaults_allowed() {
        let mut names = BTreeSet::new();
        for key in KEYS {
            assert!(names.insert(key.name), "{} is there twice", key.name);
            assert!(!key.meaning.is_empty(), "{} needs a sentence", key.name);
            if key.state != State::Ignored && !key.default.is_empty() {
                key.check(key.default)
                    .unwrap_or_else(|reason| panic!("default of {} {reason}", key.name));
            }
        }
    }

    #[test]
    fn families_and_prefixes() {
        let name = |written| Key::of(written).map(|key| key.name);
        assert_eq!(name("zookeeper.snapCount"), Some("snapCount"));
        assert_eq!(name("zookeeper.jute.maxbuffer"), Some("jute.maxbuffer"));
        assert_eq!(name("ssl.trustStore.location"), Some("ssl.*"));
        assert_eq!(name("snapcount"), None);
    }

    #[test]
    fn what_is_allowed_is_said() {
        let says = |name, value| Key::of(name).unwrap().check(value).unwrap_err();
        assert_eq!(says("electionAlg", "0"), "must be 3");
        assert_eq!(says("forceSync", "maybe"), "must be yes or no");
        assert_eq!(
            says("snapCount", "1"),
            "must be a whole number from 2 to 4294967295"
        );
        assert!(says("sslQuorum", "true").starts_with("must be false: "));
        Key::of("forceSync").unwrap().check("YES").unwrap();
    }

    /// The tables in the documents are this table. `UPDATE=1` rewrites them.
    #[test]
    fn the_documents_list_every_key() {
        let mut taken = "| key | default | meaning |\n|---|---|---|\n".to_owned();
        let mut off = "| key | allowed | why |\n|---|---|---|\n".to_owned();
        let mut ignored = "| key | why |\n|---|---|\n".to_owned();
        for Key {
            name,
            default,
            state,
            meaning,
            ..
        } in KEYS
        {
            let default = if default.is_empty() { "none" } else { default };
            match state {
                State::Taken => writeln!(taken, "| `{name}` | {default} | {meaning} |"),
                State::OffOnly => writeln!(off, "| `{name}` | {default} | {meaning} |"),
                State::Ignored => writeln!(ignored, "| `{name}` | {meaning} |"),
            }
            .unwrap();
        }
        assert_table("docs/configuration.md", "keys", &taken);
        assert_table("docs/compatibility.md", "keys that must be off", &off);
        assert_table("docs/compatibility.md", "keys without effect", &ignored);
    }
}
