//! Makes a scenario that shows a difference as short as it goes.

use crate::step::{Action, Op, Scenario, Step};

/// Leaves out steps, then requests of bursts and multis, as long as `differs` stays true.
///
/// # Errors
/// Those of `differs`.
pub(crate) fn shrink<E>(
    scenario: &Scenario,
    mut differs: impl FnMut(&Scenario) -> Result<bool, E>,
) -> Result<Scenario, E> {
    let mut best = scenario.clone();
    let mut tries = TRIES_MAX;
    let mut length = best.steps.len();
    while length > 0 && tries > 0 {
        let mut shorter = false;
        let mut at = best.steps.len();
        while at > 0 && tries > 0 {
            let from = at.saturating_sub(length);
            let mut candidate = best.clone();
            candidate.steps.drain(from..at.min(best.steps.len()));
            tries -= 1;
            if differs(&candidate)? {
                best = candidate;
                shorter = true;
            }
            at = from;
        }
        if length > 1 {
            length /= 2;
        } else if !shorter {
            break;
        }
    }
    for at in 0..best.steps.len() {
        let mut inner = 0;
        while let Some(step) = without(&best.steps[at], inner)
            && tries > 0
        {
            let mut candidate = best.clone();
            candidate.steps[at] = step;
            tries -= 1;
            if differs(&candidate)? {
                best = candidate;
            } else {
                inner += 1;
            }
        }
    }
    Ok(best)
}

/// The step without the `inner`th request, if it has more than one.
fn without(step: &Step, inner: usize) -> Option<Step> {
    let Action::Do(ops) = &step.action else {
        return None;
    };
    let mut ops = ops.clone();
    if ops.len() > 1 {
        (inner < ops.len()).then(|| ops.remove(inner))?;
    } else {
        let (Op::Multi(parts) | Op::MultiRead(parts)) = ops.first_mut()? else {
            return None;
        };
        (inner < parts.len()).then(|| parts.remove(inner))?;
    }
    Some(Step {
        on: step.on,
        action: Action::Do(ops),
    })
}

/// Each try runs the scenario on both systems.
const TRIES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let text = r#"{"on":0,"drop":{}}
{"on":1,"do":[{"ping":{}},{"sync":{"path":"/a"}},{"ping":{}}]}
{"on":2,"drop":{}}
{"on":1,"do":[{"multi":[{"delete":{"path":"/x"}},{"delete":{"path":"/y"}}]}]}"#;
        let scenario = Scenario::parse("it", text).unwrap();
        let differs = |candidate: &Scenario| -> Result<bool, ()> {
            let text: String = candidate.steps.iter().map(Step::text).collect();
            Ok(text.contains("sync") && text.contains("/y"))
        };
        let short = shrink(&scenario, differs).unwrap();
        let lines: Vec<_> = short.steps.iter().map(Step::text).collect();
        assert_eq!(
            lines,
            [
                r#"{"on":1,"do":[{"sync":{"path":"/a"}}]}"#,
                r#"{"on":1,"do":[{"multi":[{"delete":{"path":"/y"}}]}]}"#
            ]
        );
    }
}
