//! The closed list of condition types that the operator sets.

/// One aspect of an ensemble's state, reported as a Kubernetes condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The spec was understood and every Kubernetes object made from it was accepted.
    Reconciled,
    /// A leader answers and a majority of members serves with it.
    Available,
    /// Every member serves, on the revision that the spec describes.
    Ready,
    /// A rolling restart is under way, or waits; the message says for what.
    Progressing,
}

/// Every type, in the order in which they are listed in a status.
pub const CONDITION_TYPES: [ConditionType; 4] = [
    ConditionType::Reconciled,
    ConditionType::Available,
    ConditionType::Ready,
    ConditionType::Progressing,
];

impl ConditionType {
    /// The spelling used in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconciled => "Reconciled",
            Self::Available => "Available",
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
        }
    }
}
