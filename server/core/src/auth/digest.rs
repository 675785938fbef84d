//! The scheme `digest`: a user and the hash of `user:password` (reference:
//! `DigestAuthenticationProvider`).

use std::borrow::Cow;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use thiserror::Error;

/// `DigestAuthenticationProvider.digestAlg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the algorithms' own")]
pub enum DigestAlg {
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

/// No algorithm of this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0} is not one of SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA3-224, SHA3-256, SHA3-384, SHA3-512"
)]
pub struct UnknownDigestAlg(String);

impl FromStr for DigestAlg {
    type Err = UnknownDigestAlg;

    /// The names that Java's `MessageDigest` knows, in any case.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "SHA" | "SHA1" | "SHA-1" => Self::Sha1,
            "SHA-224" | "SHA224" => Self::Sha224,
            "SHA-256" | "SHA256" => Self::Sha256,
            "SHA-384" | "SHA384" => Self::Sha384,
            "SHA-512" | "SHA512" => Self::Sha512,
            "SHA3-224" => Self::Sha3_224,
            "SHA3-256" => Self::Sha3_256,
            "SHA3-384" => Self::Sha3_384,
            "SHA3-512" => Self::Sha3_512,
            _ => return Err(UnknownDigestAlg(name.to_owned())),
        })
    }
}

impl DigestAlg {
    /// The id of who knows `user:password`: the user, a colon, and the hash of
    /// the whole text in base64. Bytes that are no text are replaced first.
    #[must_use]
    pub fn id(self, user_password: &[u8]) -> String {
        let text = String::from_utf8_lossy(user_password);
        let hash = match self {
            Self::Sha1 => BASE64_STANDARD.encode(Sha1::digest(text.as_bytes())),
            Self::Sha224 => BASE64_STANDARD.encode(Sha224::digest(text.as_bytes())),
            Self::Sha256 => BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())),
            Self::Sha384 => BASE64_STANDARD.encode(Sha384::digest(text.as_bytes())),
            Self::Sha512 => BASE64_STANDARD.encode(Sha512::digest(text.as_bytes())),
            Self::Sha3_224 => BASE64_STANDARD.encode(Sha3_224::digest(text.as_bytes())),
            Self::Sha3_256 => BASE64_STANDARD.encode(Sha3_256::digest(text.as_bytes())),
            Self::Sha3_384 => BASE64_STANDARD.encode(Sha3_384::digest(text.as_bytes())),
            Self::Sha3_512 => BASE64_STANDARD.encode(Sha3_512::digest(text.as_bytes())),
        };
        format!("{}:{hash}", user(&text))
    }

    /// Does an id have the form of those that this algorithm makes: a user, a
    /// colon, and a hash of the right length in base64?
    #[must_use]
    pub fn is_id(self, id: &str) -> bool {
        let Some((_, hash)) = id.split_once(':') else {
            return false;
        };
        let bytes = |hash: &str| BASE64_STANDARD.decode(hash).ok().map(|it| it.len());
        let any = self.id(b":");
        bytes(hash).is_some() && bytes(hash) == bytes(any.trim_start_matches(':'))
    }
}

/// What stands before the first colon.
pub(super) fn user(id: &str) -> &str {
    id.split(':').next().unwrap_or_default()
}

/// Exactly two parts around colons; empty ones at the end do not count, as
/// with Java's `String.split`.
pub(super) fn is_valid(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}

/// The text with `x` for all that follows a colon, line by line.
pub(super) fn redacted(id: &str) -> Cow<'_, str> {
    if !id.contains(':') {
        return Cow::Borrowed(id);
    }
    let mut out = String::with_capacity(id.len());
    for line in id.split_inclusive(is_line_end) {
        match line.split_once(':') {
            Some((user, rest)) => {
                out.push_str(user);
                out.push_str(":x");
                out.extend(rest.chars().next_back().filter(|last| is_line_end(*last)));
            }
            None => out.push_str(line),
        }
    }
    Cow::Owned(out)
}

/// What a dot of Java's regular expressions does not match.
const fn is_line_end(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
