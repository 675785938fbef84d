//! What the volume of a pod belongs to. A file beside the data says which ensemble it is of and how many voters
//! that had, so that a volume that was copied, restored or kept is never joined to others by mistake.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// Compares the volume with the pod that mounts it, and writes down what it belongs to from now on. Data of another
/// ensemble, or of one with another number of voters, is refused; a volume without data belongs to whoever comes.
pub(crate) fn belong(
    data_dir: &Path,
    data_log_dir: &Path,
    ensemble: &str,
    voters: usize,
) -> anyhow::Result<()> {
    let file = data_dir.join(FILE);
    let wanted = format!("ensemble={ensemble}\nvoters={voters}\n");
    let found = match fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    if found.as_ref() == Some(&wanted) {
        return Ok(());
    }
    if let Some(found) = found
        && (has_data(data_dir)? || has_data(data_log_dir)?)
    {
        bail!(
            "{} says that the data here belongs to {}, but this pod belongs to {}: together with the volumes of the other members it could lose what it holds. Make the ensemble as it was, or delete this volume if its data is of no use any more",
            file.display(),
            in_words(&found),
            in_words(&wanted)
        );
    }
    let aside = data_dir.join(FILE_ASIDE);
    fs::write(&aside, wanted)
        .and_then(|()| fs::File::open(&aside)?.sync_all())
        .and_then(|()| fs::rename(&aside, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// `ensemble default/zk with 3 voters`, or the text as it is where it is another.
fn in_words(text: &str) -> String {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    match (value("ensemble"), value("voters")) {
        (Some(ensemble), Some(voters)) => format!("ensemble {ensemble} with {voters} voters"),
        _ => format!("{text:?}"),
    }
}

/// There is a snapshot or a log, whole or not.
fn has_data(dir: &Path) -> anyhow::Result<bool> {
    let version = dir.join("version-2");
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

const FILE: &str = "ensemble";
const FILE_ASIDE: &str = "ensemble.tmp";

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

    fn start(dir: &tempfile::TempDir, ensemble: &str, voters: usize) -> Result<(), String> {
        belong(dir.path(), dir.path(), ensemble, voters).map_err(|error| error.to_string())
    }

    #[test]
    fn data_stays_with_its_ensemble_and_its_number_of_voters() {
        let dir = volume(true);
        start(&dir, "default/zk", 3).unwrap();
        start(&dir, "default/zk", 3).unwrap();
        for (ensemble, voters) in [("default/zk", 1), ("default/zk", 5), ("shop/zk", 3)] {
            let refused = start(&dir, ensemble, voters).unwrap_err();
            assert!(
                refused.contains("belongs to ensemble default/zk with 3 voters"),
                "{refused}"
            );
            assert!(refused.contains("delete this volume"), "{refused}");
        }
        start(&dir, "default/zk", 3).unwrap();
    }

    #[test]
    fn an_empty_volume_belongs_to_whoever_comes() {
        let dir = volume(false);
        start(&dir, "default/zk", 1).unwrap();
        start(&dir, "default/zk", 3).unwrap();
        fs::write(dir.path().join("version-2/snapshot.0"), "").unwrap();
        start(&dir, "default/zk", 1).unwrap_err();
    }

    #[test]
    fn another_directory_for_logs_counts() {
        let (data, logs) = (volume(false), volume(true));
        let start = |voters| belong(data.path(), logs.path(), "default/zk", voters);
        start(3).unwrap();
        start(1).unwrap_err();
    }

    #[test]
    fn a_file_that_is_not_ours_is_shown_as_it_is() {
        let dir = volume(true);
        fs::write(dir.path().join(FILE), "damaged").unwrap();
        assert!(
            start(&dir, "default/zk", 3)
                .unwrap_err()
                .contains("\"damaged\"")
        );
    }
}
