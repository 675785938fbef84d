//! Files outside this crate that must say what the code says. `UPDATE=1` rewrites those that are generated.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
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

/// The one object of this kind in a rendered file.
fn of_kind(path: &str, kind: &str) -> Value {
    let found = documents(path)
        .into_iter()
        .filter(|object| object["kind"] == kind);
    let [object] = <[Value; 1]>::try_from(found.collect::<Vec<_>>())
        .unwrap_or_else(|found| panic!("{path} has {} of kind {kind}", found.len()));
    object
}

#[test]
fn nobody_reaches_the_pod_of_the_operator_unless_the_chart_is_told_so() {
    let ingress = |path: &str| {
        let policy = &of_kind(path, "NetworkPolicy")["spec"];
        let deployment = &of_kind(path, "Deployment")["spec"];
        assert_eq!(policy["podSelector"], deployment["selector"]);
        assert_eq!(policy["policyTypes"], json!(["Ingress"]));
        policy["ingress"].clone()
    };
    assert_eq!(ingress("deploy/operator.yaml"), json!([]));
    let monitoring = json!({ "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } });
    assert_eq!(
        ingress(DIGESTS),
        json!([{
            "from": [{ "namespaceSelector": monitoring }],
            "ports": [{ "protocol": "TCP", "port": "metrics" }],
        }])
    );
    let container = &of_kind(DIGESTS, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["name"], "metrics");
    let kinds = documents(ONE_NAMESPACE);
    let turned_off = kinds.iter().all(|object| object["kind"] != "NetworkPolicy");
    assert!(turned_off);
}

/// The images of the operator and of servers.
fn images(path: &str) -> [String; 2] {
    let container = &of_kind(path, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    [
        text(&container["image"]),
        text(&variable(container, "QUORATE_IMAGE")),
    ]
}

fn variable(container: &Value, name: &str) -> Value {
    let mut variables = container["env"].as_array().unwrap().iter();
    let variable = variables.find(|variable| variable["name"] == name).unwrap();
    variable["value"].clone()
}

#[test]
fn an_image_is_named_by_its_digest_if_it_has_one_and_else_by_its_tag() {
    let version = env!("CARGO_PKG_VERSION");
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    assert_eq!(
        images("deploy/operator.yaml"),
        [
            format!("quorate/quorate-operator:{version}"),
            format!("quorate/quorate:{version}"),
        ]
    );
    assert_eq!(
        images(DIGESTS),
        [
            format!("registry.example/zk/quorate-operator@{}", digest("1")),
            format!("mirror.example/quorate@{}", digest("2")),
        ]
    );
    assert_eq!(
        images(ONE_NAMESPACE),
        [
            "quorate/quorate-operator:9.9.9".to_owned(),
            format!("quorate/quorate:{version}"),
        ]
    );
}

#[test]
fn with_a_namespace_the_operator_watches_it_alone_and_has_rights_there_alone() {
    let watched = |path: &str| {
        let container = &of_kind(path, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        variable(container, "WATCH_NAMESPACE")
    };
    assert_eq!(watched("deploy/operator.yaml"), "");
    assert_eq!(watched(ONE_NAMESPACE), "shop");
    let objects = documents(ONE_NAMESPACE);
    let clusterwide = objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap();
        kind.starts_with("Cluster") || object["metadata"]["namespace"].is_null()
    });
    assert_eq!(clusterwide.count(), 0);
    let role = of_kind(ONE_NAMESPACE, "Role");
    let binding = of_kind(ONE_NAMESPACE, "RoleBinding");
    for object in [&role, &binding] {
        assert_eq!(object["metadata"]["namespace"], "shop");
    }
    assert_eq!(granted(&role["rules"]), declared());
    assert_eq!(binding["roleRef"]["kind"], "Role");
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = of_kind(ONE_NAMESPACE, "ServiceAccount");
    let subject = &binding["subjects"][0];
    assert_eq!(subject["name"], account["metadata"]["name"]);
    assert_eq!(subject["namespace"], account["metadata"]["namespace"]);
    assert_eq!(subject["namespace"], "quorate-system");
}

/// What the chart makes of other values.
const DIGESTS: &str = "operator/testdata/chart/digests.yaml";
const ONE_NAMESPACE: &str = "operator/testdata/chart/one-namespace.yaml";

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
