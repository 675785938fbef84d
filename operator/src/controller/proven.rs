//! The revision that is known to work, and the configuration that its pods need.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use zk_operator_api::{ProvenConfiguration, ProvenRevision};

use crate::ensemble::{Desired, Observation, rollout};

/// The revision that is known to work now, if the observation shows it. `template` is that of the StatefulSet, and
/// `wanted` the configuration that was applied; `known` is what the status says so far.
pub(super) fn proven_revision(
    desired: &Desired,
    observation: &Observation,
    template: Value,
    wanted: &ConfigMap,
    known: Option<&ProvenRevision>,
) -> Option<ProvenRevision> {
    let set = observation.stateful_set.as_ref()?;
    rollout::is_settled(desired, observation).then(|| ProvenRevision {
        name: set.update_revision.clone(),
        configuration: configuration(&template, wanted, known),
        template,
    })
}

/// The configuration of pods that are made from `template`; absent if it is not at hand or too long to be kept.
fn configuration(
    template: &Value,
    wanted: &ConfigMap,
    known: Option<&ProvenRevision>,
) -> Option<ProvenConfiguration> {
    let names = config_maps(template);
    let [name] = names.as_slice() else {
        return None;
    };
    if wanted.metadata.name.as_deref() == Some(name) {
        let data = wanted.data.clone().unwrap_or_default();
        let length: usize = data.iter().map(|(key, text)| key.len() + text.len()).sum();
        return (length <= CONFIGURATION_BYTES_MAX).then(|| ProvenConfiguration {
            name: (*name).to_owned(),
            data,
        });
    }
    let kept = known.and_then(|known| known.configuration.clone());
    kept.filter(|kept| kept.name == *name)
}

/// Names of the ConfigMaps that pods need which are made from `template`.
pub(super) fn config_maps(template: &Value) -> Vec<&str> {
    let volumes = template["spec"]["volumes"].as_array();
    let names = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["configMap"]["name"].as_str());
    names.collect()
}

/// An object of Kubernetes may have 1.5 MiB. All that a spec may say of the configuration is a sixth of that at most.
const CONFIGURATION_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_kept_if_it_is_the_templates_and_not_too_long() {
        let template = json!({ "spec": { "volumes": [
            { "name": "config", "configMap": { "name": "zk-config-1" } }, { "name": "data" },
        ] } });
        let config_map = |name: &str, length: usize| -> ConfigMap {
            let data = json!({ "zoo.cfg": "x".repeat(length) });
            serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).unwrap()
        };
        let now = configuration(&template, &config_map("zk-config-1", 3), None).unwrap();
        assert_eq!(
            (now.name.as_str(), &*now.data["zoo.cfg"]),
            ("zk-config-1", "xxx")
        );
        let long = config_map("zk-config-1", CONFIGURATION_BYTES_MAX);
        assert_eq!(configuration(&template, &long, None), None);
        let other = config_map("zk-config-2", 3);
        assert_eq!(configuration(&template, &other, None), None);
        let known = ProvenRevision {
            name: "zk-a".to_owned(),
            template: template.clone(),
            configuration: Some(now.clone()),
        };
        assert_eq!(configuration(&template, &other, Some(&known)), Some(now));
    }
}
