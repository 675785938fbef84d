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

/// Reads all properties in the order of the text. Keys and values come without
/// the blanks around them, as the reference trims them.
pub(super) fn read(text: &str) -> Result<Vec<Property>, SyntaxError> {
    let mut properties = Vec::new();
    let mut lines = lines(text).enumerate();
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
        if logical.is_empty() {
            continue;
        }
        let line = number + 1;
        let (key, value) = split(&logical);
        let unescape = |text| match unescape(text) {
            Ok(text) => Ok(text.trim_matches(|c| c <= ' ').to_owned()),
            Err(reason) => Err(SyntaxError { line, reason }),
        };
        properties.push(Property {
            key: unescape(key)?,
            value: unescape(value)?,
            line,
        });
    }
    Ok(properties)
}

/// Lines that end in a line feed, a carriage return, or one after the other.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let (line, tail) = text.split_at(end);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..));
        Some(line)
    })
}

pub(super) fn ends_in_continuation(line: &str) -> bool {
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
    // In units of UTF-16, because two escapes may make one character.
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut pair = [0; 2];
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf16(&mut pair));
            continue;
        }
        match chars.next() {
            Some('t') => out.push(b'\t'.into()),
            Some('n') => out.push(b'\n'.into()),
            Some('r') => out.push(b'\r'.into()),
            Some('f') => out.push(0x0c),
            Some('u') => {
                let digits = chars.by_ref().take(4).map(|c| c.to_digit(16));
                let digits = digits.collect::<Option<Vec<_>>>();
                let digits = digits.filter(|digits| digits.len() == 4);
                let digits = digits.ok_or("\\u needs four hexadecimal digits")?;
                let unit = digits.iter().fold(0, |unit, digit| unit << 4 | digit);
                out.push(u16::try_from(unit).expect("four digits make sixteen bits"));
            }
            Some(other) => out.extend_from_slice(other.encode_utf16(&mut pair)),
            None => {}
        }
    }
    String::from_utf16(&out).map_err(|_| "\\u names half a character")
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
    fn every_end_of_line_and_odd_continuations() {
        let text = "a=1\rb=2\r\nc=3\n\\\n\n\\\n#d=4\ne=5\\\n\nf=\\ 6\\ ";
        let want = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("#d", "4"),
            ("e", "5"),
            ("f", "6"),
        ];
        assert_eq!(pairs(text), want.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let lines: Vec<_> = read(text).unwrap().iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 3, 6, 8, 10]);
    }

    #[test]
    fn two_escapes_make_one_character() {
        assert_eq!(pairs("a=\\ud83d\\ude00")[0].1, "\u{1f600}");
        for half in ["a=\\ud83d", "a=\\u+123", "a=\\u12g4"] {
            read(half).expect_err(half);
        }
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        assert_eq!(read("a=1\nb=\\u12").unwrap_err().line, 2);
    }
}
