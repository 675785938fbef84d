//! A `ZookeeperEnsemble` after every check, so that nothing further in checks again.
//!
//! The API server has refused most mistakes by the CEL rules of the definition. What is checked here are the
//! assumptions that the builders rest on, because an object may have been stored under an older definition.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use zk_operator_api::{
    ComputeResources, NetworkAccess, OPERATOR_OWNED_KEY_PREFIXES, OPERATOR_OWNED_KEYS, PullPolicy,
    Storage, ZookeeperEnsemble, ZookeeperEnsembleSpec,
};

use crate::quantity::{amount, whole_mebibytes};
use crate::zoo_cfg_keys::{self, KeyError};

/// What an ensemble shall be, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedEnsemble {
    /// Name of the object, and of its StatefulSet.
    pub name: String,
    /// Namespace of the object and of everything made from it.
    pub namespace: String,
    /// Marks everything made from the object as its property.
    pub owner: OwnerReference,
    /// Generation of the spec.
    pub generation: i64,
    /// Number of members: odd, 1 to 9.
    pub replicas: i32,
    /// Image of the server.
    pub image: String,
    /// When the image is pulled, if the user has a wish.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets with which it is pulled.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// User's keys of zoo.cfg, none of which is the operator's.
    pub config: BTreeMap<String, String>,
    /// Compute resources, empty when not given.
    pub resources: ComputeResources,
    /// Volume of each server.
    pub storage: Storage,
    /// DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// Labels wanted of Kubernetes nodes.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    pub tolerations: Vec<Toleration>,
    /// User's scheduling constraints.
    pub affinity: Option<Affinity>,
    /// Who may reach the pods.
    pub network_policy: NetworkAccess,
    /// Namespace of the operator's own pods, absent where it runs outside the cluster.
    pub operator_namespace: Option<String>,
    /// No pod is to be restarted.
    pub paused: bool,
    /// User's labels of pods.
    pub pod_labels: BTreeMap<String, String>,
    /// User's annotations of pods.
    pub pod_annotations: BTreeMap<String, String>,
}

/// Why an object cannot be turned into an ensemble. Only a change of its spec helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// The API server always fills in this field of the metadata.
    #[error("metadata.{0} is missing")]
    MissingMetadata(&'static str),
    /// Not a size for which a majority is worth its members.
    #[error("spec.replicas is {0}, but must be 1, 3, 5, 7 or 9")]
    Replicas(i32),
    /// Text that is no amount of a compute resource.
    #[error("spec.resources.{path} is {text:?}, but must be an amount such as 512Mi, 2Gi or 500m")]
    Amount {
        /// Field within `spec.resources`.
        path: String,
        /// What stands there.
        text: String,
    },
    /// An amount of memory or disk that Kubernetes would store in thousandths of a byte.
    #[error(
        "spec.resources.{path} is {text:?}, which is no whole number of bytes; {next} is the next amount that is"
    )]
    Fraction {
        /// Field within `spec.resources`.
        path: String,
        /// What stands there.
        text: String,
        /// An amount that is no smaller.
        next: String,
    },
    /// A key that the operator writes itself.
    #[error("spec.config sets {0:?}, which the operator owns")]
    OwnedKey(String),
    /// A key or value that would not survive being written as a line of zoo.cfg.
    #[error("spec.config key {0:?} or its value cannot be written as one line of zoo.cfg")]
    ConfigSyntax(String),
    /// A key that the server does not know, or a value that it does not take.
    #[error("spec.config: {0}")]
    Config(#[from] KeyError),
}

impl ValidatedEnsemble {
    /// Checks `ensemble` and fills in defaults; `default_image` serves those that name none.
    pub fn new(ensemble: &ZookeeperEnsemble, default_image: &str) -> Result<Self, ValidationError> {
        let name = ensemble
            .metadata
            .name
            .clone()
            .ok_or(ValidationError::MissingMetadata("name"))?;
        let namespace = ensemble
            .metadata
            .namespace
            .clone()
            .ok_or(ValidationError::MissingMetadata("namespace"))?;
        let owner = ensemble
            .controller_owner_ref(&())
            .ok_or(ValidationError::MissingMetadata("uid"))?;
        let generation = ensemble
            .metadata
            .generation
            .ok_or(ValidationError::MissingMetadata("generation"))?;
        let ZookeeperEnsembleSpec {
            replicas,
            image,
            image_pull_policy,
            image_pull_secrets,
            config,
            resources,
            storage,
            cluster_domain,
            node_selector,
            tolerations,
            affinity,
            network_policy,
            paused,
            pod_labels,
            pod_annotations,
        } = ensemble.spec.clone();
        if !ENSEMBLE_SIZES.contains(&replicas) {
            return Err(ValidationError::Replicas(replicas));
        }
        check_config(&config)?;
        let resources = resources.unwrap_or_default();
        check_amounts("requests", &resources.requests)?;
        check_amounts("limits", &resources.limits)?;
        Ok(Self {
            name,
            namespace,
            owner,
            generation,
            replicas,
            image: image.unwrap_or_else(|| default_image.to_owned()),
            image_pull_policy,
            image_pull_secrets,
            config,
            resources,
            storage,
            cluster_domain: cluster_domain.unwrap_or_else(|| CLUSTER_DOMAIN_DEFAULT.to_owned()),
            node_selector,
            tolerations,
            affinity,
            network_policy: network_policy.unwrap_or_default(),
            paused: paused.unwrap_or_default(),
            operator_namespace: None,
            pod_labels,
            pod_annotations,
        })
    }
}

impl ValidatedEnsemble {
    /// Names the namespace of the operator's own pods, which must reach the ensemble's.
    #[must_use]
    pub fn reached_from(mut self, operator_namespace: Option<String>) -> Self {
        self.operator_namespace = operator_namespace;
        self
    }
}

/// The API server refuses text that is no amount when it reads the StatefulSet, and does not say in which field it
/// stands. A part of a byte it takes.
fn check_amounts(list: &str, amounts: &BTreeMap<String, Quantity>) -> Result<(), ValidationError> {
    for (name, Quantity(text)) in amounts {
        let path = format!("{list}.{name}");
        let Some(found) = amount(text) else {
            return Err(ValidationError::Amount {
                path,
                text: text.clone(),
            });
        };
        let is_bytes = BYTES.iter().any(|bytes| name.starts_with(bytes));
        if is_bytes && found.fract() != 0.0 {
            return Err(ValidationError::Fraction {
                path,
                text: text.clone(),
                next: whole_mebibytes(found),
            });
        }
    }
    Ok(())
}

fn check_config(config: &BTreeMap<String, String>) -> Result<(), ValidationError> {
    for (key, value) in config {
        let name = zoo_cfg_keys::bare(key);
        let owned = OPERATOR_OWNED_KEYS.contains(&name)
            || OPERATOR_OWNED_KEY_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix));
        if owned {
            return Err(ValidationError::OwnedKey(key.clone()));
        }
        let key_fits = key.starts_with(|c: char| c.is_ascii_alphanumeric())
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !key_fits || value.is_empty() || value.contains(['\n', '\r', '\\']) {
            return Err(ValidationError::ConfigSyntax(key.clone()));
        }
        zoo_cfg_keys::check(key, value)?;
    }
    Ok(())
}

/// Resources that are counted in bytes; the name of a huge page ends in its size.
const BYTES: [&str; 3] = ["memory", "ephemeral-storage", "hugepages-"];
const ENSEMBLE_SIZES: [i32; 5] = [1, 3, 5, 7, 9];
const CLUSTER_DOMAIN_DEFAULT: &str = "cluster.local";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn defaults_are_filled_in_here_and_not_in_the_spec() {
        let ensemble = sample("zk", 3);
        let valid = ValidatedEnsemble::new(&ensemble, "quorate/quorate:dev").unwrap();
        assert_eq!(valid.image, "quorate/quorate:dev");
        assert_eq!(valid.cluster_domain, "cluster.local");
        assert_eq!(ensemble.spec.image, None);
    }

    #[test]
    fn even_sizes_are_refused() {
        for replicas in [-1, 0, 2, 4, 11] {
            let result = ValidatedEnsemble::new(&sample("zk", replicas), "image");
            assert_eq!(result, Err(ValidationError::Replicas(replicas)));
        }
    }

    #[test]
    fn an_amount_that_is_none_is_refused_by_its_path() {
        let mut ensemble = sample("zk", 3);
        let limits = ["cpu", "memory"].map(|name| (name.to_owned(), Quantity("2".to_owned())));
        ensemble.spec.resources = Some(ComputeResources {
            requests: BTreeMap::new(),
            limits: limits.into(),
        });
        assert!(ValidatedEnsemble::new(&ensemble, "image").is_ok());
        let resources = ensemble.spec.resources.as_mut().unwrap();
        let lots = Quantity("lots".to_owned());
        resources.limits.insert("memory".to_owned(), lots);
        let error = ValidatedEnsemble::new(&ensemble, "image").unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.resources.limits.memory is \"lots\", but must be an amount such as 512Mi, 2Gi or 500m"
        );
    }

    /// Kubernetes would store thousandths of a byte, and show them to whoever looks at the pod.
    #[test]
    fn memory_and_disk_are_whole_bytes() {
        let refusal = |name: &str, text: &str| {
            let mut ensemble = sample("zk", 3);
            ensemble.spec.resources = Some(ComputeResources {
                requests: BTreeMap::from([(name.to_owned(), Quantity(text.to_owned()))]),
                limits: BTreeMap::new(),
            });
            let checked = ValidatedEnsemble::new(&ensemble, "image");
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(
            refusal("memory", "0.2Gi").unwrap(),
            "spec.resources.requests.memory is \"0.2Gi\", which is no whole number of bytes; 205Mi is the next amount that is"
        );
        for (name, text) in [
            ("memory", "512m"),
            ("ephemeral-storage", "0.3Mi"),
            ("hugepages-2Mi", "1.5"),
        ] {
            let text = refusal(name, text).unwrap();
            assert!(text.contains("1Mi is the next amount"), "{text}");
        }
        for (name, text) in [
            ("memory", "0.5Gi"),
            ("memory", "1.5G"),
            ("memory", "1e9"),
            ("cpu", "100m"),
            ("cpu", "0.2"),
        ] {
            assert_eq!(refusal(name, text), None, "{name} {text}");
        }
    }

    #[test]
    fn config_lines_cannot_be_smuggled_in() {
        let cases = [
            (
                "server.9",
                "evil:2888:3888",
                ValidationError::OwnedKey("server.9".to_owned()),
            ),
            (
                "dataDir",
                "/tmp",
                ValidationError::OwnedKey("dataDir".to_owned()),
            ),
            (
                "zookeeper.server.4",
                "evil:2888:3888",
                ValidationError::OwnedKey("zookeeper.server.4".to_owned()),
            ),
            (
                "zookeeper.4lw.commands.whitelist",
                "*",
                ValidationError::OwnedKey("zookeeper.4lw.commands.whitelist".to_owned()),
            ),
            (
                "zookeeper.metricsProvider.httpPort",
                "1",
                ValidationError::OwnedKey("zookeeper.metricsProvider.httpPort".to_owned()),
            ),
            (
                "tickTime",
                "2000\nserver.9=x",
                ValidationError::ConfigSyntax("tickTime".to_owned()),
            ),
            (
                "a\nb",
                "1",
                ValidationError::ConfigSyntax("a\nb".to_owned()),
            ),
            (
                "tickTime",
                "2000\\",
                ValidationError::ConfigSyntax("tickTime".to_owned()),
            ),
        ];
        for (key, value, error) in cases {
            let mut ensemble = sample("zk", 3);
            ensemble
                .spec
                .config
                .insert(key.to_owned(), value.to_owned());
            assert_eq!(ValidatedEnsemble::new(&ensemble, "image"), Err(error));
        }
    }

    #[test]
    fn keys_and_values_that_the_server_does_not_take_are_refused() {
        let refusal = |key: &str, value: &str| {
            let mut ensemble = sample("zk", 3);
            let config = &mut ensemble.spec.config;
            config.insert(key.to_owned(), value.to_owned());
            ValidatedEnsemble::new(&ensemble, "image")
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal("tikTime", "2000"),
            "spec.config: tikTime is no key of zoo.cfg; the nearest one is tickTime"
        );
        assert!(
            refusal("tickTime", "abc")
                .starts_with("spec.config: tickTime=abc must be a whole number")
        );
    }
}
