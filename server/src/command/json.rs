//! JSON in the reference's layout, keys in the order in which they were given
//! (Jackson's default pretty printer).

use std::fmt::Write;

use crate::metrics::{Number, double};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// Printed as Java prints a double; what is no number becomes text.
    Double(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    pub(super) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }

    /// The text of a document.
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 1);
        out
    }

    /// `depth` counts objects only: lists stay on their line.
    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(is_so) => out.push_str(if *is_so { "true" } else { "false" }),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Double(number) if number.is_finite() => out.push_str(&double(*number)),
            Self::Double(number) => write_text(out, &double(*number)),
            Self::Text(text) => write_text(out, text),
            Self::List(items) if items.is_empty() => out.push_str("[ ]"),
            Self::List(items) => {
                out.push_str("[ ");
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push_str(", ");
                    }
                    item.write(out, depth);
                }
                out.push_str(" ]");
            }
            Self::Object(members) if members.is_empty() => out.push_str("{ }"),
            Self::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    out.push_str(if n > 0 { ",\n" } else { "\n" });
                    out.push_str(&INDENT.repeat(depth));
                    write_text(out, name);
                    out.push_str(" : ");
                    value.write(out, depth + 1);
                }
                out.push('\n');
                out.push_str(&INDENT.repeat(depth - 1));
                out.push('}');
            }
        }
    }
}

impl From<Number> for Json {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(number) => Self::Int(number),
            Number::Double(number) => Self::Double(number),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(is_so: bool) -> Self {
        Self::Bool(is_so)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a string takes all text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

const INDENT: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_reference() {
        let json = Json::object([
            (
                "connections",
                Json::List(vec![
                    Json::object([("session_id", 5_i64.into()), ("last", "NA".into())]),
                    Json::object([("avg", Json::Double(1.5))]),
                ]),
            ),
            ("none", Json::List(Vec::new())),
            ("nothing", Json::Object(Vec::new())),
            ("text", "a\"b\\c\n\u{1}é".into()),
            ("nan", Json::Double(f64::NAN)),
            ("error", Json::Null),
        ]);
        let want = "{\n  \"connections\" : [ {\n    \"session_id\" : 5,\n    \"last\" : \"NA\"\n  }, {\n    \
                    \"avg\" : 1.5\n  } ],\n  \"none\" : [ ],\n  \"nothing\" : { },\n  \
                    \"text\" : \"a\\\"b\\\\c\\n\\u0001é\",\n  \"nan\" : \"NaN\",\n  \"error\" : null\n}";
        assert_eq!(json.print(), want);
        let parsed: serde_json::Value = serde_json::from_str(want).unwrap();
        assert_eq!(parsed["text"], "a\"b\\c\n\u{1}é");
    }
}
