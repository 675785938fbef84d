//! Entry of the container image: finds out which member this pod is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use zk_proto::Sid;
use zk_server::Failure;
use zk_server::config::{AdminAccess, ServerConfig};

use crate::process::{self, Logging};
use crate::volume::{self, Belonging};

/// Arguments of `quorate pod`.
#[derive(clap::Args)]
pub(crate) struct Pod {
    /// The zoo.cfg of the server.
    #[arg(long, env = "QUORATE_CONFIG", default_value = "/etc/quorate/zoo.cfg")]
    config: PathBuf,
    /// Ensemble that the pod belongs to, such as `default/zk`. The name is stored on the data volume, and a volume
    /// of another ensemble, of another number of voters or of another member is refused. So are servers of other
    /// ensembles that connect as members. Not checked when absent.
    #[arg(long, env = "QUORATE_ENSEMBLE")]
    ensemble: Option<String>,
}

impl Pod {
    /// Finds out which member this is, compares it with the volume, writes myid, then serves.
    pub(crate) fn run(&self, logging: &Logging) -> anyhow::Result<()> {
        let member = ServerConfig::data_dir_of(&self.config)
            .map_err(Failure::from)
            .and_then(|dir| member_of(&dir).map_err(|error| Failure::Member(error.into())));
        let loaded = match &member {
            Ok((_, sid)) => Some(ServerConfig::load_as(&self.config, *sid)),
            Err(_) => None,
        };
        let config = loaded.as_ref().and_then(|loaded| loaded.as_ref().ok());
        logging.start(config.map(|loaded| &loaded.config.logging))?;
        let (pod, sid) = member?;
        let mut loaded = loaded.expect("a member loads it").map_err(Failure::from)?;
        if let Some(admin) = &mut loaded.config.admin {
            admin.is_required = true;
            admin.access = AdminAccess::StatusFromOutside;
        }
        process::warn(&loaded);
        let config = &loaded.config;
        if let Some(ensemble) = self.ensemble.as_deref().filter(|name| !name.is_empty()) {
            let wanted = Belonging {
                ensemble: ensemble.to_owned(),
                voters: config.ensemble.members.len(),
                sid,
            };
            volume::belong(&config.data_dir, &config.data_log_dir, &wanted)
                .map_err(|error| Failure::Load(error.into()))?;
        }
        let ensemble = self.ensemble.clone().filter(|name| !name.is_empty());
        loaded.config.ensemble_name = ensemble;
        let config = &loaded.config;
        write_myid(&config.data_dir, sid).map_err(|error| Failure::Member(error.into()))?;
        tracing::info!(pod, myid = sid.0, "member of the ensemble");
        process::serve(loaded.config, |_| {})
    }
}

/// The pod's name and its id, if the volume is not that of another id. Writes nothing.
fn member_of(data_dir: &Path) -> anyhow::Result<(String, Sid)> {
    let pod = pod_name()?;
    let sid = sid_of(&pod)?;
    check_myid(data_dir, sid)?;
    Ok((pod, sid))
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
fn sid_of(pod: &str) -> anyhow::Result<Sid> {
    let ordinal = pod.rsplit_once('-').map(|(_, ordinal)| ordinal);
    match ordinal.and_then(|ordinal| ordinal.parse::<u8>().ok()) {
        Some(ordinal @ 0..=254) => Ok(Sid(i64::from(ordinal) + 1)),
        _ => bail!("the pod's name {pod:?} does not end in an ordinal from 0 to 254; set POD_NAME"),
    }
}

/// A volume belongs to one member for ever: another id on it means that the
/// wrong volume was mounted. A file that is absent or empty says nothing.
fn check_myid(data_dir: &Path, sid: Sid) -> anyhow::Result<bool> {
    let file = data_dir.join(MYID);
    let found = fs::read_to_string(&file).unwrap_or_default();
    let found = found.trim();
    if !found.is_empty() && found != sid.0.to_string() {
        bail!(
            "{} holds {found:?}, but this pod is member {}: {}",
            file.display(),
            sid.0,
            volume::WHOSE_VOLUME
        );
    }
    Ok(!found.is_empty())
}

fn write_myid(data_dir: &Path, sid: Sid) -> anyhow::Result<()> {
    if check_myid(data_dir, sid)? {
        return Ok(());
    }
    let file = data_dir.join(MYID);
    let aside = data_dir.join(MYID_ASIDE);
    fs::create_dir_all(data_dir)
        .and_then(|()| fs::write(&aside, format!("{}\n", sid.0)))
        .and_then(|()| fs::File::open(&aside)?.sync_all())
        .and_then(|()| fs::rename(&aside, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

const MYID: &str = "myid";
const MYID_ASIDE: &str = "myid.tmp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_plus_one() {
        assert_eq!(sid_of("zk-0").unwrap(), Sid(1));
        assert_eq!(sid_of("my-zk-12").unwrap(), Sid(13));
        for pod in ["zk", "zk-", "zk-x", "zk-255", "", "zk-0-x"] {
            sid_of(pod).expect_err(pod);
        }
    }

    #[test]
    fn the_volume_of_another_member_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        write_myid(&data, Sid(2)).unwrap();
        write_myid(&data, Sid(2)).unwrap();
        assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
        let refused = write_myid(&data, Sid(3)).unwrap_err().to_string();
        assert!(refused.contains("this pod is member 3"), "{refused}");
        assert!(
            refused.contains("Mount each volume in the pod"),
            "{refused}"
        );
    }
}
