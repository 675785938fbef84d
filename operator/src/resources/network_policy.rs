//! Who may reach the pods: members among themselves, clients, the operator, and whoever the spec names.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

use super::{ADMIN_PORT, CLIENT_PORT, ELECTION_PORT, METRICS_PORT, QUORUM_PORT, labels, metadata};
use crate::validated::ValidatedEnsemble;

/// `None` where the spec turns it off. The kubelet's probes come from the pod's own node, which no policy keeps out.
pub(super) fn build(ensemble: &ValidatedEnsemble) -> Option<NetworkPolicy> {
    let access = &ensemble.network_policy;
    if access.enabled == Some(false) {
        return None;
    }
    let members = NetworkPolicyPeer {
        pod_selector: Some(selecting(labels::pods(&ensemble.name))),
        ..NetworkPolicyPeer::default()
    };
    let rules = vec![
        rule(&[QUORUM_PORT, ELECTION_PORT], Some(vec![members])),
        rule(&[CLIENT_PORT], access.clients.clone()),
        rule(&[METRICS_PORT, ADMIN_PORT], windows(ensemble)),
    ];
    Some(NetworkPolicy {
        metadata: metadata(ensemble, ensemble.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selecting(labels::pods(&ensemble.name))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules),
            egress: None,
        }),
    })
}

/// The operator and whoever the spec names. An operator that runs outside the cluster has no pod that could be
/// selected, so these ports stay open then.
fn windows(ensemble: &ValidatedEnsemble) -> Option<Vec<NetworkPolicyPeer>> {
    let namespace = ensemble.operator_namespace.clone()?;
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(selecting(BTreeMap::from([(
            NAMESPACE_NAME_LABEL.to_owned(),
            namespace,
        )]))),
        pod_selector: Some(selecting(BTreeMap::from([(
            labels::NAME_LABEL.to_owned(),
            OPERATOR_NAME.to_owned(),
        )]))),
        ip_block: None,
    };
    let named = ensemble.network_policy.monitoring.iter().cloned();
    Some(std::iter::once(operator).chain(named).collect())
}

/// Without `from`, everybody may come in.
fn rule(ports: &[u16], from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let ports = ports.iter().map(|port| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    });
    NetworkPolicyIngressRule {
        from,
        ports: Some(ports.collect()),
    }
}

fn selecting(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// Kubernetes itself puts this label on every namespace.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Name of the chart, which labels the operator's pods.
const OPERATOR_NAME: &str = "zookeeper-operator";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    fn valid() -> ValidatedEnsemble {
        let mut valid = ValidatedEnsemble::new(&sample("zk", 3), "image").unwrap();
        valid.operator_namespace = Some("quorate-system".to_owned());
        valid
    }

    /// Ports with the number of peers that may reach them, `None` for everybody.
    fn rules(ensemble: &ValidatedEnsemble) -> Vec<(Vec<i32>, Option<usize>)> {
        let policy = build(ensemble).unwrap();
        let rules = policy.spec.unwrap().ingress.unwrap().into_iter();
        let number = |port: NetworkPolicyPort| match port.port {
            Some(IntOrString::Int(number)) => number,
            other => panic!("{other:?}"),
        };
        rules
            .map(|rule| {
                let ports = rule.ports.unwrap().into_iter().map(number).collect();
                (ports, rule.from.map(|from| from.len()))
            })
            .collect()
    }

    #[test]
    fn only_members_reach_the_ports_between_members_and_only_the_operator_the_windows() {
        let expected = vec![
            (vec![2888, 3888], Some(1)),
            (vec![2181], None),
            (vec![7000, 8080], Some(1)),
        ];
        assert_eq!(rules(&valid()), expected);
    }

    #[test]
    fn the_spec_may_name_clients_and_who_monitors_and_may_turn_it_off() {
        let mut ensemble = valid();
        let everybody = NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        };
        ensemble.network_policy.clients = Some(Vec::from([everybody.clone()]));
        ensemble.network_policy.monitoring = Vec::from([everybody]);
        let rules = rules(&ensemble);
        assert_eq!((rules[1].1, rules[2].1), (Some(1), Some(2)));
        ensemble.network_policy.enabled = Some(false);
        assert_eq!(build(&ensemble), None);
    }
}
