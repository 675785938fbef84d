//! Who a client is and what it may do (reference: `ProviderRegistry`,
//! `ZooKeeperServer.checkACL`, `AuthenticationHelper` of 3.9.4).
//!
//! What must never happen here: a password that is kept or logged, or a grant
//! by a scheme that nobody has turned on.

mod digest;
mod ids;
mod ip;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use thiserror::Error;
use zk_proto::client::{Acl, Id};

pub use digest::DigestAlg;
pub use ids::{IDS_BYTES_MAX, IDS_PER_CONNECTION_MAX, IDS_WIRE_BYTES_MAX, add_id};

/// The settings of authentication, and the questions that they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `skipACL`: everybody may do everything.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_alg: DigestAlg,
    /// `DigestAuthenticationProvider.superDigest`: the id, `super:` and a
    /// hash, of those who pass every list.
    pub super_digest: Option<String>,
    /// `enforce.auth.enabled`.
    pub enforce_auth_enabled: bool,
    /// `enforce.auth.schemes`: one of them is asked of every connection when
    /// `enforce.auth.enabled` is set.
    pub enforce_auth_schemes: Vec<String>,
    /// `sessionRequireClientSASLAuth`: `sasl` is asked of every connection,
    /// whatever the two keys above say.
    pub session_require_client_sasl_auth: bool,
}

/// Settings with which the reference does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthConfigError {
    /// Something is enforced, but nothing says what.
    #[error("enforce.auth.enabled is true and enforce.auth.schemes is empty")]
    NoSchemes,
    /// No connection could ever have this scheme.
    #[error("authentication scheme {0} is not available")]
    NotAvailable(String),
}

/// The client is not who it claims to be, or nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthFailed;

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            skip_acl: false,
            digest_enabled: true,
            digest_alg: DigestAlg::Sha1,
            super_digest: None,
            enforce_auth_enabled: false,
            enforce_auth_schemes: Vec::new(),
            session_require_client_sasl_auth: false,
        }
    }
}

impl AuthConfig {
    /// Refuses settings that nobody could work with (reference:
    /// `AuthenticationHelper.validateConfiguredProperties`).
    ///
    /// # Errors
    /// What is wrong, in the words of the keys.
    pub fn check(&self) -> Result<(), AuthConfigError> {
        let Some(schemes) = self.enforced() else {
            return Ok(());
        };
        if schemes.is_empty() {
            return Err(AuthConfigError::NoSchemes);
        }
        match schemes.iter().find(|s| self.provider(s).is_none()) {
            Some(scheme) => Err(AuthConfigError::NotAvailable(scheme.to_string())),
            None => Ok(()),
        }
    }

    /// The ids that an auth packet of a connection from `remote` proves.
    ///
    /// # Errors
    /// The packet is to be answered with AuthFailed and the connection closed.
    pub fn authenticate(
        &self,
        scheme: &str,
        payload: Option<&[u8]>,
        remote: IpAddr,
    ) -> Result<Vec<Id>, AuthFailed> {
        match self.provider(scheme).ok_or(AuthFailed)? {
            Provider::Ip => Ok(vec![Self::ip_id(remote)]),
            Provider::Digest => {
                let id = self.digest_alg.id(payload.ok_or(AuthFailed)?);
                let is_super = self.super_digest.as_ref() == Some(&id);
                let is_super = is_super.then(|| new_id(SUPER, String::new()));
                let digest = new_id(DIGEST, id);
                Ok(is_super.into_iter().chain([digest]).collect())
            }
        }
    }

    /// What every connection proves by itself: its address, in the spelling of
    /// the reference, which writes IPv6 in full.
    #[must_use]
    pub fn ip_id(remote: IpAddr) -> Id {
        new_id(IP, ip::text(remote))
    }

    /// May an entry of a list grant something to this id? `world:anyone` and
    /// the scheme `auth` are not asked here.
    #[must_use]
    pub fn is_valid(&self, id: &Id) -> bool {
        match self.provider(&id.scheme) {
            Some(Provider::Ip) => ip::is_valid(&id.id),
            Some(Provider::Digest) => digest::is_valid(&id.id),
            None => false,
        }
    }

    /// Do ids of this scheme stand in for the scheme `auth` of an entry?
    #[must_use]
    pub fn is_authenticated(&self, scheme: &str) -> bool {
        matches!(self.provider(scheme), Some(Provider::Digest))
    }

    /// Does any entry grant one of the `wanted` permissions to one of `ids`?
    /// An empty list grants everything, and so does an id of the scheme
    /// `super`.
    #[must_use]
    pub fn allows(&self, acl: &[Acl], ids: &[Id], wanted: i32) -> bool {
        let grants = || acl.iter().filter(|entry| entry.perms & wanted != 0);
        if self.skip_acl
            || acl.is_empty()
            || grants().any(|entry| is_anyone(&entry.id))
            || ids.iter().any(|id| id.scheme == SUPER)
        {
            return true;
        }
        // Where both are many, those of digest are found by their text.
        let of = |scheme| ids.iter().filter(move |id| id.scheme == scheme);
        let digests: Option<BTreeSet<&str>> =
            (acl.len().min(ids.len()) > FEW).then(|| of(DIGEST).map(|id| &*id.id).collect());
        let mut addresses: Option<Vec<ip::Address>> = None;
        grants().any(|entry| match self.provider(&entry.id.scheme) {
            Some(Provider::Ip) => addresses
                .get_or_insert_with(|| of(IP).filter_map(|id| ip::address(&id.id)).collect())
                .iter()
                .any(|address| address.is_in(&entry.id.id)),
            Some(Provider::Digest) => match &digests {
                Some(digests) => digests.contains(&*entry.id.id),
                None => of(DIGEST).any(|id| id.id == entry.id.id),
            },
            None => false,
        })
    }

    /// How much work it is to ask [`Self::allows`], in entries that are
    /// compared with a few ids.
    #[must_use]
    pub const fn cost(acl: &[Acl], ids: &[Id]) -> usize {
        acl.len() * (1 + ids.len() / FEW)
    }

    /// May a connection with these ids send requests? If not, the answer is
    /// SessionClosedRequireSaslAuth and the connection is closed; packets of
    /// the kinds auth and sasl pass.
    #[must_use]
    pub fn admits(&self, ids: &[Id]) -> bool {
        match self.enforced() {
            None => true,
            Some(schemes) => ids.iter().any(|id| schemes.contains(&id.scheme)),
        }
    }

    /// How whoAmI shows an id: the user without the hash of the password;
    /// nothing if the scheme is not one of ours.
    #[must_use]
    pub fn user_name<'i>(&self, id: &'i Id) -> &'i str {
        match self.provider(&id.scheme) {
            Some(Provider::Ip) => &id.id,
            Some(Provider::Digest) => digest::user(&id.id),
            None => "",
        }
    }

    fn provider(&self, scheme: &str) -> Option<Provider> {
        match scheme {
            IP => Some(Provider::Ip),
            DIGEST if self.digest_enabled => Some(Provider::Digest),
            _ => None,
        }
    }

    /// The schemes of which every connection needs one.
    fn enforced(&self) -> Option<Cow<'_, [String]>> {
        if self.session_require_client_sasl_auth {
            Some(Cow::Owned(vec![SASL.to_owned()]))
        } else {
            self.enforce_auth_enabled
                .then_some(Cow::Borrowed(&self.enforce_auth_schemes[..]))
        }
    }
}

/// How a digest id is shown to those who may not administer the znode: the
/// user stays, the rest becomes `x` (reference: `FinalRequestProcessor`).
#[must_use]
pub fn redacted(id: &Id) -> Cow<'_, Id> {
    if id.scheme != DIGEST {
        return Cow::Borrowed(id);
    }
    match digest::redacted(&id.id) {
        Cow::Borrowed(_) => Cow::Borrowed(id),
        Cow::Owned(text) => Cow::Owned(new_id(DIGEST, text)),
    }
}

#[derive(Clone, Copy)]
enum Provider {
    Ip,
    Digest,
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

fn new_id(scheme: &str, id: String) -> Id {
    let scheme = scheme.to_owned();
    Id { scheme, id }
}

/// Entries, or ids, that are compared one by one.
const FEW: usize = 16;
const IP: &str = "ip";
const DIGEST: &str = "digest";
const SUPER: &str = "super";
const SASL: &str = "sasl";

#[cfg(test)]
mod tests;
