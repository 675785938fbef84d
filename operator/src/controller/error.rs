//! Errors of a reconcile, one variant per stage.

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
        "nothing is applied, because objects of these names are there and are not this ensemble's: {0}. Delete or rename them, or give the ensemble another name"
    )]
    NameTaken(String),
    /// Objects of a deleted ensemble of the same name have not been removed yet.
    #[error("waiting until the objects of the deleted ensemble of this name are removed: {0}")]
    FormerEnsemble(String),
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
    /// The status could not be written.
    #[error("writing the status")]
    Status(#[source] Box<kube::Error>),
}

impl ReconcileError {
    /// Short constant for the condition, the Event and the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "ObjectUndecodable",
            Self::Invalid(_) => "SpecInvalid",
            Self::Fetch(_) => "FetchFailed",
            Self::NameTaken(_) => "NameTaken",
            Self::FormerEnsemble(_) => "FormerEnsemble",
            Self::Apply { .. } => "ApplyFailed",
            Self::Observe { .. } => "ObserveFailed",
            Self::Act { .. } => "RestartFailed",
            Self::Status(_) => "StatusFailed",
        }
    }

    /// Trying again is pointless until somebody changes the object.
    pub fn spec_is_wrong(&self) -> bool {
        matches!(self, Self::Undecodable(_) | Self::Invalid(_))
    }

    /// It passes by itself within seconds, so nobody needs to be warned.
    pub fn passes_by_itself(&self) -> bool {
        matches!(self, Self::FormerEnsemble(_))
    }

    /// The error and its cause in one line.
    pub fn chain(&self) -> String {
        match self.source_text() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    fn source_text(&self) -> Option<String> {
        match self {
            Self::Undecodable(_) | Self::NameTaken(_) | Self::FormerEnsemble(_) => None,
            Self::Invalid(error) => Some(error.to_string()),
            Self::Fetch(source)
            | Self::Apply { source, .. }
            | Self::Observe { source, .. }
            | Self::Act { source, .. }
            | Self::Status(source) => Some(match source.as_ref() {
                // The refusal in the API server's own words, without the dump of the whole answer.
                kube::Error::Api(refusal) => refusal.message.clone(),
                other => other.to_string(),
            }),
        }
    }
}
