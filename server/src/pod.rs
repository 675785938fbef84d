//! Entry of the container image: finds out which member this pod is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use zk_server::Failure;
use zk_server::config::{AdminAccess, ServerConfig};

use crate::process::{self, Logging};
use crate::volume;

/// Arguments of `quorate pod`.
#[derive(clap::Args)]
pub(crate) struct Pod {
    /// Its zoo.cfg.
    #[arg(long, env = "QUORATE_CONFIG", default_value = "/etc/quorate/zoo.cfg")]
    config: PathBuf,
    /// Ensemble that the pod belongs to, such as `default/zk`. The data volume keeps it, and the data of another
    /// ensemble or of another number of voters is refused. Not checked when absent.
    #[arg(long, env = "QUORATE_ENSEMBLE")]
    ensemble: Option<String>,
}

impl Pod {
    /// Writes myid from the pod's name, then serves.
    pub(crate) fn run(&self, logging: &Logging) -> anyhow::Result<()> {
        let member = ServerConfig::data_dir_of(&self.config)
            .map_err(Failure::from)
            .and_then(|dir| become_member(&dir).map_err(|error| Failure::Member(error.into())));
        let loaded = match &member {
            Ok(_) => Some(ServerConfig::load(&self.config)),
            Err(_) => None,
        };
        let config = loaded.as_ref().and_then(|loaded| loaded.as_ref().ok());
        logging.start(config.map(|loaded| &loaded.config.logging))?;
        let (pod, myid) = member?;
        tracing::info!(pod, myid, "member of the ensemble");
        let mut loaded = loaded.expect("a member loads it").map_err(Failure::from)?;
        if let Some(admin) = &mut loaded.config.admin {
            admin.is_required = true;
            admin.access = AdminAccess::StatusFromOutside;
        }
        process::warn(&loaded.warnings);
        if let Some(ensemble) = self.ensemble.as_deref().filter(|name| !name.is_empty()) {
            let config = &loaded.config;
            let voters = config.ensemble.members.len();
            volume::belong(&config.data_dir, &config.data_log_dir, ensemble, voters)
                .map_err(|error| Failure::Load(error.into()))?;
        }
        process::serve(loaded.config, |_| {})
    }
}

/// The pod's name and its id.
fn become_member(data_dir: &Path) -> anyhow::Result<(String, i64)> {
    let pod = pod_name()?;
    let myid = myid_of(&pod)?;
    write_myid(data_dir, myid)?;
    Ok((pod, myid))
}

fn pod_name() -> anyhow::Result<String> {
    if let Ok(name) = std::env::var("POD_NAME")
        && !name.is_empty()
    {
        return Ok(name);
    }
    let name =
        fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host name")?;
    Ok(name.trim().to_owned())
}

/// Ordinal plus one: a sid of 0 cannot be told from none in some tools.
fn myid_of(pod: &str) -> anyhow::Result<i64> {
    let ordinal = pod.rsplit_once('-').map(|(_, ordinal)| ordinal);
    match ordinal.and_then(|ordinal| ordinal.parse::<u8>().ok()) {
        Some(ordinal @ 0..=254) => Ok(i64::from(ordinal) + 1),
        _ => bail!("the pod's name {pod:?} does not end in an ordinal from 0 to 254; set POD_NAME"),
    }
}

/// A volume belongs to one member for ever: another id on it means that the
/// wrong volume was mounted.
fn write_myid(data_dir: &Path, myid: i64) -> anyhow::Result<()> {
    let file = data_dir.join("myid");
    match fs::read_to_string(&file) {
        Ok(found) if found.trim() == myid.to_string() => return Ok(()),
        Ok(found) if !found.trim().is_empty() => bail!(
            "{} holds {:?}, but this pod is member {myid}; is this the volume of another pod?",
            file.display(),
            found.trim()
        ),
        _ => {}
    }
    fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot create {}", data_dir.display()))?;
    let aside = data_dir.join("myid.tmp");
    fs::write(&aside, format!("{myid}\n"))
        .and_then(|()| fs::File::open(&aside)?.sync_all())
        .and_then(|()| fs::rename(&aside, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_plus_one() {
        assert_eq!(myid_of("zk-0").unwrap(), 1);
        assert_eq!(myid_of("my-zk-12").unwrap(), 13);
        for pod in ["zk", "zk-", "zk-x", "zk-255", "", "zk-0-x"] {
            myid_of(pod).expect_err(pod);
        }
    }

    #[test]
    fn the_volume_of_another_member_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        write_myid(&data, 2).unwrap();
        write_myid(&data, 2).unwrap();
        assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
        let refused = write_myid(&data, 3).unwrap_err().to_string();
        assert!(refused.contains("this pod is member 3"), "{refused}");
    }
}
