//! The two Services: one for servers, one for clients.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    ADMIN_PORT, CLIENT_PORT, ELECTION_PORT, METRICS_PORT, QUORUM_PORT, labels, metadata, names,
};
use crate::validated::ValidatedEnsemble;

/// Gives every pod a host name. Unready pods are published as well: no server can become ready before it has
/// found the others.
pub(super) fn headless(ensemble: &ValidatedEnsemble) -> Service {
    Service {
        metadata: metadata(ensemble, names::headless_service(&ensemble.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::pods(&ensemble.name)),
            ports: Some(vec![
                port("client", CLIENT_PORT),
                port("quorum", QUORUM_PORT),
                port("election", ELECTION_PORT),
                port("metrics", METRICS_PORT),
                port("admin", ADMIN_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Leads clients to members that are ready, which means serving.
pub(super) fn client(ensemble: &ValidatedEnsemble) -> Service {
    Service {
        metadata: metadata(ensemble, names::client_service(&ensemble.name)),
        spec: Some(ServiceSpec {
            selector: Some(labels::pods(&ensemble.name)),
            ports: Some(vec![port("client", CLIENT_PORT)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
