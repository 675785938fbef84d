//! The two promises, each a decimal number in a file of its own without a
//! newline (reference: `QuorumPeer.writeLongToFile`, `AtomicFileWritingIdiom`).

use std::io;
use std::path::Path;

use zk_proto::Epoch;

use crate::{Disk, DiskFile, StoreError};

/// Which of the two epoch files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochName {
    /// `acceptedEpoch`: the newest epoch this server has promised to follow.
    Accepted,
    /// `currentEpoch`: the epoch whose history this server holds.
    Current,
}

impl EpochName {
    const fn file(self) -> &'static str {
        match self {
            Self::Accepted => "acceptedEpoch",
            Self::Current => "currentEpoch",
        }
    }

    /// What [`save`] writes before it renames.
    const fn aside(self) -> &'static str {
        match self {
            Self::Accepted => "acceptedEpoch.tmp",
            Self::Current => "currentEpoch.tmp",
        }
    }
}

/// The number in the file; `None` where there is no file.
pub(crate) fn load<D: Disk>(
    disk: &D,
    dir: &Path,
    name: EpochName,
) -> Result<Option<Epoch>, StoreError> {
    read_number(disk, &dir.join(name.file()))
}

/// The number that a crash kept from becoming the file's; `None` if there is
/// none that can be read.
pub(crate) fn load_aside<D: Disk>(disk: &D, dir: &Path, name: EpochName) -> Option<Epoch> {
    read_number(disk, &dir.join(name.aside())).ok().flatten()
}

/// Replaces the number. Durable when it returns if `sync`, and never half
/// written.
pub(crate) fn save<D: Disk>(
    disk: &D,
    dir: &Path,
    name: EpochName,
    epoch: Epoch,
    sync: bool,
) -> Result<(), StoreError> {
    let path = dir.join(name.file());
    let aside = dir.join(name.aside());
    let write = || -> io::Result<()> {
        let mut file = disk.create(&aside)?;
        file.write_at(0, epoch.to_string().as_bytes())?;
        if sync {
            file.sync_data()?;
        }
        disk.rename(&aside, &path)?;
        if sync {
            disk.sync_dir(dir)?;
        }
        Ok(())
    };
    write().map_err(StoreError::io("replace", &path))
}

fn read_number<D: Disk>(disk: &D, path: &Path) -> Result<Option<Epoch>, StoreError> {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let number = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    match number {
        Some(epoch) if epoch >= 0 => Ok(Some(Epoch(epoch))),
        _ => Err(StoreError::EpochText {
            path: path.to_owned(),
            text: text.chars().take(40).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;

    #[test]
    fn a_number_is_replaced_whole() {
        let disk = MemDisk::default();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        assert_eq!(load(&disk, dir, EpochName::Current).unwrap(), None);
        for epoch in [Epoch(9), Epoch(10)] {
            save(&disk, dir, EpochName::Current, epoch, true).unwrap();
            assert_eq!(load(&disk, dir, EpochName::Current).unwrap(), Some(epoch));
        }
        assert_eq!(disk.read(&dir.join("currentEpoch")).unwrap(), b"10");
        assert_eq!(disk.list(dir).unwrap(), ["currentEpoch"]);
        let mut file = disk.create(&dir.join("acceptedEpoch")).unwrap();
        load(&disk, dir, EpochName::Accepted).expect_err("an empty file");
        file.write_at(0, b"-1").unwrap();
        load(&disk, dir, EpochName::Accepted).expect_err("a negative number");
    }
}
