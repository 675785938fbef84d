//! Flags of Java's command line, which people bring along from Apache ZooKeeper.

use super::catalogue::{Key, State, bare, nearest};
use super::system_properties::is_secret;

/// What to do in place of a flag of Java, such as `-Dzookeeper.snapCount=7` or
/// `-Xmx4g`; `None` for an argument that is none. A secret is not repeated.
#[must_use]
pub fn java_flag(argument: &str) -> Option<String> {
    if let Some(flag) = argument.strip_prefix("-X") {
        let flag = flag.split([':', '=']).next().unwrap_or_default();
        return Some(format!(
            "-X{flag} is a flag of the Java virtual machine, and there is none here: leave it out"
        ));
    }
    let property = argument.strip_prefix("-D").filter(|it| !it.is_empty())?;
    let (name, value) = property.split_once('=').unwrap_or((property, ""));
    let key = bare(name);
    let value = if is_secret(key) { "..." } else { value };
    Some(match (Key::of(name), nearest(key)) {
        (Some(known), _) if known.state != State::Ignored => format!(
            "-D{name} is a flag of Java: write {key}={value} into zoo.cfg, or give --set {key}={value} where there is no zoo.cfg"
        ),
        (Some(known), _) => format!(
            "-D{name} is a flag of Java and has no effect here, because {}: leave it out",
            known.meaning
        ),
        (None, Some(nearest)) => format!(
            "-D{name} is a flag of Java and no key of zoo.cfg; the nearest key is {nearest}"
        ),
        (None, None) => {
            format!("-D{name} is a flag of Java and no key of zoo.cfg: leave it out")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_of_java_is_answered_with_its_key() {
        for (flag, want) in [
            (
                "-Djute.maxbuffer=8388608",
                "-Djute.maxbuffer is a flag of Java: write jute.maxbuffer=8388608 into zoo.cfg, or give \
                 --set jute.maxbuffer=8388608 where there is no zoo.cfg",
            ),
            ("-Dzookeeper.snapCount=7", "write snapCount=7 into zoo.cfg"),
            (
                "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:hash",
                "write DigestAuthenticationProvider.superDigest=... into zoo.cfg",
            ),
            (
                "-Dzookeeper.nio.numWorkerThreads=4",
                "has no effect here, because it tunes",
            ),
            ("-Dzookeeper.snapCuont=7", "the nearest key is snapCount"),
            (
                "-Dlogback.configurationFile=x",
                "no key of zoo.cfg: leave it out",
            ),
            ("-Xmx4g", "-Xmx4g is a flag of the Java virtual machine"),
            ("-XX:+UseG1GC", "-XX is a flag of the Java virtual machine"),
        ] {
            let answer = java_flag(flag).unwrap();
            assert!(answer.contains(want), "{answer}");
        }
        for other in ["-D", "--set", "-h", "zoo.cfg", "D=1"] {
            assert_eq!(java_flag(other), None, "{other}");
        }
    }
}
