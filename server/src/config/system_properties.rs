//! Keys of zoo.cfg as the system properties that the reference makes of them
//! (`QuorumPeerConfig.parseProperties`): every key that it has no name for.

use super::properties;

/// Names and values, without those that hold a secret.
pub(crate) fn system_properties(text: &str) -> Vec<(String, String)> {
    let properties = properties::read(text).unwrap_or_default().into_iter();
    properties
        .filter_map(|property| {
            let key = property.key.strip_prefix("zookeeper.");
            let key = key.unwrap_or(&property.key);
            let is_shown = !is_parsed_by_name(key) && !is_secret(key);
            is_shown.then(|| (format!("zookeeper.{key}"), property.value))
        })
        .collect()
}

/// The text of a zoo.cfg with `(hidden)` in the place of each secret.
pub(crate) fn without_secrets(text: &str) -> String {
    let Ok(properties) = properties::read(text) else {
        return String::new();
    };
    let mut shown = String::with_capacity(text.len());
    let mut lines = (1..).zip(properties::lines(text.trim_end()));
    let mut secrets = properties
        .iter()
        .filter(|property| is_secret(&property.key));
    let mut secret = secrets.next();
    while let Some((number, mut line)) = lines.next() {
        match secret {
            Some(found) if found.line == number => {
                shown += &format!("{}=(hidden)\n", found.key);
                while properties::ends_in_continuation(line) {
                    line = lines.next().map_or("", |(_, line)| line);
                }
                secret = secrets.next();
            }
            _ => {
                shown += line;
                shown.push('\n');
            }
        }
    }
    shown
}

fn is_parsed_by_name(key: &str) -> bool {
    PARSED_BY_NAME.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family))
}

/// Does a key hold a password or what stands for one?
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("digest") || key.contains("password")
}

const PARSED_BY_NAME: [&str; 30] = [
    "tickTime",
    "initLimit",
    "syncLimit",
    "connectToLearnerMasterLimit",
    "dataDir",
    "dataLogDir",
    "clientPort",
    "clientPortAddress",
    "secureClientPort",
    "secureClientPortAddress",
    "clientPortListenBacklog",
    "observerMasterPort",
    "maxClientCnxns",
    "minSessionTimeout",
    "maxSessionTimeout",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "electionAlg",
    "quorumListenOnAllIPs",
    "peerType",
    "syncEnabled",
    "dynamicConfigFile",
    "standaloneEnabled",
    "reconfigEnabled",
    "sslQuorum",
    "portUnification",
    "sslQuorumReloadCertFiles",
    "quorum.cnxn.threads.size",
    "multiAddress.enabled",
    "oraclePath",
];

const FAMILIES: [&str; 8] = [
    "server.",
    "group.",
    "weight.",
    "autopurge.",
    "quorum.auth.",
    "jvm.pause.",
    "metricsProvider.",
    "multiAddress.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shown_without_its_secrets() {
        let text = "dataDir=/d\n# superDigest\nzookeeper.DigestAuthenticationProvider.\\\n  \
                    superDigest=super:\\\n  hash\nssl.keyStore.pass\\u0077ord : secret\nsnapCount=7\n";
        let want = "dataDir=/d\n# superDigest\n\
                    zookeeper.DigestAuthenticationProvider.superDigest=(hidden)\n\
                    ssl.keyStore.password=(hidden)\nsnapCount=7\n";
        assert_eq!(without_secrets(text), want);
        assert_eq!(without_secrets("a=b\nc=d"), "a=b\nc=d\n");
    }

    #[test]
    fn only_keys_without_a_name_are_properties_and_no_secrets() {
        let text = "dataDir=/d\nsnapCount=7\nzookeeper.forceSync=no\nserver.1=h:1:2\n\
                    DigestAuthenticationProvider.superDigest=super:x\nssl.keyStore.password=y\n";
        let want = [("zookeeper.snapCount", "7"), ("zookeeper.forceSync", "no")];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(system_properties(text), want);
    }
}
