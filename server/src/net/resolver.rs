//! Addresses of the other servers. A look-up of a name may take many seconds,
//! or fail for hours: it runs beside everything else, one at a time for each
//! name, and until it answers the last addresses that the name had stay in use.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

/// Asks for the addresses of a name.
type Lookup = Box<dyn Fn(String) -> LookupFuture + Send + Sync>;
type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Remembers the addresses of names and asks for them again.
pub(crate) struct Resolver {
    lookup: Lookup,
    names: Mutex<HashMap<String, Name>>,
}

#[derive(Default)]
struct Name {
    answer: watch::Sender<Answer>,
    /// When the look-up began that has not answered yet.
    asked: Option<Instant>,
}

/// What is known of a name.
#[derive(Clone, Default)]
struct Answer {
    /// Addresses of the last look-up that found any, in the order in which
    /// they are to be tried.
    addresses: Vec<IpAddr>,
    /// Look-ups that have ended.
    ended: u64,
    /// When the last one of them ended.
    at: Option<Instant>,
    /// Why the last one of them found no address, if it found none.
    failure: Option<Arc<str>>,
}

/// A look-up that is under way or has just ended.
pub(super) struct Pending {
    /// The last addresses of the name that are known at once.
    pub(super) known: Vec<IpAddr>,
    /// Where the answer comes in, and how many look-ups had ended before it.
    /// `None` where the name is an address.
    answer: Option<(watch::Receiver<Answer>, u64)>,
}

impl Resolver {
    /// Asks the system: its files, its name servers.
    pub(crate) fn system() -> Arc<Self> {
        Self::new(|host| async move {
            let found = lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    /// Asks `lookup`, which takes as long as it likes.
    pub(crate) fn new<F>(lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Arc::new(Self {
            lookup: Box::new(move |host| Box::pin(lookup(host))),
            names: Mutex::default(),
        })
    }

    /// Joins the look-up of this name, or starts one unless the last has ended
    /// a moment ago.
    pub(super) fn resolve(self: &Arc<Self>, host: &str) -> Pending {
        if let Ok(literal) = host.parse() {
            return Pending {
                known: vec![literal],
                answer: None,
            };
        }
        let mut names = self.names.lock();
        let name = names.entry(host.to_owned()).or_default();
        let answer = name.answer.subscribe();
        let last = answer.borrow().clone();
        let mut before = last.ended;
        if name.asked.is_none() {
            if last.at.is_some_and(|at| at.elapsed() < FRESH) {
                before -= 1;
            } else {
                name.asked = Some(Instant::now());
                tokio::spawn(self.clone().look_up(host.to_owned()));
            }
        }
        Pending {
            known: last.addresses,
            answer: Some((answer, before)),
        }
    }

    /// The addresses of a name: new ones if a look-up answers `within` this
    /// time, the last ones otherwise.
    ///
    /// # Errors
    /// When no address is known. The text says why.
    pub(crate) async fn addresses(
        self: &Arc<Self>,
        host: &str,
        within: Duration,
    ) -> Result<Vec<IpAddr>, String> {
        let mut pending = self.resolve(host);
        match timeout(within, pending.fresh()).await {
            Ok(Ok(addresses)) => Ok(addresses),
            _ if !pending.known.is_empty() => Ok(pending.known),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(SILENT.into()),
        }
    }

    /// Is this one of the last good addresses of the name? Asks nobody.
    pub(super) fn has(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if let Ok(literal) = host.parse::<IpAddr>() {
            return literal.to_canonical() == address;
        }
        let names = self.names.lock();
        let known = names.get(host).map(|name| name.answer.borrow());
        known.is_some_and(|known| {
            known
                .addresses
                .iter()
                .any(|it| it.to_canonical() == address)
        })
    }

    /// Why the name has no new addresses at the moment; `None` if the last
    /// look-up found some.
    pub(super) fn trouble(&self, host: &str) -> Option<String> {
        let names = self.names.lock();
        let name = names.get(host)?;
        if let Some(since) = name.asked.map(|asked| asked.elapsed())
            && since >= SILENCE
        {
            return Some(format!("{SILENT} for {} s", since.as_secs()));
        }
        let failure = name.answer.borrow().failure.clone();
        failure.map(|failure| failure.to_string())
    }

    /// Asks for all of these names from time to time, so that their last good
    /// addresses are not old ones when the name servers fail.
    pub(crate) async fn keep(self: Arc<Self>, hosts: Vec<String>) {
        let mut turn = interval(KEEP_INTERVAL);
        loop {
            turn.tick().await;
            for host in &hosts {
                drop(self.resolve(host));
            }
        }
    }

    async fn look_up(self: Arc<Self>, host: String) {
        let found = match (self.lookup)(host.clone()).await {
            Ok(addresses) if addresses.is_empty() => Err("the name has no address".to_owned()),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(error.to_string()),
        };
        let mut names = self.names.lock();
        let Some(name) = names.get_mut(&host) else {
            return;
        };
        name.asked = None;
        name.answer.send_modify(|answer| {
            answer.ended += 1;
            answer.at = Some(Instant::now());
            match found {
                Ok(addresses) => {
                    answer.addresses = distinct(addresses);
                    answer.failure = None;
                }
                Err(failure) => answer.failure = Some(failure.into()),
            }
        });
    }
}

impl Pending {
    /// Waits for the look-up to end. The error says why it found no address.
    pub(super) async fn fresh(&mut self) -> Result<Vec<IpAddr>, String> {
        let Some((answer, before)) = &mut self.answer else {
            return Ok(self.known.clone());
        };
        let ended = answer.wait_for(|answer| answer.ended > *before).await;
        let answer = ended.map_err(|_| "this server is stopping".to_owned())?;
        match &answer.failure {
            Some(failure) => Err(failure.to_string()),
            None => Ok(answer.addresses.clone()),
        }
    }
}

/// The first addresses of a name, each once.
fn distinct(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut distinct = Vec::new();
    for address in addresses {
        if distinct.len() < ADDRESSES_MAX && !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    distinct
}

/// What an operator reads of a name server that does not answer.
const SILENT: &str = "the name servers have not answered";
/// For this long an answer is not asked for again.
const FRESH: Duration = Duration::from_millis(500);
/// A look-up that takes longer is worth a word.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two look-ups of a name that nobody asks for.
const KEEP_INTERVAL: Duration = Duration::from_secs(30);
/// More addresses of one server are not tried.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_at_a_time() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let resolver = Resolver::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(Duration::from_millis(50)).await;
                Ok(vec![ip(1), ip(2), ip(1)])
            }
        });
        let mut waiting: Vec<_> = (0..10).map(|_| resolver.resolve("zk-1")).collect();
        for pending in &mut waiting {
            assert_eq!(pending.fresh().await.unwrap(), [ip(1), ip(2)]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(resolver.trouble("zk-1"), None);
    }

    #[tokio::test]
    async fn the_last_good_addresses_outlive_their_name_server() {
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match nth {
                    0 => Ok(vec![ip(1)]),
                    1 => Err(io::Error::other("SERVFAIL")),
                    _ => pending().await,
                }
            }
        });
        let resolve = || resolver.addresses("zk-1", Duration::from_millis(50));
        assert_eq!(resolve().await.unwrap(), [ip(1)]);
        sleep(FRESH).await;
        assert_eq!(resolve().await.unwrap(), [ip(1)], "the look-up failed");
        assert_eq!(resolver.trouble("zk-1").as_deref(), Some("SERVFAIL"));
        sleep(FRESH).await;
        assert_eq!(resolve().await.unwrap(), [ip(1)], "the look-up hangs");
        let unknown = Resolver::new(|_| pending());
        let refused = unknown.addresses("zk-2", Duration::from_millis(50)).await;
        assert_eq!(refused.unwrap_err(), SILENT);
    }

    #[tokio::test]
    async fn addresses_stay_in_the_order_of_the_answer_whatever_their_family() {
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        let resolver = Resolver::new(move |_| async move { Ok(vec![six, ip(2), six, ip(1)]) });
        let found = resolver.addresses("zk-1", Duration::from_secs(5)).await;
        assert_eq!(found.unwrap(), [six, ip(2), ip(1)]);
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        let resolver = Resolver::new(|_| pending());
        for literal in ["127.0.0.1", "::1"] {
            let want: IpAddr = literal.parse().unwrap();
            let mut pending = resolver.resolve(literal);
            assert_eq!(pending.known, [want]);
            assert_eq!(pending.fresh().await.unwrap(), [want]);
        }
    }
}
