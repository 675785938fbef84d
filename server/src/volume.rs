//! What the volume of a pod belongs to. A file beside the data says which ensemble and which member of it the data
//! is of, and how many voters there were, so that a volume that was copied, restored, kept or mounted in another
//! pod is never joined to others by mistake.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use zk_proto::Sid;
use zk_store::VERSION_DIR;

/// One member of one ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Belonging {
    /// Namespace and name of the ensemble, such as `default/zk`.
    pub(crate) ensemble: String,
    /// Servers of the ensemble that vote.
    pub(crate) voters: usize,
    /// The member.
    pub(crate) sid: Sid,
}

/// Compares the volume with the pod that mounts it, and writes down what it belongs to from now on. Data of another
/// ensemble, of one with another number of voters, or of another member is refused; a volume without data belongs to
/// whoever comes. A file that names no member is an older version's, and is completed.
pub(crate) fn belong(
    data_dir: &Path,
    data_log_dir: &Path,
    wanted: &Belonging,
) -> anyhow::Result<()> {
    let file = data_dir.join(FILE);
    let text = wanted.text();
    let found = match fs::read_to_string(&file) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    if found.as_ref() == Some(&text) {
        return Ok(());
    }
    if let Some(found) = found
        && (has_data(data_dir)? || has_data(data_log_dir)?)
    {
        compare(&file, &found, wanted)?;
    }
    let aside = data_dir.join(FILE_ASIDE);
    fs::create_dir_all(data_dir)
        .and_then(|()| fs::write(&aside, text))
        .and_then(|()| fs::File::open(&aside)?.sync_all())
        .and_then(|()| fs::rename(&aside, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn compare(file: &Path, found: &str, wanted: &Belonging) -> anyhow::Result<()> {
    let value = |key: &str| {
        found
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let file = file.display();
    let ensemble = format!("{} with {} voters", wanted.ensemble, wanted.voters);
    let of = match (value(ENSEMBLE), value(VOTERS)) {
        (Some(of), Some(voters)) => format!("{of} with {voters} voters"),
        _ => bail!(
            "{file} holds {found:?}, which does not say what ensemble the data here belongs to; this pod belongs to ensemble {ensemble}. Restore the file, or delete this volume if its data is of no use any more"
        ),
    };
    if of != ensemble {
        bail!(
            "{file} says that the data here belongs to ensemble {of}, but this pod belongs to ensemble {ensemble}: together with the volumes of the other members it could lose what it holds. Make the ensemble as it was, or delete this volume if its data is of no use any more"
        );
    }
    match value(SID) {
        Some(sid) if sid != wanted.sid.0.to_string() => bail!(
            "{file} says that the data here is that of member {sid}, but this pod is member {}: {WHOSE_VOLUME}",
            wanted.sid.0
        ),
        Some(_) | None => Ok(()),
    }
}

impl Belonging {
    fn text(&self) -> String {
        let (ensemble, voters, sid) = (&self.ensemble, self.voters, self.sid.0);
        format!("{ENSEMBLE}={ensemble}\n{VOTERS}={voters}\n{SID}={sid}\n")
    }
}

/// There is a snapshot or a log, whole or not.
fn has_data(dir: &Path) -> anyhow::Result<bool> {
    let version = dir.join(VERSION_DIR);
    let entries = match fs::read_dir(&version) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", version.display()));
        }
    };
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot read {}", version.display()))?
            .file_name();
        let name = name.to_string_lossy();
        if name.starts_with("log.") || name.starts_with("snapshot.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is wrong with the volume of another member, and what to do.
pub(crate) const WHOSE_VOLUME: &str = "it would vote for what it never had. Mount each volume in the pod of its own member. If this member's own volume is lost, delete this one, so that it begins empty and copies the data of the others; do that only while every other member serves";
const FILE: &str = "ensemble";
const FILE_ASIDE: &str = "ensemble.tmp";
const ENSEMBLE: &str = "ensemble";
const VOTERS: &str = "voters";
const SID: &str = "sid";

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(with_data: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("version-2")).unwrap();
        if with_data {
            fs::write(dir.path().join("version-2/log.1"), "").unwrap();
        }
        dir
    }

    fn member(ensemble: &str, voters: usize, sid: i64) -> Belonging {
        Belonging {
            ensemble: ensemble.to_owned(),
            voters,
            sid: Sid(sid),
        }
    }

    fn start(dir: &tempfile::TempDir, wanted: &Belonging) -> Result<(), String> {
        belong(dir.path(), dir.path(), wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn data_stays_with_its_ensemble_and_its_number_of_voters() {
        let dir = volume(true);
        start(&dir, &member("default/zk", 3, 1)).unwrap();
        start(&dir, &member("default/zk", 3, 1)).unwrap();
        for (ensemble, voters) in [("default/zk", 1), ("default/zk", 5), ("shop/zk", 3)] {
            let refused = start(&dir, &member(ensemble, voters, 1)).unwrap_err();
            assert!(
                refused.contains("belongs to ensemble default/zk with 3 voters"),
                "{refused}"
            );
            assert!(refused.contains("delete this volume"), "{refused}");
        }
        start(&dir, &member("default/zk", 3, 1)).unwrap();
    }

    #[test]
    fn data_stays_with_its_member() {
        let (one, two) = (volume(true), volume(true));
        start(&one, &member("default/zk", 3, 1)).unwrap();
        start(&two, &member("default/zk", 3, 2)).unwrap();
        for (dir, sid, other) in [(&two, 1, 2), (&one, 2, 1)] {
            let refused = start(dir, &member("default/zk", 3, sid)).unwrap_err();
            let says = format!("that of member {other}, but this pod is member {sid}");
            assert!(refused.contains(&says), "{refused}");
            assert!(refused.contains("Mount each volume in the pod of its own member"));
        }
        start(&one, &member("default/zk", 3, 1)).unwrap();
    }

    #[test]
    fn a_file_that_names_no_member_is_completed() {
        let dir = volume(true);
        let file = dir.path().join(FILE);
        fs::write(&file, "ensemble=default/zk\nvoters=3\n").unwrap();
        start(&dir, &member("default/zk", 5, 2)).unwrap_err();
        start(&dir, &member("default/zk", 3, 2)).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "ensemble=default/zk\nvoters=3\nsid=2\n"
        );
        start(&dir, &member("default/zk", 3, 1)).unwrap_err();
    }

    #[test]
    fn an_empty_volume_belongs_to_whoever_comes() {
        let dir = volume(false);
        start(&dir, &member("default/zk", 1, 1)).unwrap();
        start(&dir, &member("default/zk", 3, 2)).unwrap();
        fs::write(dir.path().join("version-2/snapshot.0"), "").unwrap();
        start(&dir, &member("default/zk", 1, 2)).unwrap_err();
        start(&dir, &member("default/zk", 3, 1)).unwrap_err();
    }

    #[test]
    fn another_directory_for_logs_counts() {
        let (data, logs) = (volume(false), volume(true));
        let start = |voters| belong(data.path(), logs.path(), &member("default/zk", voters, 1));
        start(3).unwrap();
        start(1).unwrap_err();
    }

    #[test]
    fn a_file_that_is_not_ours_is_shown_as_it_is() {
        let dir = volume(true);
        fs::write(dir.path().join(FILE), "damaged").unwrap();
        assert!(
            start(&dir, &member("default/zk", 3, 1))
                .unwrap_err()
                .contains("\"damaged\"")
        );
    }
}
