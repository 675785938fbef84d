//! Who may be a peer: a server of the list, at an address of its host.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zk_core::{Ensemble, Member};
use zk_proto::Sid;

use super::resolver::Resolver;
use crate::config::ServerConfig;

/// The servers that zoo.cfg lists, and where they are.
#[derive(Clone)]
pub(crate) struct Listed {
    ensemble: Ensemble,
    resolver: Arc<Resolver>,
    /// `quorate.peerAddresses=listed`: others are refused.
    is_strict: bool,
    /// Servers that have connected from an address of their host. Nothing on
    /// the way translates their addresses.
    at_home: Arc<Mutex<BTreeSet<Sid>>>,
}

/// Where somebody is who speaks for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At an address of the server's host.
    Host,
    /// At none of the addresses that the name servers have for its host.
    Elsewhere,
    /// The name servers do not answer.
    Unknown,
}

impl Listed {
    pub(crate) fn new(config: &ServerConfig, resolver: Arc<Resolver>) -> Self {
        Self {
            ensemble: config.ensemble.clone(),
            resolver,
            is_strict: config.peers.listed_addresses_only,
            at_home: Arc::default(),
        }
    }

    pub(super) fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    pub(super) fn member(&self, sid: Sid) -> Option<&Member> {
        self.ensemble.members.get(&sid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (Sid, &Member)> {
        self.ensemble.members.iter().map(|(sid, it)| (*sid, it))
    }

    /// Is this an address that the server's host is known to have? Asks nobody.
    pub(super) fn is_at(&self, sid: Sid, remote: IpAddr) -> bool {
        let member = self.member(sid);
        member.is_some_and(|member| self.resolver.has(&member.host, remote))
    }

    /// The same, but asks for the host's addresses once more before it says no.
    pub(super) async fn is_found_at(&self, sid: Sid, remote: IpAddr) -> bool {
        self.find(sid, remote).await == Place::Host
    }

    async fn find(&self, sid: Sid, remote: IpAddr) -> Place {
        let Some(member) = self.member(sid) else {
            return Place::Unknown;
        };
        if self.is_at(sid, remote) {
            return Place::Host;
        }
        let mut pending = self.resolver.resolve(&member.host);
        let answer = timeout(ADDRESS_PAUSE, pending.fresh()).await;
        match answer {
            _ if self.is_at(sid, remote) => Place::Host,
            Ok(Ok(_)) => Place::Elsewhere,
            Ok(Err(_)) | Err(_) => Place::Unknown,
        }
    }

    /// A server that has connected from its host once is taken from elsewhere
    /// only while the name servers do not say where its host is.
    async fn admit_moved(&self, sid: Sid, remote: IpAddr) -> Result<(), String> {
        let was_at_home = self.at_home.lock().contains(&sid);
        if self.is_at(sid, remote) {
            self.at_home.lock().insert(sid);
        } else if was_at_home
            && let Some(member) = self.member(sid)
            && self.find(sid, remote).await == Place::Elsewhere
        {
            let host = &member.host;
            return Err(format!(
                "its address is none of {host}, from where it has connected before"
            ));
        }
        Ok(())
    }

    /// May who is at this address speak for the server? Usually it may if the
    /// server has not been seen at its own host. Where only listed addresses
    /// may, a name is asked for again for a while, because a host
    /// that has just got a new address is known by its old one.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn admit(&self, sid: Sid, remote: IpAddr) -> Result<(), String> {
        if !self.is_strict {
            return self.admit_moved(sid, remote).await;
        }
        let Some(member) = self.member(sid) else {
            return Err("it is not a server of zoo.cfg".into());
        };
        let deadline = Instant::now() + ADDRESS_MAX;
        loop {
            let mut pending = self.resolver.resolve(&member.host);
            if self.is_at(sid, remote) {
                return Ok(());
            }
            // What the look-up finds is seen above; what it fails with is said below.
            let ended = timeout_at(deadline, pending.fresh()).await;
            if self.is_at(sid, remote) {
                return Ok(());
            }
            if ended.is_err() || Instant::now() + ADDRESS_PAUSE >= deadline {
                let host = &member.host;
                return Err(match self.resolver.trouble(host) {
                    Some(trouble) => format!("{host} cannot be resolved: {trouble}"),
                    None => {
                        format!("its address is none of {host}, and quorate.peerAddresses=listed")
                    }
                });
            }
            sleep(ADDRESS_PAUSE).await;
        }
    }
}

/// A new address of a listed server has so long to be known.
const ADDRESS_MAX: Duration = Duration::from_secs(5);
/// Between two look-ups of it.
const ADDRESS_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn listed(more: &str, resolver: Arc<Resolver>) -> Listed {
        let text = format!(
            "dataDir=/nowhere\nclientPort=1\ninitLimit=5\nsyncLimit=5\n{more}\
             server.1=zk-1:2:3\nserver.2=zk-2:2:3\nserver.3=zk-3:2:3\n"
        );
        let loaded = ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(1)));
        Listed::new(&loaded.unwrap().config, resolver)
    }

    #[tokio::test]
    async fn only_the_listed_address_of_a_sid_is_admitted() {
        let asked = AtomicUsize::new(0);
        // The host's new address is known from the second look-up on.
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move { Ok(vec![ip(if nth == 0 { 2 } else { 7 })]) }
        });
        let strict = listed("quorate.peerAddresses=listed\n", resolver);
        strict.admit(Sid(2), ip(2)).await.unwrap();
        strict.admit(Sid(2), ip(7)).await.unwrap();
        let refused = strict.admit(Sid(9), ip(7)).await.unwrap_err();
        assert!(refused.contains("not a server of zoo.cfg"), "{refused}");
        let refused = strict.admit(Sid(2), ip(2)).await.unwrap_err();
        assert!(refused.contains("its address is none of zk-2"), "{refused}");
    }

    #[tokio::test]
    async fn who_was_at_home_once_is_taken_from_elsewhere_only_while_its_name_fails() {
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match nth {
                    0 | 1 => Ok(vec![ip(2)]),
                    _ => Err(std::io::Error::other("no answer")),
                }
            }
        });
        let open = listed("", resolver);
        open.admit(Sid(2), ip(9)).await.unwrap();
        assert!(open.is_found_at(Sid(2), ip(2)).await);
        open.admit(Sid(2), ip(2)).await.unwrap();
        let pause = || sleep(Duration::from_millis(600));
        pause().await;
        let refused = open.admit(Sid(2), ip(9)).await.unwrap_err();
        assert!(refused.contains("from where it has connected"), "{refused}");
        pause().await;
        open.admit(Sid(2), ip(9)).await.unwrap();
    }

    #[tokio::test]
    async fn without_the_option_nobody_is_asked_about_an_address() {
        let open = listed("", Resolver::new(|_| pending()));
        for sid in [2, 9] {
            open.admit(Sid(sid), ip(2)).await.unwrap();
        }
        assert!(!open.is_at(Sid(2), ip(2)));
    }
}
