//! What a zoo.cfg may say, and what is hardly meant: a warning for each.

use zk_core::auth::DigestAlg;

use super::member;
use super::properties::Property;
use super::values::{Values, Warning};
use super::{CommandWhitelist, ServerConfig};
use crate::command;

/// Warnings about values that are allowed each by itself, by their lines.
pub(super) fn warnings(values: &Values<'_>, config: &ServerConfig) -> Vec<Warning> {
    let mut found = Vec::new();
    same_addresses(values, &mut found);
    super_digest(values, &mut found);
    unknown_words(values, config, &mut found);
    shared_ports(values, config, &mut found);
    found
}

fn warning(property: &Property, reason: String) -> Warning {
    Warning {
        line: property.line,
        key: property.key.clone(),
        reason,
    }
}

/// Two servers cannot listen on one port: one of the lines is a copy of the other.
fn same_addresses(values: &Values<'_>, found: &mut Vec<Warning>) {
    let mut earlier: Vec<(&Property, String, [u16; 2])> = Vec::new();
    for (_, property) in values.family("server.") {
        let Ok(member) = member::read(&property.value) else {
            continue;
        };
        let ports = [member.quorum_port, member.election_port];
        for (other, host, others) in &earlier {
            if member.host.eq_ignore_ascii_case(host)
                && ports.iter().any(|port| others.contains(port))
            {
                let reason = format!("it has the address of {} in line {}", other.key, other.line);
                found.push(warning(property, reason));
            }
        }
        earlier.push((property, member.host, ports));
    }
}

/// With a value of another form nobody is the super user.
fn super_digest(values: &Values<'_>, found: &mut Vec<Warning>) {
    let given = values.given("DigestAuthenticationProvider.superDigest");
    let Some(property) = given.filter(|property| !property.value.is_empty()) else {
        return;
    };
    let algorithm = values.text("DigestAuthenticationProvider.digestAlg");
    let alg: DigestAlg = algorithm.parse().expect("the catalogue names them all");
    if !alg.is_id(&property.value) {
        let reason = format!(
            "nobody can be the super user with this value: it must be super: and the {algorithm} hash of \
             super:PASSWORD in base64, which `quorate digest` prints"
        );
        found.push(warning(property, reason));
    }
}

fn unknown_words(values: &Values<'_>, config: &ServerConfig, found: &mut Vec<Warning>) {
    let Some(property) = values.given("4lw.commands.whitelist") else {
        return;
    };
    let CommandWhitelist::Names(names) = &config.commands else {
        return;
    };
    let unknown = names.iter().filter(|name| !command::is_word(name));
    let unknown: Vec<_> = unknown.map(String::as_str).collect();
    if !unknown.is_empty() {
        let reason = format!("no such four-letter word: {}", unknown.join(", "));
        found.push(warning(property, reason));
    }
}

/// A server that wants one port twice cannot start, and its message would be
/// about a port that is in use.
fn shared_ports(values: &Values<'_>, config: &ServerConfig, found: &mut Vec<Warning>) {
    let own_line = format!("server.{}", config.sid);
    let client = values
        .given("clientPort")
        .or_else(|| values.given(&own_line));
    let Some(client) = client.filter(|_| config.client_port != 0) else {
        return;
    };
    let own = config.ensemble.members.get(&config.sid);
    let own = own.filter(|_| !config.standalone);
    let peer_host = |host| (!config.quorum_listen_on_all_addresses).then_some(host);
    let admin = config.admin.as_ref().map(|admin| &admin.address);
    let http = |at: Option<&super::HttpAddress>| at.map(|at| (at.port, Some(at.host.clone())));
    let peer =
        |port: fn(&zk_core::Member) -> u16| own.map(|own| (port(own), peer_host(own.host.clone())));
    for (what, other) in [
        ("admin.serverPort", http(admin)),
        ("metricsProvider.httpPort", http(config.metrics.as_ref())),
        ("the quorum port", peer(|own| own.quorum_port)),
        ("the election port", peer(|own| own.election_port)),
    ] {
        let Some((port, host)) = other else {
            continue;
        };
        let hosts = [config.client_address.as_deref(), host.as_deref()];
        if port == config.client_port && overlap(hosts) {
            let reason =
                format!("{port} is {what} of this server, too: give one of them another port");
            found.push(warning(client, reason));
        }
    }
}

/// Do listeners on these hosts, `None` for all addresses, get in each other's way?
fn overlap(hosts: [Option<&str>; 2]) -> bool {
    let hosts = hosts.map(|host| host.filter(|host| !matches!(*host, "0.0.0.0" | "::")));
    match hosts {
        [Some(one), Some(other)] => one.eq_ignore_ascii_case(other),
        [None, _] | [_, None] => true,
    }
}
