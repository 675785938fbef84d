//! zoo.cfg: what the operator decides, what the user adds, and the list of servers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest, Sha256};
use zk_operator_api::ProvenConfiguration;

use super::{
    ADMIN_PORT, CLIENT_PORT, ELECTION_PORT, METRICS_PORT, QUORUM_PORT, metadata, names, pod_name,
    sid_of_ordinal,
};
use crate::validated::ValidatedEnsemble;
use crate::zoo_cfg_keys;

pub(super) fn build(ensemble: &ValidatedEnsemble, zoo_cfg: &str) -> ConfigMap {
    let data = BTreeMap::from([(ZOO_CFG_KEY.to_owned(), zoo_cfg.to_owned())]);
    config_map(
        ensemble,
        names::config_map(&ensemble.name, &hash(zoo_cfg)),
        data,
    )
}

/// The ConfigMap of a revision that is known to work, as it was.
pub fn proven_config_map(ensemble: &ValidatedEnsemble, kept: &ProvenConfiguration) -> ConfigMap {
    config_map(ensemble, kept.name.clone(), kept.data.clone())
}

fn config_map(
    ensemble: &ValidatedEnsemble,
    name: String,
    data: BTreeMap<String, String>,
) -> ConfigMap {
    ConfigMap {
        metadata: metadata(ensemble, name),
        immutable: Some(true),
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Text of zoo.cfg, the same for every member: a server learns its own id from its pod's name.
pub(super) fn zoo_cfg(ensemble: &ValidatedEnsemble) -> String {
    let user_sets = |key: &str| {
        ensemble
            .config
            .keys()
            .any(|set| zoo_cfg_keys::bare(set) == key)
    };
    let mut keys: BTreeMap<&str, String> = DEFAULTS
        .iter()
        .filter(|(key, _)| !user_sets(key))
        .map(|(key, value)| (*key, (*value).to_owned()))
        .collect();
    keys.extend(
        ensemble
            .config
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone())),
    );
    keys.extend(decided());

    let mut text = String::new();
    for (key, value) in keys {
        writeln!(text, "{key}={value}").expect("writing to a String cannot fail");
    }
    for ordinal in 0..ensemble.replicas {
        let sid = sid_of_ordinal(ordinal);
        let host = host_name(ensemble, ordinal);
        writeln!(text, "server.{sid}={host}:{QUORUM_PORT}:{ELECTION_PORT}")
            .expect("writing to a String cannot fail");
    }
    text
}

/// Short hash of zoo.cfg. It is part of the ConfigMap's name, so that a change of configuration is a new revision
/// of the pod template, too.
pub(super) fn hash(zoo_cfg: &str) -> String {
    let digest = Sha256::digest(zoo_cfg.as_bytes());
    digest
        .iter()
        .take(HASH_BYTES)
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

fn host_name(ensemble: &ValidatedEnsemble, ordinal: i32) -> String {
    let pod = pod_name(&ensemble.name, ordinal);
    let service = names::headless_service(&ensemble.name);
    format!(
        "{pod}.{service}.{}.svc.{}",
        ensemble.namespace, ensemble.cluster_domain
    )
}

/// Keys that belong to the operator; `zk_operator_api::OPERATOR_OWNED_KEYS` refuses them to users.
fn decided() -> [(&'static str, String); 8] {
    [
        ("4lw.commands.whitelist", "srvr,ruok,mntr".to_owned()),
        ("admin.enableServer", "true".to_owned()),
        ("admin.serverPort", ADMIN_PORT.to_string()),
        ("clientPort", CLIENT_PORT.to_string()),
        ("dataDir", super::stateful_set::DATA_DIR.to_owned()),
        ("metricsProvider.className", PROMETHEUS_PROVIDER.to_owned()),
        ("metricsProvider.httpPort", METRICS_PORT.to_string()),
        ("quorumListenOnAllIPs", "true".to_owned()),
    ]
}

/// File name of the configuration inside the ConfigMap.
const ZOO_CFG_KEY: &str = "zoo.cfg";
/// Values a user may replace. Ticks are 2 s; limits count ticks; old snapshots and logs are purged every hour; a
/// member takes peers only from addresses that the host names of the pods have, which a service mesh hides.
const DEFAULTS: [(&str, &str); 6] = [
    ("autopurge.purgeInterval", "1"),
    ("autopurge.snapRetainCount", "3"),
    ("quorate.peerAddresses", "listed"),
    ("tickTime", "2000"),
    ("initLimit", "10"),
    ("syncLimit", "5"),
];
/// The reference's class name; it selects the Prometheus text endpoint.
const PROMETHEUS_PROVIDER: &str =
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
/// 64 bits tell apart any two configurations that one ensemble will ever have.
const HASH_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use zk_operator_api::{OPERATOR_OWNED_KEY_PREFIXES, OPERATOR_OWNED_KEYS};

    use super::*;
    use crate::testing::sample;

    fn valid(replicas: i32) -> ValidatedEnsemble {
        ValidatedEnsemble::new(&sample("zk", replicas), "image").unwrap()
    }

    #[test]
    fn every_key_that_the_operator_decides_is_refused_to_users() {
        for (key, _) in decided() {
            assert!(
                OPERATOR_OWNED_KEYS.contains(&key),
                "{key} could be set twice"
            );
        }
        assert!(OPERATOR_OWNED_KEY_PREFIXES.contains(&"server."));
    }

    #[test]
    fn a_users_value_replaces_a_default_instead_of_following_it() {
        let mut ensemble = valid(3);
        ensemble
            .config
            .insert("tickTime".to_owned(), "500".to_owned());
        let text = zoo_cfg(&ensemble);
        assert!(text.contains("tickTime=500\n"));
        assert_eq!(text.matches("tickTime=").count(), 1);
    }

    #[test]
    fn old_files_are_purged_unless_the_user_says_otherwise() {
        let mut ensemble = valid(3);
        assert!(zoo_cfg(&ensemble).contains("autopurge.purgeInterval=1\n"));
        let key = "zookeeper.autopurge.purgeInterval".to_owned();
        ensemble.config.insert(key, "0".to_owned());
        let text = zoo_cfg(&ensemble);
        assert_eq!(
            text.matches("autopurge.purgeInterval=").count(),
            1,
            "{text}"
        );
        assert!(text.contains("zookeeper.autopurge.purgeInterval=0\n"));
    }

    #[test]
    fn peers_come_from_the_addresses_of_the_pods_unless_the_user_says_otherwise() {
        let mut ensemble = valid(3);
        assert!(zoo_cfg(&ensemble).contains("quorate.peerAddresses=listed\n"));
        let key = "quorate.peerAddresses".to_owned();
        ensemble.config.insert(key, "any".to_owned());
        let text = zoo_cfg(&ensemble);
        assert!(text.contains("quorate.peerAddresses=any\n"));
        assert_eq!(text.matches("peerAddresses").count(), 1, "{text}");
    }

    #[test]
    fn server_ids_are_ordinals_plus_one() {
        let text = zoo_cfg(&valid(3));
        let servers: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("server."))
            .collect();
        assert_eq!(
            servers,
            [
                "server.1=zk-0.zk-headless.default.svc.cluster.local:2888:3888",
                "server.2=zk-1.zk-headless.default.svc.cluster.local:2888:3888",
                "server.3=zk-2.zk-headless.default.svc.cluster.local:2888:3888",
            ]
        );
    }

    #[test]
    fn the_hash_follows_the_text() {
        assert_eq!(hash("a=1\n").len(), 2 * HASH_BYTES);
        assert_ne!(hash("a=1\n"), hash("a=2\n"));
    }
}
