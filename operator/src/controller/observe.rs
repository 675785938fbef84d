//! Gathers the facts: StatefulSet and pods read from the API server itself, not from a cache, and each server
//! asked for its role.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures::future;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::ReconcileError;
use super::claim_risk::{Whose, claim_risk, runs_since};
use super::claims::{self, Claim};
use super::ownership::is_controlled_by;
use super::pages;
use super::pod_events::{has_not_started, newest_warning};
use super::pod_facts::{not_ready_for, pod_facts};
use super::problem::{UNSCHEDULABLE, problem};
use super::silence::Silence;
use crate::ensemble::{
    Answer, Member, OUT_OF_SERVICE, Observation, Recreation, Release, StatefulSetFacts,
};
use crate::quorum_client::QuorumAdmin;
use crate::resources::{
    ADMIN_PORT, ON_DELETE, RELEASED_ANNOTATION, claim_name, member_of_pod, pod_name, pod_selector,
};

/// What is looked at. It is known also of an ensemble whose spec cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Members that there shall be; absent if the spec does not say, then as many as the StatefulSet has.
    pub(super) replicas: Option<i32>,
    /// Revision that the status keeps as known to work.
    pub(super) proven_revision: Option<String>,
}

/// What was seen in one look.
pub(super) struct Seen {
    pub(super) observation: Observation,
    /// The claims of the members.
    pub(super) claims: Vec<Claim>,
    /// For how long the members kept the look waiting for their answers.
    pub(super) waited: Duration,
}

/// Looks at everything that the planner needs to know of `ensemble`.
pub(super) async fn observe<A: QuorumAdmin>(
    client: &Client,
    admin: &A,
    silence: &Silence,
    ensemble: &Subject,
) -> Result<Seen, ReconcileError> {
    let started = Instant::now();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &ensemble.namespace);
    let set = sets
        .get_opt(&ensemble.name)
        .await
        .map_err(|source| failed("StatefulSet", source))?
        .filter(|set| is_controlled_by(&set.metadata, &ensemble.uid));
    let in_set = set
        .as_ref()
        .and_then(|set| set.spec.as_ref()?.replicas)
        .unwrap_or(0);
    let replicas = ensemble.replicas.unwrap_or(in_set);
    let pods_api: Api<Pod> = Api::namespaced(client.clone(), &ensemble.namespace);
    let selected = ListParams::default().labels(&pod_selector(&ensemble.name));
    let set_uid = set.as_ref().and_then(|set| set.metadata.uid.as_deref());
    let of_set = |pod: &Pod| set_uid.is_some_and(|uid| is_controlled_by(&pod.metadata, uid));
    let pods = pages::list(&pods_api, &selected, of_set)
        .await
        .map_err(|source| failed("pods", source))?;

    let now = Timestamp::now();
    let pod_of = |ordinal: i32| {
        pods.iter()
            .find(|pod| is_member(pod, &ensemble.name, ordinal, set_uid))
    };
    let running: Vec<i32> = (0..replicas)
        .filter(|ordinal| pod_of(*ordinal).and_then(runs_since).is_some())
        .collect();
    let claims = claims::of_members(client, ensemble, &running).await?;
    let members = (0..replicas).map(|ordinal| {
        let pod = pod_of(ordinal);
        async move {
            let name = pod_name(&ensemble.name, ordinal);
            let asked = match pod.and_then(admin_address) {
                Some(address) => ask(admin, address, ensemble).await,
                None => Asked::default(),
            };
            let claim = claim_name(&ensemble.name, ordinal);
            Member {
                pod: pod.map(|pod| pod_facts(pod, now)),
                answer: asked.answer,
                unheard: false,
                problem: pod.and_then(|pod| {
                    let said = asked.problem(pod, &claim, now);
                    said.or_else(|| problem(pod, now))
                }),
                claim_risk: None,
                name,
                ordinal,
            }
        }
    });
    let asking = tokio::time::Instant::now();
    let mut members = future::join_all(members).await;
    let waited = asking.elapsed();
    if let Some(uid) = set_uid.filter(|_| members.iter().any(|member| member.pod.is_none())) {
        let events = events_about(client, ensemble, "StatefulSet", &ensemble.name, uid).await;
        for member in members.iter_mut().filter(|member| member.pod.is_none()) {
            let stray = stray_pod(&pods_api, ensemble, &member.name).await;
            member.problem = stray.or_else(|| why_no_pod(&events, &member.name, now));
        }
    }
    for member in members.iter_mut().filter(|member| member.problem.is_none()) {
        if let Some(pod) = pod_of(member.ordinal).filter(|pod| has_not_started(pod, now))
            && let Some(uid) = pod.metadata.uid.as_deref()
        {
            let events = events_about(client, ensemble, "Pod", &member.name, uid).await;
            member.problem = newest_warning(&events, now);
        }
    }
    let asked = Instant::now();
    for member in &mut members {
        member.unheard = silence.is_long(member, asked);
        let whose = Whose {
            namespace: &ensemble.namespace,
            ensemble: &ensemble.name,
            ordinal: member.ordinal,
            is_alone: replicas == 1,
        };
        let claim = claims.iter().find(|(of, _)| *of == member.ordinal);
        let claim = claim.map(|(_, claim)| claim);
        member.claim_risk = claim_risk(whose, claim, pod_of(member.ordinal));
        if let (Some(problem), Some(claim)) = (&mut member.problem, claim)
            && problem.starts_with(UNSCHEDULABLE)
            && let Some(cause) = why_unbound(client, ensemble, claim).await
        {
            *problem = format!("{problem}; {cause}");
        }
    }
    let observation = Observation {
        age: started.elapsed(),
        stateful_set: set.as_ref().map(|set| {
            let mut facts = stateful_set_facts(set, now);
            let proven = ensemble.proven_revision.as_ref();
            facts.current_is_proven = proven == Some(&facts.current_revision);
            facts
        }),
        members,
    };
    Ok(Seen {
        observation,
        claims,
        waited,
    })
}

/// Events about this very object. Not to know them must not stop the look.
async fn events_about(
    client: &Client,
    ensemble: &Subject,
    kind: &str,
    name: &str,
    uid: &str,
) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), &ensemble.namespace);
    let fields = format!("regarding.kind={kind},regarding.name={name}");
    let params = ListParams::default().fields(&fields).limit(EVENTS_MAX);
    let mut events = match api.list(&params).await {
        Ok(events) => events.items,
        Err(error) => {
            tracing::debug!(namespace = ensemble.namespace, ensemble = ensemble.name, kind, name, %error, "Events not read");
            return Vec::new();
        }
    };
    events.retain(|event| {
        let regarding = event.regarding.as_ref();
        regarding.and_then(|object| object.uid.as_deref()) == Some(uid)
    });
    events
}

/// Why this claim has no volume, such as a storage class that does not exist, which Kubernetes tells in Events only.
async fn why_unbound(
    client: &Client,
    ensemble: &Subject,
    claim: &PersistentVolumeClaim,
) -> Option<String> {
    let status = claim.status.as_ref()?;
    if status.phase.as_deref() != Some("Pending") {
        return None;
    }
    let (name, uid) = (claim.name_any(), claim.metadata.uid.as_deref()?);
    let events = events_about(client, ensemble, "PersistentVolumeClaim", &name, uid).await;
    let warnings = events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"));
    let newest = warnings.max_by_key(|event| last_seen(event))?;
    Some(format!("its claim {name}: {}", newest.note.as_deref()?))
}

/// What is wrong with a pod that has a member's name and is none, as after its labels were changed by hand. Nothing
/// is, where a StatefulSet of this name made it: it came, or its StatefulSet did, after this look read them. Not to know
/// must not stop the look.
async fn stray_pod(pods: &Api<Pod>, ensemble: &Subject, name: &str) -> Option<String> {
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = match pods.list(&params).await {
        Ok(found) => found.items,
        Err(error) => {
            tracing::debug!(namespace = ensemble.namespace, ensemble = ensemble.name, pod = name, %error, "pod not read");
            return None;
        }
    };
    let pod = found
        .into_iter()
        .find(|pod| pod.name_any() == name && pod.metadata.deletion_timestamp.is_none())?;
    let selector = pod_selector(&ensemble.name);
    let missing: Vec<&str> = selector
        .split(',')
        .filter(|term| {
            let label = term.split_once('=');
            label.is_some_and(|(key, value)| pod.labels().get(key).is_none_or(|is| is != value))
        })
        .collect();
    if missing.is_empty() && is_made_by_set(&pod, &ensemble.name) {
        return None;
    }
    let namespace = &ensemble.namespace;
    Some(if missing.is_empty() {
        format!(
            "a pod {name} is there, but the StatefulSet does not own it: delete it, and the member's own pod is made"
        )
    } else {
        let labels = missing.join(" ");
        format!(
            "a pod {name} is there, but without the label {labels} it is no member: kubectl label pod {name} -n {namespace} {labels} --overwrite"
        )
    })
}

/// Why the StatefulSet controller cannot make this pod, such as a quota, which it tells in Events only. What kept it
/// before it last made the pod has passed.
fn why_no_pod(events: &[Event], pod: &str, now: Timestamp) -> Option<String> {
    let of_pod = format!("Pod {pod} in StatefulSet");
    let is_about = |event: &&Event| {
        event
            .note
            .as_ref()
            .is_some_and(|note| note.contains(&of_pod))
    };
    let has_reason = |event: &Event, reason: &str| event.reason.as_deref() == Some(reason);
    let outcomes = events
        .iter()
        .filter(is_about)
        .filter(|event| has_reason(event, FAILED_CREATE) || has_reason(event, SUCCESSFUL_CREATE));
    let newest =
        outcomes.max_by_key(|event| (last_seen(event), has_reason(event, SUCCESSFUL_CREATE)))?;
    let is_recent = now.duration_since(last_seen(newest)) < EVENT_AGE_MAX;
    let note = newest.note.as_ref()?;
    (is_recent && has_reason(newest, FAILED_CREATE)).then(|| format!("{FAILED_CREATE}: {note}"))
}

/// When Kubernetes last made or repeated this Event.
pub(super) fn last_seen(event: &Event) -> Timestamp {
    let series = event
        .series
        .as_ref()
        .map(|series| series.last_observed_time.0);
    let last = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    let times = [series, last, first];
    times.into_iter().flatten().max().unwrap_or_default()
}

fn failed(what: &'static str, source: kube::Error) -> ReconcileError {
    ReconcileError::Observe {
        what,
        source: Box::new(source),
    }
}

/// The pod has the member's name and was made by this very StatefulSet, not by a former one of the same name.
fn is_member(pod: &Pod, ensemble: &str, ordinal: i32, set_uid: Option<&str>) -> bool {
    member_of_pod(ensemble, &pod.name_any()) == Some(ordinal)
        && set_uid.is_some_and(|uid| is_controlled_by(&pod.metadata, uid))
}

/// A StatefulSet of this name made the pod, be it the one that is there or one that was deleted or is new.
fn is_made_by_set(pod: &Pod, name: &str) -> bool {
    let mut references = pod.metadata.owner_references.iter().flatten();
    references.any(|reference| {
        reference.controller == Some(true)
            && reference.kind == "StatefulSet"
            && reference.name == name
    })
}

fn admin_address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(ip, ADMIN_PORT))
}

/// What came of asking one server.
#[derive(Default)]
struct Asked {
    answer: Option<Answer>,
    /// The server's own words, or what is wrong with its answer.
    said: Option<Said>,
}

enum Said {
    /// It keeps itself out of the ensemble, for this reason.
    OutOfService(String),
    /// It serves nobody and does not reach these servers.
    Unreachable(Vec<String>),
    /// It answers something that the operator cannot use.
    Unusable(String),
}

impl Asked {
    /// In one line for people, and newer than how a former server of the pod ended. A server that has just started
    /// reaches nobody yet, which is no problem, and of a pod that is going nothing is expected.
    fn problem(&self, pod: &Pod, claim: &str, now: Timestamp) -> Option<String> {
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        match self.said.as_ref()? {
            Said::OutOfService(problem) => Some(format!(
                "{OUT_OF_SERVICE}: do not delete {claim}, it may hold the only copy of the data (docs/operator.md, \"A member that keeps itself out\"). The server says: {problem}"
            )),
            Said::Unreachable(servers) => (not_ready_for(pod, now)? > UNREACHABLE_AFTER)
                .then(|| format!("its server does not reach {}", servers.join(", "))),
            Said::Unusable(text) => Some(text.clone()),
        }
    }
}

async fn ask<A: QuorumAdmin>(admin: &A, address: SocketAddr, ensemble: &Subject) -> Asked {
    match admin.ask(address).await {
        Ok(report) => Asked {
            answer: Some(report.answer),
            said: match (report.problem, report.unreachable) {
                (Some(problem), _) => Some(Said::OutOfService(problem)),
                (None, servers) if servers.is_empty() => None,
                (None, servers) => Some(Said::Unreachable(servers)),
            },
        },
        Err(error) => {
            tracing::debug!(namespace = ensemble.namespace, ensemble = ensemble.name, remote = %address, %error, "no answer");
            Asked {
                answer: None,
                said: error.answers().then(|| {
                    Said::Unusable(format!("{error}, so the operator cannot see its role"))
                }),
            }
        }
    }
}

/// What the planner needs to know of a StatefulSet, as far as it says so itself.
pub(super) fn stateful_set_facts(set: &StatefulSet, now: Timestamp) -> StatefulSetFacts {
    let status = set.status.as_ref();
    let update_revision = status
        .and_then(|status| status.update_revision.clone())
        .unwrap_or_default();
    StatefulSetFacts {
        uid: set.uid().unwrap_or_default(),
        observed_generation: status
            .and_then(|status| status.observed_generation)
            .unwrap_or(0),
        current_revision: status
            .and_then(|status| status.current_revision.clone())
            .unwrap_or_default(),
        current_is_proven: false,
        recreation: recreation(set),
        released: released(set, &update_revision, now),
        update_revision,
        image: image(set).unwrap_or_default(),
    }
}

fn image(set: &StatefulSet) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

/// `RollingUpdate` is only ever set with a partition that keeps the StatefulSet controller from restarting pods.
fn recreation(set: &StatefulSet) -> Recreation {
    let strategy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref());
    match strategy.and_then(|strategy| strategy.type_.as_deref()) {
        Some(ON_DELETE) => Recreation::Wanted,
        Some(_) | None => Recreation::Proven,
    }
}

/// When pods were let in on this revision. A note that does not say for which generation is an older operator's
/// and counts as none.
fn released(set: &StatefulSet, update_revision: &str, now: Timestamp) -> Option<Release> {
    let note = set.annotations().get(RELEASED_ANNOTATION)?;
    let mut parts = note.split(' ');
    let (revision, time, generation) = (parts.next()?, parts.next()?, parts.next()?);
    let since: Timestamp = time.parse().ok()?;
    let generation = generation.parse().ok()?;
    let ago = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (revision == update_revision).then_some(Release { ago, generation })
}

/// A server that has run for less may not have reached the others yet.
const UNREACHABLE_AFTER: SignedDuration = SignedDuration::from_secs(30);
const FAILED_CREATE: &str = "FailedCreate";
const SUCCESSFUL_CREATE: &str = "SuccessfulCreate";
/// The StatefulSet controller repeats an Event instead of making many, a few for each member.
const EVENTS_MAX: u32 = 200;
/// It tries again within this time, and an older Event speaks of something that has passed.
pub(super) const EVENT_AGE_MAX: SignedDuration = SignedDuration::from_mins(20);
