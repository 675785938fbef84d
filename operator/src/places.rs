//! Places for connections to the operator's port. When all are taken, a newcomer gets the place of somebody who says
//! nothing, so that no number of silent connections keeps a probe of the kubelet out.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::AbortHandle;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request has come in full.
    Silent,
    /// Its request is being answered.
    InWork,
    /// Its answer is there, and not yet taken by the other side.
    Answered,
}

/// What a connection tells the table of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Its request has come in full.
    pub(crate) fn asked(&self) {
        self.0.store(IN_WORK, Ordering::Relaxed);
    }

    /// Its answer is ready to be sent.
    pub(crate) fn answered(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            IN_WORK => Stage::InWork,
            ANSWERED => Stage::Answered,
            _silent => Stage::Silent,
        }
    }
}

struct Guest {
    neighbourhood: IpAddr,
    progress: Progress,
    task: AbortHandle,
}

/// The connections that are open, in the order in which they came.
#[derive(Default)]
pub(crate) struct Places {
    guests: Vec<Guest>,
}

impl Places {
    /// Makes room for one more connection if all `max` places are taken. `false` if nobody may be sent away.
    pub(crate) fn make_room(&mut self, max: usize) -> bool {
        self.guests.retain(|guest| !guest.task.is_finished());
        if self.guests.len() < max {
            return true;
        }
        let seen: Vec<(IpAddr, Stage)> = self
            .guests
            .iter()
            .map(|guest| (guest.neighbourhood, guest.progress.stage()))
            .collect();
        let Some(at) = who_goes(&seen) else {
            return false;
        };
        self.guests.remove(at).task.abort();
        true
    }

    /// Remembers a connection from `remote` that `task` serves.
    pub(crate) fn take(&mut self, remote: IpAddr, progress: Progress, task: AbortHandle) {
        self.guests.push(Guest {
            neighbourhood: neighbourhood(remote),
            progress,
            task,
        });
    }
}

/// Who came first of the address with the most connections, among those that are silent, else among those that do
/// not take their answer. Nobody goes while a request is in work.
fn who_goes(guests: &[(IpAddr, Stage)]) -> Option<usize> {
    [Stage::Silent, Stage::Answered]
        .into_iter()
        .find_map(|stage| {
            let of_stage = guests.iter().enumerate().filter(|(_, it)| it.1 == stage);
            // The first of several that are equal.
            of_stage
                .rev()
                .max_by_key(|(_, (address, _))| {
                    guests.iter().filter(|(other, _)| other == address).count()
                })
                .map(|(at, _)| at)
        })
}

/// An address of IPv4, or the network of 64 bits that one host of IPv6 has for itself.
fn neighbourhood(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

const IN_WORK: u8 = 1;
const ANSWERED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_oldest_silent_connection_of_the_most_crowded_address_goes() {
        use Stage::{Answered, InWork, Silent};
        for (guests, expected) in [
            (
                vec![(at(1), Silent), (at(2), Silent), (at(2), Silent)],
                Some(1),
            ),
            (vec![(at(1), Silent), (at(2), Silent)], Some(0)),
            // Those in work count for the crowd, but stay.
            (
                vec![
                    (at(1), Silent),
                    (at(2), InWork),
                    (at(2), InWork),
                    (at(2), Silent),
                ],
                Some(3),
            ),
            (
                vec![(at(2), InWork), (at(2), InWork), (at(1), Silent)],
                Some(2),
            ),
            (
                vec![(at(1), InWork), (at(2), Answered), (at(2), Answered)],
                Some(1),
            ),
            (vec![(at(1), Answered), (at(2), Silent)], Some(1)),
            (vec![(at(1), InWork)], None),
        ] {
            assert_eq!(who_goes(&guests), expected, "{guests:?}");
        }
    }

    #[test]
    fn one_host_of_ipv6_is_one_neighbour_whatever_address_it_takes() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), at(1));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
