//! `--set KEY=VALUE`: lines of a zoo.cfg that the command line makes up.

use zk_server::Failure;

/// A key that a command sets in another way, or a family that ends in `*`, and
/// what to do in its place.
pub(crate) type Reserved = (&'static str, &'static str);

/// Refuses what is no `KEY=VALUE`, and keys that would be overridden in silence.
pub(crate) fn check(settings: &[String], reserved: &[Reserved]) -> Result<(), Failure> {
    for setting in settings {
        let Some(key) = key_of(setting) else {
            let text = format!("--set {setting} is not taken: write it as KEY=VALUE");
            return Err(Failure::Usage(text));
        };
        let is_meant = |name: &str| match name.strip_suffix('*') {
            Some(family) => key.starts_with(family),
            None => key == name,
        };
        if let Some((_, instead)) = reserved.iter().find(|(name, _)| is_meant(name)) {
            let text = format!("--set {key} is not taken: {instead}");
            return Err(Failure::Usage(text));
        }
    }
    Ok(())
}

/// The lines of a zoo.cfg: those of the defaults that no setting replaces, then
/// the settings.
pub(crate) fn lines(defaults: &[(&str, String)], settings: &[String]) -> String {
    let is_kept = |key: &str| settings.iter().all(|setting| key_of(setting) != Some(key));
    let kept = defaults.iter().filter(|(key, _)| is_kept(key));
    let kept = kept.map(|(key, value)| format!("{key}={value}\n"));
    let settings = settings.iter().map(|setting| format!("{setting}\n"));
    kept.chain(settings).collect()
}

/// The settings of the server that is so many places after the first one. Those
/// of `ports` are for the first one, and the others use the ports after it; 0
/// stays 0, any free port.
///
/// # Errors
/// Where there is no such port.
pub(crate) fn shifted(
    settings: &[String],
    ports: &[&str],
    places: u16,
) -> Result<Vec<String>, Failure> {
    let shift = |setting: &String| {
        let key = key_of(setting).filter(|key| ports.contains(key));
        let value = setting.split_once('=').map_or("", |(_, value)| value);
        // What is no port is told by who reads it.
        let port = value.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let (Some(key), Some(port)) = (key, port) else {
            return Ok(setting.clone());
        };
        let shifted = port.checked_add(places).ok_or_else(|| {
            Failure::Usage(format!(
                "--set {setting} is not taken: it is the first server's port, the others use the ports after it, and \
                 those end at 65535"
            ))
        })?;
        Ok(format!("{key}={shifted}"))
    };
    settings.iter().map(shift).collect()
}

/// The key of a setting, without the prefix of Java's system properties.
fn key_of(setting: &str) -> Option<&str> {
    let (key, _) = setting.split_once('=')?;
    let key = key.trim();
    Some(key.strip_prefix("zookeeper.").unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_replace_defaults_and_leave_no_double_lines() {
        let defaults = [
            ("clientPort", "2181".to_owned()),
            ("tickTime", "2000".to_owned()),
        ];
        let settings = [
            "zookeeper.tickTime = 5".to_owned(),
            "snapCount=7".to_owned(),
        ];
        let text = lines(&defaults, &settings);
        assert_eq!(
            text,
            "clientPort=2181\nzookeeper.tickTime = 5\nsnapCount=7\n"
        );
    }

    #[test]
    fn each_server_has_ports_of_its_own() {
        let settings = ["zookeeper.a.port = 5", "b.port=0", "a.port=x", "c=5"];
        let settings = settings.map(str::to_owned);
        let ports = ["a.port", "b.port"];
        assert_eq!(shifted(&settings, &ports, 0).unwrap()[1..], settings[1..]);
        let third = shifted(&settings, &ports, 2).unwrap();
        assert_eq!(third, ["a.port=7", "b.port=0", "a.port=x", "c=5"]);
        let refused = shifted(&["b.port=65534".to_owned()], &ports, 2);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("--set b.port=65534"), "{refused}");
    }

    #[test]
    fn what_a_flag_sets_is_refused_with_the_flag() {
        let reserved = [("dataDir", "--dir does it"), ("server.*", "no")];
        for (setting, want) in [
            (
                "dataDir=/d",
                Some("--set dataDir is not taken: --dir does it"),
            ),
            (
                "zookeeper.dataDir=/d",
                Some("--set dataDir is not taken: --dir does it"),
            ),
            ("server.1=a:1:2", Some("--set server.1 is not taken: no")),
            ("snapCount", Some("write it as KEY=VALUE")),
            ("dataLogDir=/d", None),
        ] {
            let refused = check(&[setting.to_owned()], &reserved).err();
            let refused = refused.map(|failure| failure.to_string());
            match want {
                Some(want) => assert!(refused.unwrap().contains(want), "{setting}"),
                None => assert_eq!(refused, None),
            }
        }
    }
}
