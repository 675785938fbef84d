//! The properties of a file, checked against the catalogue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::catalogue::{Key, Reading, State, bare, nearest};
use super::error::ConfigError;
use super::properties::Property;

/// A key that has no effect, or another one than was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Number of its line, from 1.
    pub line: usize,
    /// The key as written.
    pub key: String,
    /// Why it has no effect, or what is used instead of its value.
    pub reason: String,
}

/// Every key of a file whose value is allowed, by its name without
/// `zookeeper.`; of equal keys the last.
pub(super) struct Values<'a> {
    pub(super) file: &'a Path,
    given: BTreeMap<String, Property>,
}

impl<'a> Values<'a> {
    /// Refuses values that the catalogue does not allow.
    pub(super) fn check(
        file: &'a Path,
        properties: Vec<Property>,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut given: BTreeMap<String, Property> = BTreeMap::new();
        let mut warnings = Vec::new();
        for property in properties {
            let line = property.line;
            if let Some(earlier) = given.insert(bare(&property.key).to_owned(), property) {
                warnings.push(Warning {
                    line: earlier.line,
                    key: earlier.key,
                    reason: format!("line {line} gives it again, and the last one is used"),
                });
            }
        }
        let mut values = Self { file, given };
        let mut in_order: Vec<_> = values.given.values().cloned().collect();
        in_order.sort_by_key(|property| property.line);
        for property in in_order {
            let reason = match Key::of(&property.key) {
                None => Some(match nearest(bare(&property.key)) {
                    Some(nearest) => format!("it is unknown; the nearest key is {nearest}"),
                    None => "it is unknown".to_owned(),
                }),
                Some(key) => {
                    let reading = key.read(&property.value);
                    let Reading { value, note } =
                        reading.map_err(|reason| values.refused(&property, reason))?;
                    let name = bare(&property.key);
                    let used = values.given.get_mut(name);
                    used.expect("it was put there").value = value;
                    match key.state {
                        State::Ignored => Some(key.meaning.to_owned()),
                        State::Taken | State::OffOnly => {
                            note.map(|note| format!("{} {note}", property.value))
                        }
                    }
                }
            };
            warnings.extend(reason.map(|reason| Warning {
                line: property.line,
                key: property.key,
                reason,
            }));
        }
        warnings.sort_by_key(|warning| warning.line);
        Ok((values, warnings))
    }

    /// The property of this name, if it is there.
    pub(super) fn given(&self, name: &str) -> Option<&Property> {
        self.given.get(name)
    }

    /// All properties of a family such as `server.`: what follows it, and the
    /// property, in the order of their lines.
    pub(super) fn family(&self, prefix: &str) -> Vec<(&str, &Property)> {
        let members = self.given.iter();
        let mut members: Vec<_> = members
            .filter_map(|(name, property)| Some((name.strip_prefix(prefix)?, property)))
            .collect();
        members.sort_by_key(|(_, property)| property.line);
        members
    }

    /// A whole number. The type must hold the range that the catalogue allows.
    pub(super) fn int<T: TryFrom<i64>>(&self, name: &'static str) -> T {
        let number: i64 = self.text(name).parse().expect("it was checked");
        let number = T::try_from(number).ok();
        number.expect("the type holds the range in the catalogue")
    }

    /// A whole number that -1 switches off.
    pub(super) fn int_unless_off<T: TryFrom<i64>>(&self, name: &'static str) -> Option<T> {
        let number: i64 = self.text(name).parse().expect("it was checked");
        T::try_from(number).ok().filter(|_| number >= 0)
    }

    /// A decimal number.
    pub(super) fn decimal(&self, name: &'static str) -> f64 {
        self.text(name).parse().expect("it was checked")
    }

    /// A switch.
    pub(super) fn is_on(&self, name: &'static str) -> bool {
        let text = self.text(name);
        text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("yes")
    }

    /// The value, or the default in the catalogue.
    pub(super) fn text(&self, name: &'static str) -> &str {
        let value = self.given.get(name).map(|property| &*property.value);
        value.unwrap_or_else(|| {
            let key = Key::of(name).expect("every key that is read is in the catalogue");
            debug_assert!(key.state == State::Taken, "{name} is read");
            debug_assert!(key.read(key.default).is_ok(), "{name} has a default");
            key.default
        })
    }

    /// The value, unless it is empty or absent and has no default.
    pub(super) fn word(&self, name: &'static str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.word(name).map(PathBuf::from)
    }

    pub(super) fn refused(&self, property: &Property, reason: String) -> ConfigError {
        ConfigError::Value {
            file: self.file.to_owned(),
            line: property.line,
            key: property.key.clone(),
            value: property.value.clone(),
            reason,
        }
    }

    pub(super) fn missing(&self, key: &'static str, reason: &'static str) -> ConfigError {
        ConfigError::Missing {
            file: self.file.to_owned(),
            key,
            reason,
        }
    }
}
