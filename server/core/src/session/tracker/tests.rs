//! Sessions and their time.

use super::*;

const ID: SessionId = SessionId(7);

#[test]
fn sessions_are_listed_in_slices_by_their_expiry() {
    let mut tracker = SessionTracker::new(1000, &BTreeMap::new(), Millis(0));
    for id in 1..=5 {
        tracker.track(
            SessionId(id),
            4000 + (id as i32 % 2) * 3000,
            None,
            Millis(500),
        );
    }
    let all = tracker.by_expiry(None, 100);
    let ids: Vec<_> = all.iter().map(|(at, id)| (at.0, id.0)).collect();
    assert_eq!(ids, [(5000, 2), (5000, 4), (8000, 1), (8000, 3), (8000, 5)]);
    let mut sliced = Vec::new();
    loop {
        let slice = tracker.by_expiry(sliced.last().copied(), 2);
        if slice.is_empty() {
            break;
        }
        sliced.extend(slice);
    }
    assert_eq!(sliced, all);
}

fn tracker() -> SessionTracker {
    SessionTracker::new(1000, &BTreeMap::from([(ID, 4000)]), Millis(500))
}

/// Steps every half tick, as a server that runs does, up to this time.
fn run_to(tracker: &mut SessionTracker, to: u64) {
    for ms in (tracker.time.last_step().0..to).step_by(500) {
        tracker.runs(Millis(ms));
    }
    tracker.runs(Millis(to));
}

/// What expires on the way there.
fn expired(tracker: &mut SessionTracker, to: u64) -> Vec<SessionId> {
    run_to(tracker, to);
    std::iter::from_fn(|| tracker.next_expired(Millis(to))).collect()
}

#[test]
fn a_pause_of_the_server_is_given_back() {
    let mut tracker = tracker();
    run_to(&mut tracker, 4000);
    // Stopped for eight seconds.
    tracker.runs(Millis(12_000));
    assert_eq!(tracker.next_expiry(), Some(Millis(13_000)));
    assert!(expired(&mut tracker, 12_999).is_empty());
    // Heard of before the pause, but told only after it.
    assert!(tracker.touch(ID, Millis(3900)));
    assert_eq!(tracker.next_expiry(), Some(Millis(16_000)));
    assert_eq!(tracker.by_expiry(None, 9), [(Millis(16_000), ID)]);
    assert_eq!(tracker.by_expiry(Some((Millis(16_000), ID)), 9), []);
    assert!(tracker.touch(ID, Millis(12_900)));
    assert_eq!(tracker.next_expiry(), Some(Millis(17_000)));
    // A clock that goes back or stands still is no pause.
    tracker.runs(Millis(12_000));
    tracker.runs(Millis(12_900));
    assert_eq!(tracker.next_expiry(), Some(Millis(17_000)));
    assert_eq!(expired(&mut tracker, 17_000), [ID]);
}

#[test]
fn a_session_at_a_learner_expires_when_the_learner_has_answered() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    for ms in (800..=4800).step_by(500) {
        tracker.reported(LINK, Millis(ms));
    }
    assert!(
        expired(&mut tracker, 5100).is_empty(),
        "not heard to the end"
    );
    assert_eq!(tracker.next_expiry(), None, "nothing to do until then");
    tracker.reported(LINK, Millis(5300));
    assert_eq!(expired(&mut tracker, 5300), [ID]);
}

#[test]
fn a_learner_that_was_silent_gets_its_time_again() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    tracker.reported(LINK, Millis(2000));
    assert!(expired(&mut tracker, 9999).is_empty());
    tracker.reported(LINK, Millis(10_000));
    assert!(
        expired(&mut tracker, 10_400).is_empty(),
        "its clients' pings come"
    );
    // It was silent for 1,500 ms before its first answer, then for 8,000 ms.
    for ms in (10_500..14_500).step_by(500) {
        tracker.reported(LINK, Millis(ms));
        assert!(expired(&mut tracker, ms).is_empty(), "{ms}");
    }
    tracker.reported(LINK, Millis(14_500));
    assert_eq!(expired(&mut tracker, 14_500), [ID]);
}

#[test]
fn a_learner_that_stands_still_again_and_again_keeps_no_session_for_ever() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    // It runs for a second of every three: the four seconds that are left pass in twelve.
    let mut ended = None;
    for start in (500..60_000).step_by(3000) {
        for ms in [start, start + 500, start + 1000] {
            tracker.reported(LINK, Millis(ms));
            let gone = expired(&mut tracker, ms);
            if !gone.is_empty() {
                ended.get_or_insert(ms);
            }
        }
    }
    let ended = ended.expect("it never expires");
    assert!((12_500..=16_500).contains(&ended), "{ended}");
}

#[test]
fn a_session_heard_of_after_a_silence_does_not_get_that_time_again() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    tracker.reported(LINK, Millis(1000));
    run_to(&mut tracker, 4000);
    tracker.reported(LINK, Millis(4000));
    assert!(tracker.renew(ID, 4000, Millis(4000)));
    for ms in (4500..9000).step_by(500) {
        tracker.reported(LINK, Millis(ms));
        assert!(expired(&mut tracker, ms).is_empty(), "{ms}");
    }
    tracker.reported(LINK, Millis(9000));
    assert_eq!(expired(&mut tracker, 9000), [ID]);
}

#[test]
fn a_link_that_is_named_after_it_was_gone_counts_from_nothing() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    tracker.reported(LINK, Millis(3500));
    assert!(tracker.renew(ID, 4000, Millis(3500)));
    tracker.learner_gone(LINK);
    for ms in (4000..=8000).step_by(500) {
        tracker.reported(LINK, Millis(ms));
    }
    assert_eq!(expired(&mut tracker, 8000), [ID]);
}

#[test]
fn time_passes_with_ticks_as_short_as_a_timer_is_late() {
    const LINK: LinkId = LinkId(1);
    for owner in [Owner::Local, Owner::Learner(LINK)] {
        let mut tracker = SessionTracker::new(1, &BTreeMap::from([(ID, 4000)]), Millis(0));
        tracker.set_owner(ID, owner);
        let expired_at = (0..20_000).step_by(2).find(|&ms| {
            tracker.runs(Millis(ms));
            tracker.reported(LINK, Millis(ms));
            tracker.next_expired(Millis(ms)).is_some()
        });
        assert_eq!(expired_at, Some(4002), "{owner:?}");
    }
}

#[test]
fn a_learner_that_has_never_answered_is_waited_for() {
    const LINK: LinkId = LinkId(1);
    for asks in [true, false] {
        let mut tracker = tracker();
        run_to(&mut tracker, 500);
        if asks {
            assert_eq!(tracker.check(ID, Owner::Learner(LINK)), Ok(()));
        } else {
            tracker.track(ID, 4000, Some(Owner::Learner(LINK)), Millis(500));
        }
        assert!(expired(&mut tracker, 7000).is_empty());
        tracker.reported(LINK, Millis(7000));
        assert!(expired(&mut tracker, 7000).is_empty());
        tracker.learner_gone(LINK);
        // The five seconds that it had, and the six and a half of silence.
        assert!(expired(&mut tracker, 11_400).is_empty());
        assert_eq!(expired(&mut tracker, 11_500), [ID]);
    }
}

#[test]
fn a_session_at_a_learner_that_is_gone_expires_in_its_time() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    tracker.reported(LINK, Millis(2000));
    assert!(expired(&mut tracker, 7000).is_empty());
    tracker.learner_gone(LINK);
    assert_eq!(expired(&mut tracker, 7000), [ID]);
}

#[test]
fn a_session_that_is_heard_of_while_it_is_held_lives() {
    const LINK: LinkId = LinkId(1);
    let mut tracker = tracker();
    tracker.set_owner(ID, Owner::Learner(LINK));
    tracker.reported(LINK, Millis(4800));
    assert!(expired(&mut tracker, 5100).is_empty());
    assert!(tracker.renew(ID, 4000, Millis(5300)));
    tracker.reported(LINK, Millis(5300));
    assert!(expired(&mut tracker, 9999).is_empty());
    assert_eq!(tracker.closing(), 0);
}

#[test]
fn a_session_lives_between_its_timeout_and_one_tick_more() {
    let mut tracker = tracker();
    assert_eq!(tracker.next_expiry(), Some(Millis(5000)));
    assert!(expired(&mut tracker, 4999).is_empty());
    assert!(tracker.touch(ID, Millis(1500)));
    assert!(
        tracker.touch(ID, Millis(700)),
        "an older report is harmless"
    );
    assert!(expired(&mut tracker, 5000).is_empty());
    assert_eq!(expired(&mut tracker, 6000), [ID]);
    assert!(!tracker.touch(ID, Millis(6001)), "no way back from expiry");
    assert!(expired(&mut tracker, 60_000).is_empty(), "expires once");
    tracker.remove(ID);
    assert!(tracker.is_empty());
}

#[test]
fn a_session_writes_through_one_owner() {
    let mut tracker = tracker();
    let learner = Owner::Learner(LinkId(1));
    assert_eq!(tracker.check(ID, learner), Ok(()));
    assert_eq!(
        tracker.check(ID, Owner::Local),
        Err(ErrorCode::SessionMoved)
    );
    tracker.set_owner(ID, Owner::Local);
    assert_eq!(tracker.check(ID, Owner::Local), Ok(()));
    tracker.mark_closing(ID);
    assert_eq!(
        tracker.check(ID, Owner::Local),
        Err(ErrorCode::SessionExpired)
    );
    assert_eq!(
        tracker.check(SessionId(8), Owner::Local),
        Err(ErrorCode::SessionExpired)
    );
}
