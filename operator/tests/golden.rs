//! The objects built from each sample ensemble, as YAML. `INSTA_UPDATE=always` rewrites them.

use zk_operator::resources::{Resources, build};
use zk_operator::validated::ValidatedEnsemble;
use zk_operator_api::ZookeeperEnsemble;

fn built(sample: &str) -> String {
    let path = format!(
        "{}/testdata/ensembles/{sample}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let ensemble: ZookeeperEnsemble = serde_saphyr::from_str(&text).unwrap();
    let mut valid = ValidatedEnsemble::new(&ensemble, "quorate/quorate:test").unwrap();
    valid.operator_namespace = Some("quorate-system".to_owned());
    let Resources {
        service_account,
        config_map,
        headless_service,
        client_service,
        network_policy,
        disruption_budget,
        stateful_set,
    } = build(&valid);
    [
        serde_saphyr::to_string(&service_account),
        serde_saphyr::to_string(&config_map),
        serde_saphyr::to_string(&headless_service),
        serde_saphyr::to_string(&client_service),
        serde_saphyr::to_string(&network_policy),
        serde_saphyr::to_string(&disruption_budget),
        serde_saphyr::to_string(&stateful_set),
    ]
    .map(Result::unwrap)
    .join("---\n")
}

#[test]
fn a_minimal_ensemble_gets_every_object_with_defaults() {
    insta::assert_snapshot!(built("minimal"));
}

#[test]
fn every_field_of_the_spec_reaches_the_objects() {
    insta::assert_snapshot!(built("full"));
}
