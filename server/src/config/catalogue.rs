//! Every key of zoo.cfg: what it may hold, its default, and what becomes of it.
//!
//! One table for the reader, the documents and the tests. Keys of the
//! reference server are all of those that its release 3.9 reads, whether it
//! takes them from zoo.cfg or only as properties of its virtual machine.

mod keys;
mod kind;

pub(super) use keys::KEYS;
pub(super) use kind::{Kind, Reading};

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

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has its effect.
    Taken,
    /// Only the default, which means "off", is allowed: to ignore the key would
    /// weaken what its owner expects.
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
}

/// A key without the prefix of the reference's system properties. The
/// reference takes some keys only with it and some only without.
pub(super) fn bare(written: &str) -> &str {
    written.strip_prefix("zookeeper.").unwrap_or(written)
}

/// The known key that a slip of the fingers would turn into `name`, which comes
/// without `zookeeper.`. The operator has the same rule for `config` of a spec.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let known = KEYS.iter().map(|key| key.name);
    known
        .filter(|known| !known.ends_with('*'))
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&known.to_lowercase(), &lower);
            (distance, known)
        })
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
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
                let reading = key
                    .read(key.default)
                    .unwrap_or_else(|reason| panic!("default of {} {reason}", key.name));
                assert_eq!((&*reading.value, reading.note), (key.default, None));
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

    /// The operator checks keys and values before it writes a zoo.cfg, against this table as a file of data.
    /// `UPDATE=1` rewrites it.
    #[test]
    fn the_operators_table_is_this_one() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../operator/src/zoo_cfg_keys.tsv"
        );
        let mut table = String::new();
        for key in KEYS {
            let (kind, values) = as_data(key);
            let (state, why) = match key.state {
                State::Taken => ("taken", ""),
                State::OffOnly => ("off", key.meaning),
                State::Ignored => ("ignored", ""),
            };
            writeln!(table, "{}\t{state}\t{kind}\t{values}\t{why}", key.name).unwrap();
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == table,
            "{path} is out of date: run this test with UPDATE=1"
        );
    }

    /// What a value must be to be used as it is written.
    fn as_data(key: &Key) -> (&'static str, String) {
        let range = |min: i64, max: i64| format!("{min}|{max}");
        match (key.state, key.kind) {
            (_, Kind::OneOf(words)) => ("words", words.join("|")),
            (State::OffOnly, _) => ("words", key.default.to_owned()),
            (_, Kind::Choice(words) | Kind::Word(words) | Kind::Class(words)) => {
                ("words", words.join("|"))
            }
            (_, Kind::Int(min, max) | Kind::Nearest(min, max)) => ("int", range(min, max)),
            (_, Kind::Property(min, max)) => ("property", range(min, max)),
            (_, Kind::Port) => ("property", range(0, 65_535)),
            (_, Kind::Decimal(min, max)) => ("decimal", format!("{min}|{max}")),
            (_, Kind::Switch | Kind::Flag) => ("switch", String::new()),
            (_, Kind::Text) => ("text", String::new()),
        }
    }
}
