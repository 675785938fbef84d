//! Connections that have not said yet who they are. Anybody can open one, so
//! there are few places for them. A new connection never finds the door shut:
//! the oldest one of the address that has most of them gives up its place. A
//! peer introduces itself at once and needs its place for a moment only.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::crowd::{gives_way, owner};

/// The places of one port.
#[derive(Default)]
pub(super) struct Newcomers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    waiting: Vec<Waiting>,
    next: u64,
}

struct Waiting {
    number: u64,
    /// Its address, as far as one owner has it.
    from: IpAddr,
    evicted: Arc<Notify>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    newcomers: Arc<Newcomers>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Newcomers {
    /// Takes a place, from another connection if all are taken.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Place {
        let from = owner(from);
        let mut state = self.state.lock();
        let all = state.waiting.iter().enumerate();
        let mut own = all.filter(|(_, it)| it.from == from);
        let oldest = own.next().map(|(at, _)| at);
        let leaving = if 1 + own.count() >= PLACES_OF_ADDRESS {
            oldest
        } else if state.waiting.len() >= PLACES {
            let all = state.waiting.iter().enumerate();
            gives_way(all.map(|(at, it)| (at, it.from)))
        } else {
            None
        };
        if let Some(at) = leaving {
            state.waiting.remove(at).evicted.notify_one();
        }
        let number = state.next;
        state.next += 1;
        let evicted = Arc::new(Notify::new());
        state.waiting.push(Waiting {
            number,
            from,
            evicted: evicted.clone(),
        });
        Place {
            newcomers: self.clone(),
            number,
            evicted,
        }
    }
}

impl Place {
    /// Waits until another connection has taken the place.
    pub(super) async fn lost(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.newcomers.state.lock();
        state.waiting.retain(|it| it.number != self.number);
    }
}

/// Places of one port.
const PLACES: usize = 128;
/// Of these, places of one address.
const PLACES_OF_ADDRESS: usize = 32;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(n: usize) -> IpAddr {
        Ipv4Addr::new(10, 0, (n >> 8) as u8, n as u8).into()
    }

    fn is_lost(place: &Place) -> bool {
        let mut lost = std::pin::pin!(place.lost());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        lost.as_mut().poll(&mut cx).is_ready()
    }

    #[test]
    fn a_crowd_of_one_address_takes_no_place_of_others() {
        let newcomers = Arc::<Newcomers>::default();
        let honest = newcomers.enter(ip(1));
        let crowd: Vec<_> = (0..1000).map(|_| newcomers.enter(ip(2))).collect();
        assert!(!is_lost(&honest));
        let kept = crowd.iter().filter(|place| !is_lost(place)).count();
        assert_eq!(kept, PLACES_OF_ADDRESS);
        assert!(!is_lost(&crowd[999]), "the newest has its place");
    }

    /// Who has one address of IPv6 has 2^64 of them.
    #[test]
    fn addresses_of_one_owner_count_as_one() {
        let newcomers = Arc::<Newcomers>::default();
        let honest = newcomers.enter("2001:db8:0:1::1".parse().unwrap());
        let mapped = newcomers.enter("::ffff:10.0.0.1".parse().unwrap());
        let crowd: Vec<_> = (0..1000u128)
            .map(|n| Ipv6Addr::from_bits((0x2001_0db8 << 96) + (n << 48 >> 48) + (n << 20)))
            .map(|address| newcomers.enter(address.into()))
            .collect();
        assert!(!is_lost(&honest) && !is_lost(&mapped));
        let kept = crowd.iter().filter(|place| !is_lost(place)).count();
        assert_eq!(kept, PLACES_OF_ADDRESS);
        let crowd: Vec<_> = (0..1000).map(|_| newcomers.enter(ip(1))).collect();
        assert!(is_lost(&mapped), "it has the address of the crowd");
        drop(crowd);
    }

    #[test]
    fn a_crowd_of_many_addresses_is_bounded() {
        let newcomers = Arc::<Newcomers>::default();
        let crowd: Vec<_> = (0..1000).map(|n| newcomers.enter(ip(n / 20))).collect();
        let honest = newcomers.enter(ip(2000));
        assert!(!is_lost(&honest));
        assert!(newcomers.state.lock().waiting.len() <= PLACES);
        drop((crowd, honest));
        assert_eq!(newcomers.state.lock().waiting.len(), 0);
    }
}
