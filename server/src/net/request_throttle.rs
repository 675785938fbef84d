//! How many writes of clients are in work at once (reference:
//! `RequestThrottler`, 3.9).
//!
//! `globalOutstandingLimit` lets every connection have one request in work
//! however many connections there are; this limit has no exception. Who finds
//! no place waits in its connection, in the order of asking, and with it all
//! that its client has sent behind it. Reads have no place of their own: one is
//! in work for as long as a thread answers it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use zk_proto::client::OpCode;

use super::Clients;
use crate::config::ClientLimits;

/// The places of one server.
pub(crate) struct RequestThrottle {
    places: Arc<Semaphore>,
    wait_max: Option<Duration>,
}

impl RequestThrottle {
    /// `None` if there is no limit.
    pub(crate) fn new(limits: &ClientLimits) -> Option<Self> {
        (limits.requests_in_work_max > 0).then(|| Self {
            places: Arc::new(Semaphore::new(limits.requests_in_work_max)),
            wait_max: limits.throttled_op_wait_max,
        })
    }
}

impl Clients {
    /// Has the request at the front, of this many bytes, waited for so long
    /// that it is to be refused?
    pub(super) fn is_too_late(&self, turn: &Turn, op: i32, bytes: usize, now: Instant) -> bool {
        // As of the reference's `Request.isThrottlable`.
        const NEVER: [i32; 2] = [OpCode::Ping.code(), OpCode::CloseSession.code()];
        let max = self.request_throttle.as_ref().and_then(|t| t.wait_max);
        max.is_some_and(|max| turn.waited(bytes, now) > max) && !NEVER.contains(&op)
    }

    /// Takes a place for the write at the front, of this many bytes, or has
    /// the task woken when there is one.
    pub(super) fn enter(
        &self,
        turn: &mut Turn,
        bytes: usize,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(throttle) = &self.request_throttle else {
            return true;
        };
        let entered = turn.enter(throttle, now, cx);
        match entered {
            Entered::Yes => {
                let waited = turn.waited(bytes, now);
                self.metrics.request_throttle_time.record_time(waited, 1);
            }
            Entered::MustWait => self.metrics.request_throttle_waits.add(1),
            Entered::StillWaits => {}
        }
        entered == Entered::Yes
    }

    /// Gives back the places of this many writes.
    pub(super) fn leave(&self, writes: u32) {
        if let Some(throttle) = &self.request_throttle {
            throttle.places.add_permits(writes as usize);
        }
    }
}

/// What of one connection waits for a place.
#[derive(Default)]
pub(super) struct Turn {
    asked: Option<(Place, Instant)>,
    /// How long the connection has waited for places before.
    waited: Duration,
    arrivals: Arrivals,
}

type Place = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Turn {
    /// Does the connection wait for a place?
    pub(super) const fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// So many bytes of requests are not taken yet.
    pub(super) fn arrived(&mut self, untaken: usize, now: Instant) {
        let clock = self.clock(now);
        self.arrivals.note(untaken, clock);
    }

    /// The first bytes of them have been taken.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.arrivals.take(bytes);
    }

    /// How long the request at the front, of this many bytes, has waited for
    /// places. That it waits for replies to the requests before it is no
    /// matter of places.
    fn waited(&self, bytes: usize, now: Instant) -> Duration {
        let clock = self.clock(now);
        clock - self.arrivals.of(bytes).unwrap_or(clock)
    }

    fn enter(&mut self, throttle: &RequestThrottle, now: Instant, cx: &mut Context<'_>) -> Entered {
        let is_new = self.asked.is_none();
        if is_new && let Ok(place) = throttle.places.try_acquire() {
            place.forget();
            return Entered::Yes;
        }
        let (asked, _) = self
            .asked
            .get_or_insert_with(|| (Box::pin(throttle.places.clone().acquire_owned()), now));
        if let Poll::Ready(place) = asked.as_mut().poll(cx) {
            place.expect("the places are never closed").forget();
            self.give_up(now);
            return Entered::Yes;
        }
        if is_new {
            Entered::MustWait
        } else {
            Entered::StillWaits
        }
    }

    /// Does not wait for a place any more.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.waited = self.clock(now);
        self.asked = None;
    }

    /// Goes on only while the connection waits for a place.
    fn clock(&self, now: Instant) -> Duration {
        let since = self.asked.as_ref().map_or(now, |(_, since)| *since);
        self.waited + now.saturating_duration_since(since)
    }
}

/// What came of asking for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entered {
    Yes,
    /// There is none, and the task waits for one from now on.
    MustWait,
    /// It has waited before.
    StillWaits,
}

/// When the bytes in an inbox arrived, by [`Turn::clock`]: lengths of pieces,
/// oldest first.
#[derive(Default)]
struct Arrivals {
    pieces: VecDeque<(usize, Duration)>,
    bytes: usize,
}

impl Arrivals {
    fn note(&mut self, untaken: usize, now: Duration) {
        let new = untaken.saturating_sub(self.bytes);
        if new == 0 {
            return;
        }
        self.bytes = untaken;
        let is_full = self.pieces.len() == PIECES_MAX;
        match self.pieces.back_mut() {
            Some((bytes, at)) if is_full || now - *at < APART => {
                *bytes += new;
                // Rather too young than refused too early.
                if is_full {
                    *at = now;
                }
            }
            _ => self.pieces.push_back((new, now)),
        }
    }

    fn take(&mut self, mut bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        while let Some((piece, _)) = self.pieces.front_mut() {
            if *piece > bytes {
                *piece -= bytes;
                return;
            }
            bytes -= *piece;
            self.pieces.pop_front();
        }
    }

    /// When the last of the first bytes arrived.
    fn of(&self, bytes: usize) -> Option<Duration> {
        let mut sum = 0;
        let piece = self.pieces.iter().find(|(piece, _)| {
            sum += piece;
            sum >= bytes
        });
        piece.map(|(_, at)| *at)
    }
}

/// What arrives within this time counts as one piece.
const APART: Duration = Duration::from_millis(1);
/// Pieces of one connection.
const PIECES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn throttle() -> RequestThrottle {
        RequestThrottle {
            places: Arc::new(Semaphore::new(1)),
            wait_max: None,
        }
    }

    #[test]
    fn places_go_to_who_asked_first() {
        let throttle = throttle();
        let enter = |turn: &mut Turn| {
            turn.enter(
                &throttle,
                Instant::now(),
                &mut Context::from_waker(Waker::noop()),
            )
        };
        let (mut first, mut second, mut third) =
            (Turn::default(), Turn::default(), Turn::default());
        assert_eq!(enter(&mut first), Entered::Yes);
        assert_eq!(enter(&mut second), Entered::MustWait);
        assert_eq!(enter(&mut third), Entered::MustWait);
        assert_eq!(enter(&mut second), Entered::StillWaits);
        throttle.places.add_permits(1);
        assert_eq!(enter(&mut first), Entered::MustWait);
        assert_eq!(enter(&mut third), Entered::StillWaits);
        assert_eq!(enter(&mut second), Entered::Yes);
        assert!(third.is_waiting() && !second.is_waiting());
        drop(third);
        throttle.places.add_permits(1);
        assert_eq!(enter(&mut first), Entered::Yes);
    }

    #[test]
    fn only_waiting_for_a_place_counts() {
        let throttle = throttle();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut cx = Context::from_waker(Waker::noop());
        let mut turn = Turn::default();
        turn.arrived(10, at(0));
        assert_eq!(turn.waited(10, at(7)), Duration::ZERO);
        assert_eq!(turn.enter(&throttle, at(10), &mut cx), Entered::Yes);
        turn.taken(5);
        assert_eq!(turn.enter(&throttle, at(10), &mut cx), Entered::MustWait);
        turn.arrived(20, at(14));
        let waited = |turn: &Turn, bytes, ms| turn.waited(bytes, at(ms)).as_millis();
        assert_eq!(waited(&turn, 5, 16), 6);
        assert_eq!(waited(&turn, 6, 16), 2);
        throttle.places.add_permits(1);
        assert_eq!(turn.enter(&throttle, at(20), &mut cx), Entered::Yes);
        turn.taken(5);
        assert_eq!(waited(&turn, 15, 90), 6);
        turn.taken(15);
        assert_eq!(waited(&turn, 15, 90), 0, "nothing is there");
    }

    #[test]
    fn pieces_are_bounded() {
        let mut arrivals = Arrivals::default();
        for i in 1..=2 * PIECES_MAX {
            arrivals.note(i, 2 * APART * i as u32);
        }
        assert_eq!(arrivals.pieces.len(), PIECES_MAX);
        let sum: usize = arrivals.pieces.iter().map(|(piece, _)| piece).sum();
        assert_eq!(sum, 2 * PIECES_MAX);
        arrivals.take(2 * PIECES_MAX);
        assert!(arrivals.pieces.is_empty());
    }
}
