//! The syntax of zoo.cfg: Java properties (reference: `java.util.Properties.load`).
//!
//! `key=value`, `key: value` or `key value`; comments start with `#` or `!`;
//! a backslash at the end of a line joins the next one; `\t`, `\n`, `\r`,
//! `\f`, `\uXXXX` and a backslash before any other character are escapes.

/// One `key=value` and the number of the line on which it starts, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// A line that is no property: its number and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) reason: &'static str,
}

/// Reads all properties in the order of the text.
pub(super) fn read(text: &str) -> Result<Vec<Property>, SyntaxError> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut logical = first.trim_start_matches(BLANKS).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(BLANKS)),
                None => break,
            }
        }
        let line = number + 1;
        let (key, value) = split(&logical);
        let unescape = |text| unescape(text).map_err(|reason| SyntaxError { line, reason });
        properties.push(Property {
            key: unescape(key)?,
            value: unescape(value)?.trim_end().to_owned(),
            line,
        });
    }
    Ok(properties)
}

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (BLANKS.contains(&c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4);
                out.push(
                    code.and_then(char::from_u32)
                        .ok_or("\\u needs four hexadecimal digits of one character")?,
                );
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text)
            .unwrap()
            .into_iter()
            .map(|p| (p.key, p.value))
            .collect()
    }

    #[test]
    fn separators_comments_and_blanks() {
        let text = "# c\n! c\n\n  a=1\nb : 2\nc 3\nd\ne==x\nf = a b \r\n";
        let want = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d", ""),
            ("e", "=x"),
            ("f", "a b"),
        ];
        assert_eq!(pairs(text), want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn continuations_and_escapes() {
        let text = "a=1\\\n   2\nserver\\=1=h\\:1\nb=c\\\\\nu=\\u0041\\tx\nlast=x\\";
        let want = [
            ("a", "12"),
            ("server=1", "h:1"),
            ("b", "c\\"),
            ("u", "A\tx"),
            ("last", "x"),
        ];
        assert_eq!(pairs(text), want.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(read("a=1\\\n2\nb=1").unwrap()[1].line, 3);
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        assert_eq!(read("a=1\nb=\\u12").unwrap_err().line, 2);
    }
}
