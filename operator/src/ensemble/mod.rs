//! What an ensemble looks like and what to do next: values in, values out, no client and no clock.

pub mod health;
mod observation;
mod plan;
mod restart;
pub mod rollout;
mod zxid;

pub use observation::{
    Answer, ClaimRisk, Member, NOT_READY_FOR_LONG, OUT_OF_SERVICE, Observation, PodFacts,
    Recreation, Release, Role, STUCK_TERMINATING, StatefulSetFacts,
};
pub use plan::{Desired, RestartReason, Step, Target, UNHEARD_CAUSE, WaitReason, next_step};
pub use zxid::{ParseZxidError, Zxid};
