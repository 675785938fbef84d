//! Types of the `ZookeeperEnsemble` custom resource, API `quorate.dev/v1alpha1`.
//!
//! This crate is the whole contract between a user and the operator. It holds no client, no clock and no
//! decision: a field here is either what the user asked for ([`ZookeeperEnsembleSpec`]) or what was observed
//! ([`ZookeeperEnsembleStatus`]). The schema carries no default values, so the API server never writes into a
//! spec something that its author did not.
//!
//! ```
//! use zk_operator_api::ensemble_crd;
//!
//! let crd = ensemble_crd();
//! assert_eq!(crd.metadata.name.as_deref(), Some("zookeeperensembles.quorate.dev"));
//! ```
#![warn(missing_docs)]

mod bounded;
mod condition;
#[allow(
    unreachable_pub,
    reason = "the schema derive writes a private copy of each public type"
)]
mod spec;
#[allow(
    unreachable_pub,
    reason = "the schema derive writes a private copy of each public type"
)]
mod status;

pub use condition::{CONDITION_TYPES, ConditionType};
pub use spec::{
    ComputeResources, NetworkAccess, OPERATOR_OWNED_KEY_PREFIXES, OPERATOR_OWNED_KEYS, PullPolicy,
    ReclaimPolicy, Storage, ZookeeperEnsemble, ZookeeperEnsembleSpec,
};
pub use status::{
    MemberRole, MemberStatus, ProvenConfiguration, ProvenRevision, ZookeeperEnsembleStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The definition that the API server needs before it accepts a `ZookeeperEnsemble`.
///
/// It asks Helm to keep the definition when a release is removed: deleting a definition deletes every object
/// of its kind, and with them every ensemble.
pub fn ensemble_crd() -> CustomResourceDefinition {
    let mut crd = ZookeeperEnsemble::crd();
    crd.metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_in(value: &serde_json::Value, key: &str, path: &str, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (name, child) in map {
                    let child_path = format!("{path}.{name}");
                    if name == key {
                        found.push(child_path.clone());
                    }
                    keys_in(child, key, &child_path, found);
                }
            }
            serde_json::Value::Array(list) => list
                .iter()
                .for_each(|child| keys_in(child, key, path, found)),
            _ => {}
        }
    }

    #[test]
    fn schema_holds_no_default_that_the_api_server_would_write_into_a_spec() {
        let crd = serde_json::to_value(ensemble_crd()).unwrap();
        let mut found = Vec::new();
        keys_in(
            &crd["spec"]["versions"][0]["schema"],
            "default",
            "",
            &mut found,
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_validation_message_is_a_sentence() {
        let crd = serde_json::to_value(ensemble_crd()).unwrap();
        let text = serde_json::to_string(&crd).unwrap();
        let rules = text.matches("\"rule\":").count();
        let messages: Vec<&str> = text
            .split("\"message\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(rules, messages.len(), "a rule without a message");
        assert!(rules >= 8);
        for message in messages {
            assert!(
                message.ends_with('.') && message.contains(' '),
                "not a sentence: {message}"
            );
        }
    }

    /// Paths of what somebody could make as long as the API server takes a whole object.
    fn unbounded(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        let has = |key: &str| !schema[key].is_null();
        let type_ = schema["type"].as_str().unwrap_or_default();
        let is_text = type_ == "string" || has("x-kubernetes-int-or-string");
        let rules = schema["x-kubernetes-validations"].to_string();
        let is_bounded = if is_text {
            has("maxLength") || has("enum")
        } else if type_ == "array" {
            has("maxItems")
        } else if has("additionalProperties") {
            has("maxProperties") && rules.contains("size(k) <= ")
        } else if has("x-kubernetes-preserve-unknown-fields") {
            let choices = schema["anyOf"].as_array().into_iter().flatten();
            has("anyOf") && choices.into_iter().all(|it| !it["maxProperties"].is_null())
        } else {
            ["integer", "boolean", "object"].contains(&type_)
        };
        if !is_bounded {
            found.push(path.to_owned());
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, inner) in properties {
            unbounded(inner, &format!("{path}.{name}"), found);
        }
        for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
            if has(key) {
                unbounded(&schema[key], &format!("{path}{sign}"), found);
            }
        }
    }

    #[test]
    fn no_part_of_a_spec_is_unbounded() {
        let crd = serde_json::to_value(ensemble_crd()).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = Vec::new();
        unbounded(spec, "spec", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_user_must_give_a_size_and_a_volume_and_nothing_else() {
        let crd = serde_json::to_value(ensemble_crd()).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(spec["required"], serde_json::json!(["replicas", "storage"]));
        assert_eq!(
            spec["properties"]["storage"]["required"],
            serde_json::json!(["size"])
        );
    }

    #[test]
    fn columns_show_what_an_operator_of_an_ensemble_asks_first() {
        let crd = ensemble_crd();
        let columns = crd.spec.versions[0]
            .additional_printer_columns
            .clone()
            .unwrap();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "Replicas", "Ready", "Leader", "Epoch", "Status", "Looked", "Image", "Age"
            ]
        );
    }
}
