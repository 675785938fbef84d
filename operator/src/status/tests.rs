//! What a status says of what was seen.

use std::time::Duration;

use super::*;
use crate::ensemble::{Answer, PodFacts, Recreation, StatefulSetFacts, Zxid};

fn observation(roles: &[Option<Role>]) -> Observation {
    let members = roles
        .iter()
        .enumerate()
        .map(|(at, role)| Member {
            name: format!("zk-{at}"),
            ordinal: i32::try_from(at).unwrap(),
            pod: Some(PodFacts {
                uid: String::new(),
                resource_version: String::new(),
                revision: "one".to_owned(),
                ready: role.is_some_and(|role| role != Role::Looking),
                terminating: false,
                defect: None,
            }),
            answer: role.map(|role| Answer {
                role,
                zxid: Zxid::new(2, 9),
                synced_followers: (role == Role::Leader).then_some(2),
                digest_mismatches: 0,
                out_of_service: false,
            }),
            unheard: false,
            problem: None,
            claim_risk: None,
        })
        .collect();
    Observation {
        age: Duration::ZERO,
        stateful_set: Some(StatefulSetFacts {
            uid: String::new(),
            observed_generation: 1,
            update_revision: "one".to_owned(),
            image: "quorate/quorate:test".to_owned(),
            current_revision: "one".to_owned(),
            current_is_proven: false,
            recreation: Recreation::Proven,
            released: None,
        }),
        members,
    }
}

fn waiting() -> Step {
    Step::Wait {
        why: WaitReason::NoLeader,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const SERVING: [Option<Role>; 3] = [
    Some(Role::Follower),
    Some(Role::Leader),
    Some(Role::Follower),
];

#[test]
fn a_serving_ensemble_shows_leader_epoch_and_every_member() {
    let status = observed(None, 3, &observation(&SERVING), Ok(&Step::Done), at(0));
    assert_eq!(status.phase.as_deref(), Some("Serving"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(3), Some(3)));
    assert_eq!(
        (status.leader.as_deref(), status.epoch),
        (Some("zk-1"), Some(2))
    );
    let row = &status.members[1];
    assert_eq!(
        (row.sid, row.role, row.zxid.as_deref()),
        (2, MemberRole::Leader, Some("0x200000009"))
    );
    assert!(
        status.conditions[..3]
            .iter()
            .all(|condition| condition.status == "True")
    );
    assert_eq!(
        find(&status.conditions, ConditionType::Progressing)
            .unwrap()
            .status,
        "False"
    );
}

#[test]
fn a_member_that_cannot_come_up_says_why() {
    let mut seen = observation(&[None, Some(Role::Leader), Some(Role::Follower)]);
    seen.members[0].pod.as_mut().unwrap().defect = Some("ImagePullBackOff".to_owned());
    let status = observed(None, 1, &seen, Ok(&waiting()), at(0));
    assert_eq!(
        status.members[0].problem.as_deref(),
        Some("ImagePullBackOff")
    );
    assert_eq!(status.members[1].problem, None);
}

#[test]
fn what_is_waited_for_is_told_with_its_cause() {
    let mut seen = observation(&[Some(Role::Leader), None, Some(Role::Follower)]);
    seen.members[1].problem = Some("exit code 2: zoo.cfg:12: tickTime=abc".to_owned());
    let step = Step::Wait {
        why: WaitReason::MemberNotServing("zk-1".to_owned()),
    };
    let status = observed(None, 1, &seen, Ok(&step), at(0));
    let expected = "waiting for zk-1 to become ready: exit code 2: zoo.cfg:12: tickTime=abc";
    let progressing = find(&status.conditions, ConditionType::Progressing).unwrap();
    assert_eq!(progressing.message, expected);
    assert_eq!(
        status.members[1].problem.as_deref(),
        Some("exit code 2: zoo.cfg:12: tickTime=abc")
    );
    assert_eq!(status.image.as_deref(), Some("quorate/quorate:test"));
    assert_eq!(
        describe(&step, &observation(&[None; 3])).1,
        "waiting for zk-1 to become ready"
    );
}

#[test]
fn members_that_are_ready_but_do_not_answer_make_the_state_unknown_and_name_the_usual_cause() {
    let mut seen = observation(&[None; 3]);
    for member in &mut seen.members {
        member.pod.as_mut().unwrap().ready = true;
    }
    let status = observed(None, 1, &seen, Ok(&waiting()), at(0));
    assert_eq!(status.phase.as_deref(), Some("Unknown"));
    let available = find(&status.conditions, ConditionType::Available).unwrap();
    assert_eq!(
        (available.status.as_str(), available.reason.as_str()),
        ("Unknown", "NoAnswer")
    );
    assert!(
        available
            .message
            .starts_with("3 members are ready, but too few answer")
            && available.message.contains("NetworkPolicy"),
        "{}",
        available.message
    );
}

#[test]
fn a_member_whose_tree_differs_is_a_problem_and_never_serves() {
    let mut seen = observation(&SERVING);
    seen.members[0].answer.as_mut().unwrap().digest_mismatches = 18;
    let step = crate::ensemble::next_step(
        &crate::ensemble::Desired {
            replicas: 3,
            generation: 1,
            paused: false,
            stateful_set_generation: 1,
        },
        &seen,
    );
    assert_eq!(
        step,
        Step::Wait {
            why: WaitReason::MemberParted("zk-0".to_owned())
        }
    );
    let status = observed(None, 1, &seen, Ok(&step), at(0));
    assert_eq!(status.phase.as_deref(), Some("Degraded"));
    assert_eq!(status.ready_replicas, Some(2));
    assert!(!status.members[0].ready);
    let problem = status.members[0].problem.as_deref().unwrap();
    assert!(
        problem.starts_with("TreeDiffers") && problem.contains("18"),
        "{problem}"
    );
    let ready = find(&status.conditions, ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "MemberParted")
    );
}

#[test]
fn an_epoch_that_falls_is_told_for_as_long_as_it_is_lower_than_before() {
    let in_epoch = |epoch| {
        let mut seen = observation(&SERVING);
        for member in &mut seen.members {
            member.answer.as_mut().unwrap().zxid = Zxid::new(epoch, 3);
        }
        seen
    };
    let nine = observed(None, 1, &in_epoch(9), Ok(&Step::Done), at(0));
    let reason = |status: &ZookeeperEnsembleStatus| {
        let available = find(&status.conditions, ConditionType::Available).unwrap();
        (available.reason.clone(), available.message.clone())
    };
    assert_eq!(reason(&nine).0, "Serving");
    // In between nobody leads, and nobody could look.
    let between = observation(&[Some(Role::Looking); 3]);
    let between = observed(Some(&nine), 1, &between, Ok(&waiting()), at(1));
    let between = unseen(Some(&between), 1, refused(false), at(2));
    let one = observed(Some(&between), 1, &in_epoch(1), Ok(&Step::Done), at(3));
    let (told, message) = reason(&one);
    assert_eq!(told, "EpochFell");
    assert!(
        message.contains("in epoch 1, and the ensemble was in epoch 9 before")
            && message.contains("Delete no claim"),
        "{message}"
    );
    let two = observed(Some(&one), 1, &in_epoch(2), Ok(&Step::Done), at(4));
    assert_eq!(reason(&two).0, "EpochFell");
    let ten = observed(Some(&two), 1, &in_epoch(10), Ok(&Step::Done), at(5));
    assert_eq!(reason(&ten).0, "Serving");
    // A leader that is cut off and has not noticed is no fall.
    let mut cut = in_epoch(4);
    cut.members[0].answer = None;
    cut.members[2].answer = None;
    let cut = observed(Some(&ten), 1, &cut, Ok(&waiting()), at(6));
    assert_ne!(reason(&cut).0, "EpochFell");
}

#[test]
fn what_a_port_answers_instead_is_the_cause_and_not_a_network_policy() {
    let mut seen = observation(&[None; 3]);
    for member in &mut seen.members {
        member.pod.as_mut().unwrap().ready = true;
        member.unheard = true;
        member.problem = Some("its admin port answers HTTP 404".to_owned());
    }
    let step = Step::Wait {
        why: WaitReason::MembersUnheard(vec!["zk-0".to_owned()]),
    };
    let status = observed(None, 1, &seen, Ok(&step), at(0));
    for kind in [ConditionType::Available, ConditionType::Progressing] {
        let message = &find(&status.conditions, kind).unwrap().message;
        assert!(
            message.ends_with("its admin port answers HTTP 404"),
            "{message}"
        );
    }
}

#[test]
fn two_leaders_are_never_shown_as_one() {
    let status = observed(
        None,
        1,
        &observation(&[Some(Role::Leader), Some(Role::Leader), None]),
        Ok(&waiting()),
        at(0),
    );
    assert_eq!((status.leader, status.epoch), (None, None));
}

#[test]
fn the_phase_tells_forming_from_electing_and_from_unavailable() {
    let looking = observation(&[Some(Role::Looking); 3]);
    let forming = observed(None, 1, &looking, Ok(&waiting()), at(0));
    assert_eq!(forming.phase.as_deref(), Some("Forming"));
    let forming = observed(
        Some(&forming),
        1,
        &observation(&[None; 3]),
        Ok(&waiting()),
        at(1),
    );
    assert_eq!(forming.phase.as_deref(), Some("Forming"));
    let serving = observed(
        Some(&forming),
        1,
        &observation(&SERVING),
        Ok(&Step::Done),
        at(2),
    );
    let electing = observed(Some(&serving), 1, &looking, Ok(&waiting()), at(3));
    assert_eq!(electing.phase.as_deref(), Some("Electing"));
    let gone = observed(
        Some(&electing),
        1,
        &observation(&[None; 3]),
        Ok(&waiting()),
        at(4),
    );
    assert_eq!(gone.phase.as_deref(), Some("Unavailable"));
}

#[test]
fn a_condition_keeps_its_transition_time_until_its_status_changes() {
    let first = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
    let second = observed(
        Some(&first),
        2,
        &observation(&SERVING),
        Ok(&waiting()),
        at(20),
    );
    let time = |status: &ZookeeperEnsembleStatus, kind| {
        find(&status.conditions, kind)
            .unwrap()
            .last_transition_time
            .0
            .as_second()
    };
    assert_eq!(time(&second, ConditionType::Available), 10);
    assert_eq!(time(&second, ConditionType::Ready), 20);
}

fn refused(spec_is_wrong: bool) -> Failure<'static> {
    Failure {
        reason: "Refused",
        message: "no",
        spec_is_wrong,
    }
}

#[test]
fn a_failure_leaves_nothing_in_the_status_that_was_not_seen_now() {
    let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
    let seen = observation(&[Some(Role::Leader), Some(Role::Follower), None]);
    let status = observed(Some(&known), 2, &seen, Err(refused(false)), at(20));
    assert_eq!(status.phase.as_deref(), Some("Blocked"));
    assert_eq!(status.leader.as_deref(), Some("zk-0"));
    assert_eq!(status.ready_replicas, Some(2));
    let told = |kind| {
        let condition = find(&status.conditions, kind).unwrap();
        (condition.status.as_str(), condition.reason.as_str())
    };
    assert_eq!(told(ConditionType::Reconciled), ("False", "Refused"));
    assert_eq!(told(ConditionType::Available), ("True", "Serving"));
    assert_eq!(told(ConditionType::Ready), ("False", "Refused"));
    assert_eq!(told(ConditionType::Progressing), ("True", "Refused"));

    let gone = observation(&[None; 3]);
    let status = observed(Some(&known), 2, &gone, Err(refused(false)), at(20));
    assert_eq!(status.phase.as_deref(), Some("Unavailable"));
    let status = observed(Some(&known), 2, &gone, Err(refused(true)), at(20));
    assert_eq!(status.phase.as_deref(), Some("Invalid"));
}

#[test]
fn of_what_could_not_be_looked_at_nothing_is_claimed() {
    let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
    let status = unseen(Some(&known), 2, refused(false), at(20));
    assert_eq!(status.phase.as_deref(), Some("Unknown"));
    assert_eq!((status.leader, status.ready_replicas), (None, None));
    assert!(status.members.is_empty());
    for kind in [
        ConditionType::Available,
        ConditionType::Ready,
        ConditionType::Progressing,
    ] {
        assert_eq!(find(&status.conditions, kind).unwrap().status, "Unknown");
    }
}

#[test]
fn a_heartbeat_is_written_once_a_minute() {
    let look = |second| {
        let mut status = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(second));
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(at(0));
        }
        status
    };
    let mut first = look(100);
    assert!(says_the_same(&first, &look(159)));
    assert!(!says_the_same(&first, &look(160)));
    first.leader = None;
    assert!(!says_the_same(&first, &look(101)));
}

#[test]
fn the_time_of_the_last_look_stays_when_nobody_could_look() {
    let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(100));
    let status = unseen(Some(&known), 1, refused(false), at(500));
    assert_eq!(status.last_look_time, known.last_look_time);
}

#[test]
fn a_status_that_nobody_kept_up_to_date_is_found_until_it_says_so() {
    let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(100));
    assert_eq!(outdated_since(&known, at(220)), None);
    assert_eq!(outdated_since(&known, at(221)), Some(at(100)));
    let unknown = unseen(Some(&known), 1, refused(false), at(221));
    assert_eq!(outdated_since(&unknown, at(500)), None);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let cut = shortened(&"é".repeat(2000));
    assert!(cut.len() <= MESSAGE_BYTES_MAX && cut.ends_with(ELLIPSIS));
    assert_eq!(shortened("short"), "short");
}
