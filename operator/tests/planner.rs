//! Laws of the planner, over observations that need not make sense, and over a fake ensemble that does.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use zk_operator::ensemble::{
    Answer, ClaimRisk, Desired, Member, Observation, PodFacts, Recreation, Release, RestartReason,
    Role, STUCK_TERMINATING, StatefulSetFacts, Step, WaitReason, Zxid, health, next_step,
};

const OLD: &str = "zk-old";
const NEW: &str = "zk-new";

fn desired(replicas: usize) -> Desired {
    Desired {
        replicas,
        generation: 1,
        paused: false,
        stateful_set_generation: 7,
    }
}

/// A StatefulSet whose pods get the wanted revision whenever they are created; tests/rollout.rs has the others.
fn set(observed_generation: i64, update_revision: &str) -> StatefulSetFacts {
    StatefulSetFacts {
        uid: "set".to_owned(),
        observed_generation,
        update_revision: update_revision.to_owned(),
        image: String::new(),
        current_revision: update_revision.to_owned(),
        current_is_proven: false,
        recreation: Recreation::Proven,
        released: None,
    }
}

fn observed(members: Vec<Member>) -> Observation {
    Observation {
        age: Duration::from_millis(20),
        stateful_set: Some(set(7, NEW)),
        members,
    }
}

fn member(ordinal: usize, revision: &str, answer: Option<Answer>) -> Member {
    let serves = answer.is_some_and(|answer| answer.role != Role::Looking);
    Member {
        name: format!("zk-{ordinal}"),
        ordinal: i32::try_from(ordinal).unwrap(),
        pod: Some(PodFacts {
            uid: format!("uid-{ordinal}"),
            resource_version: format!("{ordinal}"),
            revision: revision.to_owned(),
            ready: serves,
            terminating: false,
            defect: None,
        }),
        answer,
        unheard: false,
        problem: None,
        claim_risk: None,
    }
}

fn follower(zxid: Zxid) -> Option<Answer> {
    Some(Answer {
        role: Role::Follower,
        zxid,
        synced_followers: None,
        digest_mismatches: 0,
        out_of_service: false,
    })
}

fn leader(zxid: Zxid, synced: usize) -> Option<Answer> {
    Some(Answer {
        role: Role::Leader,
        zxid,
        synced_followers: Some(synced),
        digest_mismatches: 0,
        out_of_service: false,
    })
}

/// A healthy ensemble whose leader is `leads`; `revisions` gives each member's.
fn healthy(revisions: &[&str], leads: usize) -> Vec<Member> {
    let zxid = Zxid::new(4, 17);
    revisions
        .iter()
        .enumerate()
        .map(|(ordinal, revision)| {
            let answer = if ordinal == leads {
                leader(zxid, revisions.len() - 1)
            } else {
                follower(zxid)
            };
            member(ordinal, revision, answer)
        })
        .collect()
}

fn restarted(step: &Step) -> Option<&str> {
    match step {
        Step::RestartPod { target, .. } | Step::RestartLeader { target, .. } => Some(&target.name),
        Step::Done | Step::Wait { .. } | Step::Release { .. } | Step::Protect => None,
    }
}

fn wait_reason(step: &Step) -> Option<&WaitReason> {
    match step {
        Step::Wait { why } => Some(why),
        _ => None,
    }
}

fn fail_pod(member: &mut Member, defect: Option<&str>) {
    member.answer = None;
    let pod = member.pod.as_mut().unwrap();
    pod.ready = false;
    pod.defect = defect.map(str::to_owned);
}

#[test]
fn a_healthy_ensemble_on_the_wanted_revision_is_done() {
    for size in [3, 5, 7, 9] {
        assert_eq!(
            next_step(&desired(size), &observed(healthy(&vec![NEW; size], 1))),
            Step::Done
        );
    }
}

#[test]
fn followers_go_from_the_highest_ordinal_down_and_the_leader_last() {
    let step = |revisions: [&str; 3]| next_step(&desired(3), &observed(healthy(&revisions, 2)));
    assert_eq!(restarted(&step([OLD, OLD, OLD])), Some("zk-1"));
    assert_eq!(restarted(&step([OLD, NEW, OLD])), Some("zk-0"));
    let last = step([NEW, NEW, OLD]);
    assert!(
        matches!(&last, Step::RestartLeader { target, why: RestartReason::Outdated } if target.name == "zk-2")
    );
}

#[test]
fn a_restarted_member_that_does_not_come_back_stops_the_restart() {
    let mut members = healthy(&[OLD, OLD, NEW], 0);
    fail_pod(&mut members[2], Some("ImagePullBackOff"));
    let step = next_step(&desired(3), &observed(members));
    assert_eq!(
        wait_reason(&step),
        Some(&WaitReason::MemberNotServing("zk-2".to_owned()))
    );
}

#[test]
fn a_bad_revision_that_was_corrected_is_replaced_before_the_members_that_serve() {
    let mut members = healthy(&[OLD, OLD, "zk-bad"], 0);
    fail_pod(&mut members[2], Some("ImagePullBackOff"));
    let step = next_step(&desired(3), &observed(members));
    assert!(matches!(
        &step,
        Step::RestartPod { target, why: RestartReason::OutdatedAndDefective(_) } if target.name == "zk-2"
    ));
}

#[test]
fn an_ensemble_that_never_came_up_can_be_corrected_member_by_member() {
    let mut members = healthy(&["zk-bad", "zk-bad", "zk-bad"], 0);
    for member in &mut members {
        fail_pod(member, Some("ErrImagePull"));
    }
    assert_eq!(
        restarted(&next_step(&desired(3), &observed(members.clone()))),
        Some("zk-2")
    );
    // The first is on the wanted revision now, but alone it cannot serve: the others must follow.
    let pod = members[2].pod.as_mut().unwrap();
    pod.revision = NEW.to_owned();
    pod.defect = None;
    assert_eq!(
        restarted(&next_step(&desired(3), &observed(members))),
        Some("zk-1")
    );
}

#[test]
fn an_election_is_waited_for_and_not_answered_with_restarts() {
    let mut members = healthy(&[OLD, OLD, OLD], 0);
    for member in &mut members {
        member.answer = Some(Answer {
            role: Role::Looking,
            zxid: Zxid::new(4, 17),
            synced_followers: None,
            digest_mismatches: 0,
            out_of_service: false,
        });
        member.pod.as_mut().unwrap().ready = false;
    }
    let step = next_step(&desired(3), &observed(members));
    assert!(matches!(
        wait_reason(&step),
        Some(WaitReason::OutdatedMemberNotServing(_))
    ));
}

#[test]
fn a_follower_that_lags_or_that_the_leader_does_not_count_holds_the_restart() {
    let mut lagging = healthy(&[OLD, OLD, OLD], 0);
    lagging[0].answer = leader(Zxid::new(4, health::ZXID_LAG_MAX + 100), 2);
    lagging[2].answer = follower(Zxid::new(4, health::ZXID_LAG_MAX + 100));
    // zk-1 lags. zk-2 is next, and without it only the leader is in step.
    let why = WaitReason::OthersNotInStep {
        next: "zk-2".to_owned(),
        remaining: 1,
        needed: 2,
    };
    assert_eq!(
        next_step(&desired(3), &observed(lagging)),
        Step::Wait { why }
    );

    let mut uncounted = healthy(&[OLD, OLD, OLD], 0);
    uncounted[0].answer = leader(Zxid::new(4, 17), 1);
    let step = next_step(&desired(3), &observed(uncounted));
    assert!(matches!(
        wait_reason(&step),
        Some(WaitReason::OthersNotInStep { .. })
    ));
}

/// The operator is cut off from these members; the kubelet calls their pods ready.
fn unhear(members: &mut [Member], ordinals: &[usize]) {
    for ordinal in ordinals {
        members[*ordinal].answer = None;
        members[*ordinal].unheard = true;
    }
}

#[test]
fn a_correction_gets_through_to_members_that_are_ready_but_cannot_be_asked() {
    let mut members = healthy(&[OLD, OLD, OLD], 1);
    unhear(&mut members, &[0, 1, 2]);
    let step = next_step(&desired(3), &observed(members.clone()));
    assert!(matches!(
        &step,
        Step::RestartPod { target, why: RestartReason::OutdatedAndAllReady } if target.name == "zk-2"
    ));

    // One at a time: the next waits until the one before is ready.
    let restarted_pod = members[2].pod.as_mut().unwrap();
    restarted_pod.revision = NEW.to_owned();
    restarted_pod.ready = false;
    members[2].unheard = false;
    let step = next_step(&desired(3), &observed(members.clone()));
    assert_eq!(
        wait_reason(&step),
        Some(&WaitReason::MemberNotServing("zk-2".to_owned()))
    );
    members[2].pod.as_mut().unwrap().ready = true;
    let step = next_step(&desired(3), &observed(members.clone()));
    assert_eq!(
        wait_reason(&step),
        Some(&WaitReason::MemberNotServing("zk-2".to_owned()))
    );
    members[2].unheard = true;
    assert_eq!(
        restarted(&next_step(&desired(3), &observed(members))),
        Some("zk-1")
    );
}

#[test]
fn members_that_cannot_be_asked_are_named_when_there_is_nothing_to_restart() {
    let mut members = healthy(&[NEW, NEW, NEW], 1);
    unhear(&mut members, &[0, 2]);
    let step = next_step(&desired(3), &observed(members));
    let why = wait_reason(&step).unwrap();
    assert_eq!(
        *why,
        WaitReason::MembersUnheard(vec!["zk-0".to_owned(), "zk-2".to_owned()])
    );
    assert_eq!(
        why.to_string(),
        "zk-0, zk-2 are ready, but the operator gets no answer from the admin port"
    );
}

#[test]
fn a_member_that_says_it_leads_goes_last_among_those_that_cannot_be_asked() {
    let mut members = healthy(&[OLD, OLD, OLD], 2);
    unhear(&mut members, &[0, 1]);
    assert_eq!(
        restarted(&next_step(&desired(3), &observed(members))),
        Some("zk-1")
    );
    let mut members = healthy(&[NEW, NEW, OLD], 2);
    unhear(&mut members, &[0, 1]);
    let step = next_step(&desired(3), &observed(members));
    assert!(matches!(&step, Step::RestartLeader { target, .. } if target.name == "zk-2"));
}

#[test]
fn an_ensemble_of_one_is_restarted_although_nobody_remains() {
    let answer = Some(Answer {
        role: Role::Standalone,
        zxid: Zxid::new(0, 3),
        synced_followers: None,
        digest_mismatches: 0,
        out_of_service: false,
    });
    let step = next_step(&desired(1), &observed(vec![member(0, OLD, answer)]));
    assert!(matches!(
        step,
        Step::RestartPod {
            why: RestartReason::OnlyMember,
            ..
        }
    ));
    assert_eq!(
        next_step(&desired(1), &observed(vec![member(0, NEW, answer)])),
        Step::Done
    );
}

#[test]
fn stale_facts_lead_to_waiting() {
    let good = observed(healthy(&[OLD, OLD, OLD], 0));
    assert!(restarted(&next_step(&desired(3), &good)).is_some());

    let old = Observation {
        age: Duration::from_secs(60),
        ..good.clone()
    };
    assert!(matches!(
        wait_reason(&next_step(&desired(3), &old)),
        Some(WaitReason::StaleObservation(_))
    ));

    let behind = set(6, NEW);
    let unnamed = set(7, "");
    for stateful_set in [None, Some(behind), Some(unnamed)] {
        let observation = Observation {
            stateful_set,
            ..good.clone()
        };
        assert_eq!(
            wait_reason(&next_step(&desired(3), &observation)),
            Some(&WaitReason::StatefulSetNotObserved)
        );
    }
}

#[test]
fn the_only_member_is_not_restarted_onto_an_empty_volume() {
    let answer = Some(Answer {
        role: Role::Standalone,
        zxid: Zxid::new(0, 3),
        synced_followers: None,
        digest_mismatches: 0,
        out_of_service: false,
    });
    let mut only = member(0, OLD, answer);
    only.claim_risk = Some(ClaimRisk {
        reason: "ClaimInDeletion",
        text: String::new(),
    });
    assert_eq!(
        wait_reason(&next_step(&desired(1), &observed(vec![only]))),
        Some(&WaitReason::ClaimAtRisk("zk-0".to_owned()))
    );
}

fn any_answer() -> impl Strategy<Value = Option<Answer>> {
    let role = prop_oneof![
        6 => Just(Role::Follower),
        2 => Just(Role::Leader),
        1 => Just(Role::Looking),
    ];
    let zxid = prop_oneof![
        5 => (0u32..3).prop_map(|counter| Zxid::new(4, counter)),
        1 => any::<u64>().prop_map(Zxid),
    ];
    let answer = (role, zxid, prop::option::weighted(0.9, 0usize..9)).prop_map(
        |(role, zxid, synced_followers)| Answer {
            role,
            zxid,
            synced_followers,
            digest_mismatches: 0,
            out_of_service: false,
        },
    );
    prop::option::weighted(0.9, answer)
}

fn any_pod() -> impl Strategy<Value = Option<PodFacts>> {
    let revision = prop_oneof![Just(OLD), Just(NEW), Just("zk-older")];
    let defect = prop::option::weighted(0.1, Just("CrashLoopBackOff".to_owned()));
    let pod = (
        revision,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.03),
        prop_oneof![3 => defect, 1 => Just(Some(STUCK_TERMINATING.to_owned()))],
    )
        .prop_map(|(revision, ready, terminating, defect)| PodFacts {
            uid: "uid".to_owned(),
            resource_version: "1".to_owned(),
            revision: revision.to_owned(),
            ready,
            terminating,
            defect: defect.filter(|defect| terminating || defect != STUCK_TERMINATING),
        });
    prop::option::weighted(0.97, pod)
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let size = prop_oneof![Just(3usize), Just(5), Just(7), Just(9)];
    let members = size.prop_flat_map(|size| prop::collection::vec((any_pod(), any_answer()), size));
    let facts = (
        6i64..9,
        prop_oneof![9 => Just(NEW), 1 => Just("")],
        prop_oneof![Just(NEW), Just(OLD)],
        prop_oneof![Just(Recreation::Proven), Just(Recreation::Wanted)],
        prop::option::of((0u64..400, 0i64..2)),
    )
        .prop_map(
            |(generation, revision, current, recreation, released)| StatefulSetFacts {
                current_revision: current.to_owned(),
                recreation,
                released: released.map(|(seconds, generation)| Release {
                    ago: Duration::from_secs(seconds),
                    generation,
                }),
                ..set(generation, revision)
            },
        );
    let set = prop::option::weighted(0.97, facts);
    (members, set, 0u64..12_000).prop_map(|(members, stateful_set, age_ms)| Observation {
        age: Duration::from_millis(age_ms),
        stateful_set,
        members: members
            .into_iter()
            .enumerate()
            .map(|(ordinal, (pod, answer))| Member {
                pod,
                answer,
                ..member(ordinal, OLD, None)
            })
            .collect(),
    })
}

/// Serving members other than `name` that hold what the leader has, counted here without the planner's code.
fn live_synced_voters_without(observation: &Observation, name: &str) -> usize {
    let serves = |member: &&Member| {
        let ready = member
            .pod
            .as_ref()
            .is_some_and(|pod| pod.ready && !pod.terminating);
        ready
            && member
                .answer
                .is_some_and(|answer| answer.role != Role::Looking)
    };
    let leads = |member: &&Member| {
        member
            .answer
            .is_some_and(|answer| answer.role == Role::Leader)
    };
    let Some(leader) = observation.members.iter().find(leads) else {
        return 0;
    };
    let top = leader.answer.unwrap().zxid;
    observation
        .members
        .iter()
        .filter(serves)
        .filter(|member| member.name != name)
        .filter(|member| {
            let zxid = member.answer.unwrap().zxid;
            let lag = if zxid.epoch() == top.epoch() {
                i64::from(top.counter()) - i64::from(zxid.counter())
            } else if zxid < top {
                i64::from(top.counter())
            } else {
                0
            };
            lag <= i64::from(health::ZXID_LAG_MAX)
        })
        .count()
}

fn no_step_takes_a_server_that_the_majority_needs(
    observation: &Observation,
) -> Result<(), TestCaseError> {
    let size = observation.members.len();
    let step = next_step(&desired(size), observation);
    if let Some(name) = restarted(&step) {
        let target = observation
            .members
            .iter()
            .find(|member| member.name == name)
            .unwrap();
        let pod = target.pod.as_ref().unwrap();
        prop_assert!(!pod.terminating);
        let goes_back = matches!(
            &step,
            Step::RestartPod {
                why: RestartReason::Unproven,
                ..
            }
        );
        prop_assert_eq!(pod.revision == NEW, goes_back);
        let may_serve = target
            .answer
            .is_some_and(|answer| answer.role != Role::Looking);
        let remaining = live_synced_voters_without(observation, name);
        prop_assert!(
            !may_serve || remaining >= health::majority(size),
            "{remaining} of {size} remain"
        );
    }
    Ok(())
}

fn the_leader_is_last(observation: &Observation) -> Result<(), TestCaseError> {
    let step = next_step(&desired(observation.members.len()), observation);
    let leads = |name: &str| {
        observation
            .members
            .iter()
            .any(|member| member.name == name && member.leads())
    };
    match &step {
        Step::RestartPod { target, .. } => prop_assert!(!leads(&target.name)),
        Step::RestartLeader { target, .. } => {
            prop_assert!(leads(&target.name));
            for other in observation
                .members
                .iter()
                .filter(|member| member.name != target.name)
            {
                prop_assert!(other.is_serving());
                prop_assert_eq!(other.pod.as_ref().unwrap().revision.as_str(), NEW);
            }
        }
        Step::Done | Step::Wait { .. } | Step::Release { .. } | Step::Protect => {}
    }
    Ok(())
}

fn nothing_is_decided_from_stale_facts(observation: &Observation) -> Result<(), TestCaseError> {
    let step = next_step(&desired(observation.members.len()), observation);
    let stale = observation.age > Duration::from_secs(10)
        || observation
            .stateful_set
            .as_ref()
            .is_none_or(|set| set.observed_generation < 7 || set.update_revision.is_empty());
    if stale {
        prop_assert!(wait_reason(&step).is_some() || step == Step::Protect);
    }
    Ok(())
}

fn no_serving_member_goes_while_a_restarted_one_is_not_back(
    observation: &Observation,
) -> Result<(), TestCaseError> {
    let step = next_step(&desired(observation.members.len()), observation);
    let not_back = observation.members.iter().any(|member| {
        let current = member.pod.as_ref().is_some_and(|pod| pod.revision == NEW);
        !member.is_serving() && (current || member.pod.as_ref().is_none_or(|pod| pod.terminating))
    });
    if let Some(name) = restarted(&step).filter(|_| not_back) {
        let target = observation
            .members
            .iter()
            .find(|member| member.name == name)
            .unwrap();
        prop_assert!(!target.is_serving());
    }
    Ok(())
}

fn done_means_that_everybody_serves_on_the_wanted_revision(
    observation: &Observation,
) -> Result<(), TestCaseError> {
    if next_step(&desired(observation.members.len()), observation) == Step::Done {
        for member in &observation.members {
            prop_assert!(member.is_serving());
            prop_assert_eq!(member.pod.as_ref().unwrap().revision.as_str(), NEW);
        }
    }
    Ok(())
}

fn nobody_goes_on_the_kubelets_word_unless_every_member_is_ready(
    observation: &Observation,
    cut_off: &[bool],
) -> Result<(), TestCaseError> {
    let mut observation = observation.clone();
    for (member, cut_off) in observation.members.iter_mut().zip(cut_off.iter().copied()) {
        if cut_off
            && member
                .pod
                .as_ref()
                .is_some_and(|pod| pod.ready && !pod.terminating)
        {
            member.answer = None;
            member.unheard = true;
        }
    }
    let step = next_step(&desired(observation.members.len()), &observation);
    if let Step::RestartPod {
        why: RestartReason::OutdatedAndAllReady,
        ..
    }
    | Step::RestartLeader {
        why: RestartReason::OutdatedAndAllReady,
        ..
    } = step
    {
        prop_assert!(observation.members.iter().any(|member| member.unheard));
        for member in &observation.members {
            let pod = member.pod.as_ref().unwrap();
            prop_assert!(pod.ready && !pod.terminating);
        }
    } else if let Some(name) = restarted(&step) {
        // Nobody who may serve goes for another reason while a member cannot be asked.
        let target = observation
            .members
            .iter()
            .find(|member| member.name == name)
            .unwrap();
        prop_assert!(
            !target.is_serving() || observation.members.iter().all(|member| !member.unheard)
        );
    }
    Ok(())
}

fn nobody_goes_whose_volume_would_not_come_back(
    observation: &Observation,
    at_risk: &[bool],
) -> Result<(), TestCaseError> {
    let mut observation = observation.clone();
    for (member, at_risk) in observation.members.iter_mut().zip(at_risk.iter().copied()) {
        member.claim_risk = at_risk.then(|| ClaimRisk {
            reason: "ClaimInDeletion",
            text: String::new(),
        });
    }
    let step = next_step(&desired(observation.members.len()), &observation);
    let someone = observation
        .members
        .iter()
        .any(|member| member.claim_risk.is_some());
    prop_assert!(step != Step::Done || !someone);
    if let Some(name) = restarted(&step) {
        let mut members = observation.members.iter();
        let target = members.find(|member| member.name == name).unwrap();
        prop_assert!(target.claim_risk.is_none());
        prop_assert!(!target.is_serving() || !someone);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    /// To make an observation takes far longer than to plan from it, so each is held against every law.
    #[test]
    fn every_law_holds_whatever_is_observed(
        observation in any_observation(),
        cut_off in prop::collection::vec(any::<bool>(), 9),
    ) {
        no_step_takes_a_server_that_the_majority_needs(&observation)?;
        the_leader_is_last(&observation)?;
        nothing_is_decided_from_stale_facts(&observation)?;
        no_serving_member_goes_while_a_restarted_one_is_not_back(&observation)?;
        done_means_that_everybody_serves_on_the_wanted_revision(&observation)?;
        nobody_goes_on_the_kubelets_word_unless_every_member_is_ready(&observation, &cut_off)?;
        nobody_goes_whose_volume_would_not_come_back(&observation, &cut_off)?;
    }

    #[test]
    fn a_rolling_restart_ends_with_each_member_restarted_once(
        size in prop_oneof![Just(3usize), Just(5), Just(7), Just(9)],
        leads in 0usize..9,
        delays in prop::collection::vec(1usize..4, 32),
    ) {
        let mut fake = FakeEnsemble::new(size, leads % size, delays);
        let order = fake.roll();
        let mut names: Vec<usize> = order.clone();
        names.sort_unstable();
        prop_assert_eq!(names, (0..size).collect::<Vec<_>>(), "each once, in {:?}", &order);
        prop_assert_eq!(*order.last().unwrap(), leads % size, "the first leader goes last");
    }
}

/// Servers that elect whoever has the highest ordinal among those that are up, and take a while to come back.
struct FakeEnsemble {
    revisions: Vec<&'static str>,
    /// Looks until the member serves again; 0 when it serves.
    away: Vec<usize>,
    leader: usize,
    epoch: u32,
    delays: Vec<usize>,
}

impl FakeEnsemble {
    fn new(size: usize, leader: usize, delays: Vec<usize>) -> Self {
        Self {
            revisions: vec![OLD; size],
            away: vec![0; size],
            leader,
            epoch: 1,
            delays,
        }
    }

    /// Follows the planner until it is done; returns the ordinals restarted, in order.
    fn roll(&mut self) -> Vec<usize> {
        let size = self.revisions.len();
        let mut order = Vec::new();
        for _ in 0..ROLL_LOOKS_MAX {
            match next_step(&desired(size), &self.observe()) {
                Step::Done => return order,
                Step::Wait { .. } => {}
                Step::Release { .. } | Step::Protect => panic!("the revisions are the same"),
                Step::RestartPod { target, .. } | Step::RestartLeader { target, .. } => {
                    let ordinal = target.name.trim_start_matches("zk-").parse().unwrap();
                    order.push(ordinal);
                    self.restart(ordinal);
                }
            }
            self.pass_time();
        }
        panic!("still not done after {ROLL_LOOKS_MAX} looks; restarted {order:?}");
    }

    fn restart(&mut self, ordinal: usize) {
        self.revisions[ordinal] = NEW;
        self.away[ordinal] = self.delays.pop().unwrap_or(1) + 1;
        let up = self.away.iter().filter(|away| **away == 0).count();
        assert!(
            up >= health::majority(self.revisions.len()),
            "the ensemble lost its quorum"
        );
        if ordinal == self.leader {
            self.leader = self.away.iter().rposition(|away| *away == 0).unwrap();
            self.epoch += 1;
        }
    }

    fn pass_time(&mut self) {
        for away in &mut self.away {
            *away = away.saturating_sub(1);
        }
    }

    fn observe(&self) -> Observation {
        let zxid = Zxid::new(self.epoch, 5);
        let up = |ordinal: usize| self.away[ordinal] == 0;
        let synced = (0..self.away.len())
            .filter(|ordinal| up(*ordinal) && *ordinal != self.leader)
            .count();
        let members = (0..self.away.len())
            .map(|ordinal| {
                let answer = match (up(ordinal), ordinal == self.leader) {
                    (false, _) => None,
                    (true, true) => leader(zxid, synced),
                    (true, false) => follower(zxid),
                };
                member(ordinal, self.revisions[ordinal], answer)
            })
            .collect();
        observed(members)
    }
}

const ROLL_LOOKS_MAX: usize = 200;
