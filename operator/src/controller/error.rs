//! Errors of a reconcile, one variant per stage.

use std::error::Error as _;

use crate::status::DELETING;
use crate::validated::ValidationError;

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The stored object does not have the shape that this operator knows.
    #[error("the object cannot be read: {0}")]
    Undecodable(String),
    /// The spec breaks a rule.
    #[error("the spec is invalid")]
    Invalid(#[from] ValidationError),
    /// The object itself could not be fetched.
    #[error("fetching the ensemble")]
    Fetch(#[source] Box<kube::Error>),
    /// Objects of these names exist and belong to somebody else.
    #[error(
        "nothing is applied, because objects of these names are there and are not this ensemble's: {objects}. Delete or rename them, or give the ensemble another name{how}"
    )]
    NameTaken {
        /// Which, and whose.
        objects: String,
        /// How to delete one without what hangs on it; empty if nothing does.
        how: String,
    },
    /// Volumes are there over which the ensemble must not be made.
    #[error("nothing is applied: {0}")]
    VolumesUnfit(String),
    /// Objects of a deleted ensemble of the same name have not been removed yet.
    #[error("waiting until the objects of the deleted ensemble of this name are removed: {0}")]
    FormerEnsemble(String),
    /// The ensemble is being deleted, and finalizers keep it.
    #[error(
        "the ensemble is being deleted, so nothing is applied; its finalizers keep it: {finalizers}{what_to_do}"
    )]
    Deleting {
        /// Their names.
        finalizers: String,
        /// It was to be gone a while ago.
        is_stuck: bool,
        /// What people can do, or nothing.
        what_to_do: &'static str,
    },
    /// The API server refused or did not take an object of the ensemble.
    #[error("applying the {kind}")]
    Apply {
        /// Kind of the object.
        kind: &'static str,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The StatefulSet or the pods could not be read.
    #[error("observing the {what}")]
    Observe {
        /// What was being read.
        what: &'static str,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The chosen pod could not be deleted.
    #[error("restarting {pod}")]
    Act {
        /// Pod name.
        pod: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The StatefulSet could not be told which revision new pods get.
    #[error("changing the update strategy of the StatefulSet")]
    Strategy(#[source] Box<kube::Error>),
    /// ConfigMaps that no pod uses any more could not be listed or deleted.
    #[error("removing old ConfigMaps")]
    Collect(#[source] Box<kube::Error>),
    /// The status could not be written.
    #[error("writing the status")]
    Status(#[source] Box<kube::Error>),
    /// The definition of the resource in the cluster is of an older operator.
    #[error(
        "the status cannot be written, because the CustomResourceDefinition zookeeperensembles.quorate.dev in this cluster is older than the operator. Apply the one that belongs to it: kubectl apply --server-side --force-conflicts -f deploy/crd.yaml (helm upgrade leaves it as it is). The API server says: {0}"
    )]
    OldDefinition(String),
    /// The whole took longer than a look may.
    #[error("the look did not end within {0} s")]
    Deadline(u64),
}

impl ReconcileError {
    /// Short constant for the condition, the Event and the metric.
    pub fn reason(&self) -> &'static str {
        if self.namespace_terminates() {
            return "NamespaceTerminating";
        }
        match self {
            Self::Undecodable(_) => "ObjectUndecodable",
            Self::Invalid(_) => "SpecInvalid",
            Self::Fetch(_) => "FetchFailed",
            Self::NameTaken { .. } => "NameTaken",
            Self::VolumesUnfit(_) => "VolumesUnfit",
            Self::FormerEnsemble(_) => "FormerEnsemble",
            Self::Deleting { .. } => DELETING,
            Self::Apply { .. } => "ApplyFailed",
            Self::Observe { .. } => "ObserveFailed",
            Self::Act { .. } => "RestartFailed",
            Self::Strategy(_) => "StrategyFailed",
            Self::Collect(_) => "CollectFailed",
            Self::Status(_) => "StatusFailed",
            Self::OldDefinition(_) => "DefinitionTooOld",
            Self::Deadline(_) => "DeadlineExceeded",
        }
    }

    /// Trying again is pointless until somebody changes the object.
    pub fn spec_is_wrong(&self) -> bool {
        matches!(self, Self::Undecodable(_) | Self::Invalid(_))
    }

    /// The look ended before the members were seen.
    pub fn saw_nothing(&self) -> bool {
        matches!(
            self,
            Self::Fetch(_) | Self::Observe { .. } | Self::Deadline(_)
        )
    }

    /// It passes by itself within seconds, so nobody needs to be warned.
    pub fn passes_by_itself(&self) -> bool {
        let is_brief = matches!(
            self,
            Self::FormerEnsemble(_)
                | Self::Deleting {
                    is_stuck: false,
                    ..
                }
        );
        is_brief || self.namespace_terminates()
    }

    /// The namespace is being deleted, so that nothing can be made in it; the ensemble goes soon as well.
    pub fn namespace_terminates(&self) -> bool {
        self.source_error().is_some_and(is_namespace_terminating)
    }

    fn source_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Undecodable(_)
            | Self::Invalid(_)
            | Self::NameTaken { .. }
            | Self::VolumesUnfit(_)
            | Self::FormerEnsemble(_)
            | Self::Deleting { .. }
            | Self::OldDefinition(_)
            | Self::Deadline(_) => None,
            Self::Fetch(source)
            | Self::Apply { source, .. }
            | Self::Observe { source, .. }
            | Self::Act { source, .. }
            | Self::Strategy(source)
            | Self::Collect(source)
            | Self::Status(source) => Some(source),
        }
    }

    /// The API server did not answer at all, so the next attempt need not spare it.
    pub fn got_no_answer(&self) -> bool {
        match self.source_error() {
            Some(source) => !matches!(source, kube::Error::Api(_)),
            None => matches!(self, Self::Deadline(_)),
        }
    }

    /// The error and its cause in one line.
    pub fn chain(&self) -> String {
        match self.source_text() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    fn source_text(&self) -> Option<String> {
        if let Self::Invalid(error) = self {
            return Some(error.to_string());
        }
        let source = self.source_error()?;
        let is_of_object = matches!(self, Self::Apply { .. });
        let field = is_of_object.then(|| spec_field(source)).flatten();
        Some(match field {
            Some(field) => format!("{field}: {}", text(source)),
            None => text(source),
        })
    }
}

/// How the API server refuses whatever would be made in a namespace that is being deleted.
pub(super) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(refusal) = error else {
        return false;
    };
    let details = refusal.details.as_ref();
    details.is_some_and(|details| {
        let mut causes = details.causes.iter();
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    })
}

/// The field of an ensemble's spec from which the refused field of an object was made.
fn spec_field(error: &kube::Error) -> Option<&'static str> {
    let kube::Error::Api(refusal) = error else {
        return None;
    };
    let causes = &refusal.details.as_ref()?.causes;
    causes.iter().find_map(|cause| {
        let mut made_from = MADE_FROM.iter();
        let found = made_from.find(|(part, _)| cause.field.contains(part))?;
        Some(found.1)
    })
}

/// Part of the path of a field in an object, and the field of the spec that it is made from.
const MADE_FROM: [(&str, &str); 11] = [
    (".resources", "spec.resources"),
    (".affinity", "spec.affinity"),
    (".tolerations", "spec.tolerations"),
    (".nodeSelector", "spec.nodeSelector"),
    (".imagePullSecrets", "spec.imagePullSecrets"),
    (".image", "spec.image"),
    (".annotations", "spec.podAnnotations"),
    (".labels", "spec.podLabels"),
    ("volumeClaimTemplates", "spec.storage"),
    ("spec.ingress[1]", "spec.networkPolicy.clients"),
    ("spec.ingress[2]", "spec.networkPolicy.monitoring"),
];

/// The refusal in the API server's own words, without the dump of the whole answer; of other errors every cause.
pub(super) fn text(error: &kube::Error) -> String {
    if let kube::Error::Api(refusal) = error {
        return refusal.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_object_names_the_field_of_the_spec_that_it_was_made_from() {
        let refusal = json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "StatefulSet.apps \"zk\" is invalid: spec.template.spec.containers[0].resources.requests: Invalid value",
            "details": { "causes": [{
                "reason": "FieldValueInvalid", "message": "Invalid value",
                "field": "spec.template.spec.containers[0].resources.requests",
            }] },
        });
        let error = ReconcileError::Apply {
            kind: "StatefulSet",
            source: Box::new(kube::Error::Api(serde_json::from_value(refusal).unwrap())),
        };
        let text = error.chain();
        assert!(
            text.starts_with("applying the StatefulSet: spec.resources: StatefulSet.apps"),
            "{text}"
        );
    }
}
