//! Paths of znodes (reference: `PathUtils`, `PrepRequestProcessor`).

use thiserror::Error;

/// Why a path is refused with BadArguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// No character at all.
    #[error("path is empty")]
    Empty,
    /// The first character is not a slash.
    #[error("path does not start with /")]
    NotAbsolute,
    /// The last character is a slash and not the first one.
    #[error("path ends with /")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("path has an empty segment")]
    EmptySegment,
    /// A segment is "." or "..".
    #[error("path has a relative segment")]
    RelativeSegment,
    /// A character that paths may not hold.
    #[error("path has the character {0:?}")]
    Character(char),
}

/// The parent's path: "/" for "/a". The root and a text without any slash
/// have "", which is another name of the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => "/",
        Some(slash) => &path[..slash],
        None => "",
    }
}

/// The first name; "" for the root.
#[must_use]
pub fn namespace(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or("")
}

/// What follows the last slash; "" for the root.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

/// The rules for the path of a new znode (reference: `PathUtils.validatePath`).
/// The reference looks at UTF-16 units, so all that needs two is refused.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    let Some(inner) = path.strip_prefix('/') else {
        return Err(PathError::NotAbsolute);
    };
    if inner.is_empty() {
        return Ok(());
    }
    if inner.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    for segment in inner.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::RelativeSegment),
            _ => {}
        }
    }
    path.chars()
        .find(|char| is_forbidden(*char))
        .map_or(Ok(()), |char| Err(PathError::Character(char)))
}

/// Control characters, private use, specials and all that takes two UTF-16
/// units; surrogates cannot occur in a `char`.
const fn is_forbidden(char: char) -> bool {
    matches!(char,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fff0}'..='\u{ffff}'
        | '\u{1_0000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_and_names() {
        for (path, want) in [
            ("/", ("", "")),
            ("/a", ("/", "a")),
            ("/a/b", ("/a", "b")),
            ("/a//b", ("/a/", "b")),
            ("/q/", ("/q", "")),
            ("x", ("", "x")),
            ("", ("", "")),
        ] {
            assert_eq!((parent(path), name(path)), want, "{path}");
        }
    }

    #[test]
    fn the_rules_of_the_reference() {
        for good in [
            "/",
            "/a",
            "/a/...",
            "/.a/a.b/b.",
            "/žluť/水",
            "/a b",
            "/\u{f900}",
            "/\u{ffef}",
        ] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for (bad, want) in [
            ("", PathError::Empty),
            ("a", PathError::NotAbsolute),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("/a//b", PathError::EmptySegment),
            ("/a/./b", PathError::RelativeSegment),
            ("/a/..", PathError::RelativeSegment),
            ("/..", PathError::RelativeSegment),
            ("/a\0", PathError::Character('\0')),
            ("/a\u{1}b", PathError::Character('\u{1}')),
            ("/\u{7f}", PathError::Character('\u{7f}')),
            ("/\u{9f}", PathError::Character('\u{9f}')),
            ("/\u{e000}", PathError::Character('\u{e000}')),
            ("/\u{fffd}", PathError::Character('\u{fffd}')),
            ("/\u{1f600}", PathError::Character('\u{1f600}')),
        ] {
            assert_eq!(validate(bad), Err(want), "{bad:?}");
        }
    }
}
