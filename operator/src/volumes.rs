//! Volumes that are there before their ensemble is: which of them it may take over, and what to do about others.
//!
//! A claim says on itself what it belongs to. An ensemble is made over none at all, or over the complete volumes of
//! one former ensemble of the same name and number of members: a quorum of empty volumes beside old ones would
//! drop what the old ones hold.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::ensemble::health::majority;
use crate::quantity::amount;
use crate::resources::claim_name;
use crate::validated::ValidatedEnsemble;

/// What is known of one PersistentVolumeClaim whose name is that of a member's.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimFacts {
    /// Number of the pod that would mount it.
    pub ordinal: i32,
    /// Uid of the ensemble that it was made for or used by last, absent if no ensemble ever had it.
    pub ensemble: Option<String>,
    /// Number of members that this ensemble had.
    pub voters: Option<i32>,
    /// Storage class.
    pub class: Option<String>,
    /// Requested capacity.
    pub size: String,
    /// It has a volume, and so may hold data.
    pub bound: bool,
}

/// Why an ensemble cannot be made over the claims that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They were never an ensemble's.
    Foreign(String),
    /// They are an ensemble's, but not the complete and fitting ones.
    Unfit(String),
}

/// Says whether `ensemble` may be made over `claims`.
pub fn check(ensemble: &ValidatedEnsemble, claims: &[ClaimFacts]) -> Result<(), Refusal> {
    let name = |claim: &ClaimFacts| claim_name(&ensemble.name, claim.ordinal);
    let foreign: Vec<String> = claims
        .iter()
        .filter(|claim| claim.ensemble.is_none())
        .map(name)
        .collect();
    if foreign.len() == claims.len() && !foreign.is_empty() {
        return Err(Refusal::Foreign(foreign.join(", ")));
    }
    if !foreign.is_empty() {
        return Err(Refusal::Unfit(without_record(claims, &foreign)));
    }
    for claim in claims {
        check_storage(ensemble, claim)?;
    }
    let former: BTreeSet<&str> = claims
        .iter()
        .filter_map(|claim| claim.ensemble.as_deref())
        .collect();
    // Claims of this very ensemble, whose StatefulSet was deleted by hand, perhaps while they were being made.
    if former.iter().all(|uid| *uid == ensemble.owner.uid) {
        return Ok(());
    }
    let wanted: BTreeSet<i32> = (0..ensemble.replicas).collect();
    let found: BTreeSet<i32> = claims.iter().map(|claim| claim.ordinal).collect();
    let same_voters = claims
        .iter()
        .all(|claim| claim.voters == Some(ensemble.replicas));
    if same_voters && former.len() == 1 && found == wanted {
        return Ok(());
    }
    let missing: Vec<String> = wanted
        .difference(&found)
        .map(|ordinal| claim_name(&ensemble.name, *ordinal))
        .collect();
    let is_majority = found.len() >= majority(wanted.len());
    Err(Refusal::Unfit(match former.first() {
        Some(uid)
            if same_voters && former.len() == 1 && found.is_subset(&wanted) && is_majority =>
        {
            some_are_missing(ensemble, claims, &missing, uid)
        }
        Some(_) | None => difference(ensemble, claims, former.len()),
    }))
}

/// What to do if a majority of the volumes of a former ensemble is there, and the others are not.
fn some_are_missing(
    ensemble: &ValidatedEnsemble,
    claims: &[ClaimFacts],
    missing: &[String],
    uid: &str,
) -> String {
    let (name, replicas) = (&ensemble.name, ensemble.replicas);
    let found: Vec<String> = claims
        .iter()
        .map(|claim| claim_name(name, claim.ordinal))
        .collect();
    format!(
        "of the volumes of a former ensemble of {replicas}, {} are there and {} are not. Delete none: these may hold everything. Bring the missing volumes back under their claims. If they are lost, follow \"Some of the volumes are lost\" in docs/operator.md: make each missing claim by hand, with the annotations quorate.dev/ensemble-uid: {uid} and quorate.dev/voters: \"{replicas}\", and let the members with data start before those without",
        found.join(", "),
        missing.join(", "),
    )
}

/// What to do about claims that say nothing of an ensemble, beside others that do.
fn without_record(claims: &[ClaimFacts], foreign: &[String]) -> String {
    let recorded = claims.iter().find_map(|claim| {
        let (uid, voters) = (claim.ensemble.as_ref()?, claim.voters?);
        Some(format!(
            " quorate.dev/ensemble-uid={uid} quorate.dev/voters={voters}"
        ))
    });
    format!(
        "{} was made by hand: it lacks the annotations that say which ensemble it belongs to, and the claims beside it have them. If it is to replace a lost one of theirs, follow \"Some of the volumes are lost\" in docs/operator.md, and then run: kubectl annotate pvc {}{}",
        foreign.join(", "),
        foreign.join(" "),
        recorded.unwrap_or_default(),
    )
}

fn check_storage(ensemble: &ValidatedEnsemble, claim: &ClaimFacts) -> Result<(), Refusal> {
    let name = claim_name(&ensemble.name, claim.ordinal);
    let wanted = &ensemble.storage;
    let other_class = wanted
        .storage_class_name
        .as_ref()
        .is_some_and(|class| claim.class.as_ref() != Some(class));
    let smaller = match (amount(&claim.size), amount(&wanted.size.0)) {
        (Some(found), Some(wanted)) => found < wanted,
        (_, None) | (None, _) => false,
    };
    if !other_class && !smaller {
        return Ok(());
    }
    let mut text = format!(
        "{name} is there with {} of storage class {}, but the spec asks for {} of storage class {}",
        claim.size,
        claim.class.as_deref().unwrap_or("(none)"),
        wanted.size.0,
        wanted.storage_class_name.as_deref().unwrap_or("(any)"),
    );
    text.push_str(if claim.bound {
        ". If its data is of no use any more, delete it; otherwise ask for the storage that is there"
    } else {
        ". It never had a volume and holds no data: delete it"
    });
    Err(Refusal::Unfit(text))
}

/// What is there, and what to do.
fn difference(ensemble: &ValidatedEnsemble, claims: &[ClaimFacts], former: usize) -> String {
    let mut text = String::from("volumes of a former ensemble of this name are there: ");
    let listed: Vec<String> = claims
        .iter()
        .map(|claim| {
            let voters = claim.voters.map_or_else(
                || "an unknown number of members".to_owned(),
                |voters| format!("{voters} members"),
            );
            format!(
                "{} (of {voters})",
                claim_name(&ensemble.name, claim.ordinal)
            )
        })
        .collect();
    text.push_str(&listed.join(", "));
    let replicas = ensemble.replicas;
    write!(
        text,
        ". An ensemble of {replicas} needs none of them, or all {replicas} of one ensemble of {replicas}; with others it could lose what they hold. {}. Delete none of these claims before you know that their data is of no use any more or is kept elsewhere: they may be the only copy",
        way_out(ensemble, claims, former),
    )
    .expect("writing to a String cannot fail");
    text
}

/// What a person can do to use what the claims hold.
fn way_out(ensemble: &ValidatedEnsemble, claims: &[ClaimFacts], former: usize) -> String {
    let replicas = ensemble.replicas;
    if former > 1 {
        return format!(
            "They come from {former} different ensembles: only the claims of one of them can be used, with the others out of the way"
        );
    }
    let numbers: BTreeSet<Option<i32>> = claims.iter().map(|claim| claim.voters).collect();
    let former_replicas = match (numbers.len(), numbers.first()) {
        (1, Some(Some(voters))) => *voters,
        (_, Some(_) | None) => {
            return "They do not agree on the number of members that the former ensemble had: see to their annotations quorate.dev/voters".to_owned();
        }
    };
    let name = |ordinal: i32| claim_name(&ensemble.name, ordinal);
    let found: BTreeSet<i32> = claims.iter().map(|claim| claim.ordinal).collect();
    let excess: Vec<String> = found
        .iter()
        .filter(|ordinal| **ordinal >= former_replicas)
        .map(|ordinal| name(*ordinal))
        .collect();
    if !excess.is_empty() {
        return format!(
            "No member of an ensemble of {former_replicas} has {}: find out where they come from",
            excess.join(", ")
        );
    }
    let missing: Vec<String> = (0..former_replicas)
        .filter(|ordinal| !found.contains(ordinal))
        .map(name)
        .collect();
    let mut text = String::new();
    if former_replicas != replicas {
        write!(
            text,
            "Create the ensemble with the former number of members, spec.replicas: {former_replicas}"
        )
        .expect("writing to a String cannot fail");
    }
    if !missing.is_empty() {
        let start = if text.is_empty() {
            "Bring"
        } else {
            ", and bring"
        };
        write!(
            text,
            "{start} the missing volumes back under their claims: {}. If they are lost, see \"Some of the volumes are lost\" in docs/operator.md: without a majority of the volumes, writes that were acknowledged may be missing",
            missing.join(", "),
        )
        .expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;
    use crate::testing::sample;

    fn ensemble(replicas: i32) -> ValidatedEnsemble {
        ValidatedEnsemble::new(&sample("zk", replicas), "image").unwrap()
    }

    fn claim(ordinal: i32, uid: &str, voters: i32) -> ClaimFacts {
        ClaimFacts {
            ordinal,
            ensemble: Some(uid.to_owned()),
            voters: Some(voters),
            class: Some("standard".to_owned()),
            size: "1Gi".to_owned(),
            bound: true,
        }
    }

    fn kept(uid: &str, ordinals: &[i32], voters: i32) -> Vec<ClaimFacts> {
        ordinals
            .iter()
            .map(|ordinal| claim(*ordinal, uid, voters))
            .collect()
    }

    fn unfit(replicas: i32, claims: &[ClaimFacts]) -> String {
        match check(&ensemble(replicas), claims) {
            Err(Refusal::Unfit(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn none_or_all_of_one_former_ensemble_of_this_size_are_taken() {
        assert_eq!(check(&ensemble(3), &[]), Ok(()));
        assert_eq!(check(&ensemble(3), &kept("old", &[0, 1, 2], 3)), Ok(()));
        assert_eq!(check(&ensemble(1), &kept("old", &[0], 1)), Ok(()));
    }

    #[test]
    fn volumes_of_another_size_are_refused_with_what_is_there_and_what_to_do() {
        for (replicas, claims) in [
            (3, kept("old", &[0], 1)),
            (1, kept("old", &[0, 1, 2, 3, 4], 5)),
            (3, kept("old", &[0, 1, 2, 3, 4], 5)),
            (5, kept("old", &[0, 1, 2], 3)),
            (3, kept("old", &[0, 1, 2], 5)),
            (3, kept("old", &[1], 3)),
        ] {
            let text = unfit(replicas, &claims);
            assert!(text.contains(" (of "), "{text}");
            let voters = claims[0].voters.unwrap();
            let way_out = if claims.iter().any(|claim| claim.ordinal >= voters) {
                "find out where they come from".to_owned()
            } else if voters == replicas {
                "Bring the missing volumes back".to_owned()
            } else {
                format!(
                    "Create the ensemble with the former number of members, spec.replicas: {voters}"
                )
            };
            assert!(text.contains(&way_out), "{text}");
            assert!(text.ends_with("they may be the only copy"), "{text}");
        }
    }

    #[test]
    fn the_way_out_fits_what_is_there() {
        let minority = unfit(3, &kept("old", &[1], 3));
        assert!(
            minority.contains(
                "Bring the missing volumes back under their claims: data-zk-0, data-zk-2"
            ),
            "{minority}"
        );
        assert!(
            !minority.contains("former number of members,"),
            "{minority}"
        );
        let of_five = unfit(3, &kept("old", &[0, 1, 2], 5));
        assert!(
            of_five.contains("spec.replicas: 5, and bring the missing volumes back under their claims: data-zk-3, data-zk-4"),
            "{of_five}"
        );
        let complete = unfit(3, &kept("old", &[0, 1, 2, 3, 4], 5));
        assert!(
            complete.contains("spec.replicas: 5. Delete none"),
            "{complete}"
        );
        let excess = unfit(3, &kept("old", &[0, 1, 2, 3], 3));
        assert!(
            excess.contains("No member of an ensemble of 3 has data-zk-3"),
            "{excess}"
        );
        let mut unsure = kept("old", &[0, 1, 2], 3);
        unsure[1].voters = None;
        assert!(unfit(3, &unsure).contains("quorate.dev/voters"));
    }

    #[test]
    fn a_mixture_is_refused() {
        unfit(3, &kept("old", &[0, 1], 3));
        let mut mixed = kept("old", &[0, 1], 3);
        mixed.push(claim(2, "older", 3));
        assert!(unfit(3, &mixed).contains("2 different ensembles"));
    }

    #[test]
    fn claims_of_the_ensemble_itself_are_its_own_although_some_are_missing() {
        let uid = ensemble(3).owner.uid;
        assert_eq!(check(&ensemble(3), &kept(&uid, &[0, 2], 3)), Ok(()));
    }

    #[test]
    fn a_claim_that_was_never_an_ensembles_is_foreign() {
        let mut claims = kept("old", &[1], 3);
        claims[0].ensemble = None;
        assert_eq!(
            check(&ensemble(3), &claims),
            Err(Refusal::Foreign("data-zk-1".to_owned()))
        );
    }

    #[test]
    fn where_one_volume_of_several_is_lost_the_way_that_keeps_the_data_is_named() {
        for (replicas, there, missing) in [
            (3, vec![0, 2], "data-zk-1 are not"),
            (5, vec![0, 1, 4], "data-zk-2, data-zk-3 are not"),
        ] {
            let text = unfit(replicas, &kept("old", &there, replicas));
            for part in [
                missing,
                "Delete none",
                "quorate.dev/ensemble-uid: old",
                &format!("quorate.dev/voters: \"{replicas}\""),
                "Some of the volumes are lost",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("delete these claims"), "{text}");
        }
        // Less than a majority may have missed what was acknowledged.
        let text = unfit(3, &kept("old", &[1], 3));
        assert!(text.contains("acknowledged may be missing"), "{text}");
    }

    #[test]
    fn a_claim_made_by_hand_beside_kept_ones_is_told_which_annotations_it_lacks() {
        let mut claims = kept("old", &[0, 1, 2], 3);
        (claims[1].ensemble, claims[1].voters) = (None, None);
        let text = unfit(3, &claims);
        assert!(
            text.ends_with(
                "kubectl annotate pvc data-zk-1 quorate.dev/ensemble-uid=old quorate.dev/voters=3"
            ),
            "{text}"
        );
        assert!(!text.contains("elete"), "{text}");
    }

    #[test]
    fn smaller_volumes_and_other_classes_are_named() {
        let mut wanted = ensemble(1);
        wanted.storage.size = Quantity("10Gi".to_owned());
        let text = |wanted: &ValidatedEnsemble, claim| match check(wanted, &[claim]) {
            Err(Refusal::Unfit(text)) => text,
            other => panic!("{other:?}"),
        };
        let kept = claim(0, "old", 1);
        assert!(text(&wanted, kept.clone()).contains("data-zk-0 is there with 1Gi"));
        wanted.storage.size = Quantity("1024Mi".to_owned());
        assert_eq!(check(&wanted, std::slice::from_ref(&kept)), Ok(()));
        wanted.storage.storage_class_name = Some("fast".to_owned());
        let pending = ClaimFacts {
            bound: false,
            ..kept
        };
        assert!(text(&wanted, pending).ends_with("holds no data: delete it"));
    }
}
