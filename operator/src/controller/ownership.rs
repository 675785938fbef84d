//! Whose an object is. The operator writes to, and deletes, only what belongs to the ensemble at hand.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Whose an object is, seen from one ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The ensemble controls it.
    Ours,
    /// An ensemble of the same name that has been deleted controls it: the garbage collector will remove it.
    Former,
    /// It is somebody else's; the text says whose, for people.
    Foreign(String),
}

/// Compares the controller of an object with `owner`, the reference to the ensemble.
pub(super) fn ownership(object: &ObjectMeta, owner: &OwnerReference) -> Ownership {
    let controller = object
        .owner_references
        .iter()
        .flatten()
        .find(|reference| reference.controller == Some(true));
    match controller {
        Some(found) if found.uid == owner.uid => Ownership::Ours,
        Some(found)
            if (&found.api_version, &found.kind, &found.name)
                == (&owner.api_version, &owner.kind, &owner.name) =>
        {
            Ownership::Former
        }
        Some(found) => Ownership::Foreign(format!("controlled by {} {}", found.kind, found.name)),
        None => Ownership::Foreign("controlled by nobody".to_owned()),
    }
}

/// The controller of the object has this uid.
pub(super) fn is_controlled_by(object: &ObjectMeta, uid: &str) -> bool {
    let mut references = object.owner_references.iter().flatten();
    references.any(|reference| reference.controller == Some(true) && reference.uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(kind: &str, name: &str, uid: &str, controller: Option<bool>) -> OwnerReference {
        OwnerReference {
            api_version: "quorate.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller,
            block_owner_deletion: None,
        }
    }

    fn seen(references: Vec<OwnerReference>) -> Ownership {
        let object = ObjectMeta {
            owner_references: Some(references),
            ..ObjectMeta::default()
        };
        ownership(
            &object,
            &reference("ZookeeperEnsemble", "zk", "one", Some(true)),
        )
    }

    #[test]
    fn only_the_controller_with_this_uid_makes_an_object_ours() {
        let ensemble =
            |uid: &str, controller| reference("ZookeeperEnsemble", "zk", uid, controller);
        assert_eq!(seen(vec![ensemble("one", Some(true))]), Ownership::Ours);
        assert_eq!(seen(vec![ensemble("two", Some(true))]), Ownership::Former);
        let nobodys = Ownership::Foreign("controlled by nobody".to_owned());
        assert_eq!(seen(Vec::new()), nobodys);
        assert_eq!(seen(vec![ensemble("one", None)]), nobodys);
        assert_eq!(seen(vec![ensemble("one", Some(false))]), nobodys);
    }

    #[test]
    fn another_controller_is_named_although_the_ensemble_is_an_owner_too() {
        let references = vec![
            reference("ZookeeperEnsemble", "zk", "one", None),
            reference("Deployment", "shop", "three", Some(true)),
        ];
        let whose = "controlled by Deployment shop".to_owned();
        assert_eq!(seen(references), Ownership::Foreign(whose));
    }
}
