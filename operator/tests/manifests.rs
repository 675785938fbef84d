//! Files outside this crate that must say what the code says. `UPDATE=1` rewrites those that are generated.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use zk_operator::controller::PERMISSIONS;
use zk_operator_api::{ZookeeperEnsemble, ensemble_crd};

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents(path: &str) -> Vec<Value> {
    let text = read(path);
    let parts = text
        .split("\n---")
        .map(|part| part.trim_start_matches("---"));
    parts
        .filter(|part| {
            part.lines()
                .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
        })
        .map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{path}: {error}")))
        .collect()
}

/// (group, resource, verb), each once.
type Rights = BTreeSet<(String, String, String)>;

fn declared() -> Rights {
    let each = PERMISSIONS.iter().flat_map(|permission| {
        permission
            .verbs
            .iter()
            .map(|verb| (permission.group, permission.resource, *verb))
    });
    each.map(|(group, resource, verb)| (group.to_owned(), resource.to_owned(), verb.to_owned()))
        .collect()
}

fn granted(rules: &Value) -> Rights {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let mut rights = Rights::new();
    for rule in rules.as_array().unwrap() {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

#[test]
fn the_definition_in_the_chart_and_in_deploy_is_the_one_that_the_types_yield() {
    let generated = serde_saphyr::to_string(&ensemble_crd()).unwrap();
    for path in [
        "charts/zookeeper-operator/crds/zookeeperensembles.yaml",
        "deploy/crd.yaml",
    ] {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(repository(path), &generated).unwrap();
        }
        assert!(
            read(path) == generated,
            "{path} is out of date: run this test with UPDATE=1"
        );
    }
}

#[test]
fn deleting_the_manifest_of_the_operator_deletes_no_definition_and_no_ensemble() {
    for object in documents("deploy/operator.yaml") {
        let kind = object["kind"].as_str().unwrap();
        assert!(
            kind != "CustomResourceDefinition" && kind != "ZookeeperEnsemble",
            "{kind} is in deploy/operator.yaml"
        );
    }
}

#[test]
fn nobody_reaches_the_pod_of_the_operator_unless_the_chart_is_told_so() {
    let manifest = documents("deploy/operator.yaml");
    let of_kind = |kind: &str| {
        manifest
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap()
    };
    let policy = &of_kind("NetworkPolicy")["spec"];
    let deployment = &of_kind("Deployment")["spec"];
    assert_eq!(policy["podSelector"], deployment["selector"]);
    assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress"]));
    assert_eq!(policy["ingress"], serde_json::json!([]));
}

#[test]
fn the_chart_grants_exactly_the_rights_that_the_controller_declares() {
    let rules: Value =
        serde_saphyr::from_str(&read("charts/zookeeper-operator/files/rules.yaml")).unwrap();
    assert_eq!(granted(&rules), declared());
    let manifest = documents("deploy/operator.yaml");
    let role = manifest
        .iter()
        .find(|object| object["kind"] == "ClusterRole")
        .unwrap();
    assert_eq!(granted(&role["rules"]), declared());
}

#[test]
fn the_sample_ensemble_is_one_that_the_operator_accepts() {
    let ensemble: ZookeeperEnsemble =
        serde_saphyr::from_str(&read("deploy/ensemble.yaml")).unwrap();
    assert_eq!(ensemble.spec.replicas, 3);
    assert_eq!(ensemble.metadata.name.as_deref(), Some("zk"));
    assert_eq!(ensemble.metadata.namespace.as_deref(), Some("default"));
}
