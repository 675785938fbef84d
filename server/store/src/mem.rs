//! A file system in memory that can lose whatever was not synced. The
//! simulator and the tests run the store on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::{Disk, DiskFile};

/// A file system in memory. It keeps apart what a process sees and what would
/// outlive a power cut. Directories outlive it at once; names in them only
/// after [`Disk::sync_dir`], bytes only after [`DiskFile::sync_data`].
#[derive(Clone, Debug, Default)]
pub struct MemDisk(Rc<RefCell<State>>);

/// A file of a [`MemDisk`].
#[derive(Debug)]
pub struct MemFile {
    disk: MemDisk,
    inode: u64,
}

#[derive(Debug, Default)]
struct State {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    names_durable: BTreeMap<PathBuf, u64>,
    names_pending: Vec<NameChange>,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    changes: u64,
    changes_left: Option<u64>,
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<ContentChange>,
}

#[derive(Debug)]
enum ContentChange {
    Bytes(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl MemDisk {
    /// Loses what was not synced, or some of it: of a file's changes any
    /// first part survives, the last perhaps in part; of the changes of names
    /// any subset. `random(n)` chooses a number below `n`. Syncs and changes
    /// work again afterwards.
    pub fn power_cut(&self, random: &mut dyn FnMut(u64) -> u64) {
        self.lose(random, |pending, durable, random| {
            let kept = random(pending.len() as u64 + 1) as usize;
            for (n, change) in pending.into_iter().enumerate() {
                if n < kept {
                    change.apply(durable);
                } else if n == kept
                    && let ContentChange::Bytes(at, mut bytes) = change
                {
                    bytes.truncate(random(bytes.len() as u64 + 1) as usize);
                    ContentChange::Bytes(at, bytes).apply(durable);
                }
            }
        });
    }

    /// Like [`Self::power_cut`], but of a file's changes any subset survives,
    /// sector by sector: a disk writes them in the order that it likes.
    pub fn power_cut_reordered(&self, random: &mut dyn FnMut(u64) -> u64) {
        self.lose(random, |pending, durable, random| {
            for change in pending {
                match change {
                    ContentChange::Bytes(at, bytes) => {
                        for (at, sector) in sectors(at, &bytes) {
                            if random(2) == 1 {
                                ContentChange::Bytes(at, sector.to_vec()).apply(durable);
                            }
                        }
                    }
                    ContentChange::Len(_) => {
                        if random(2) == 1 {
                            change.apply(durable);
                        }
                    }
                }
            }
        });
    }

    fn lose(
        &self,
        random: &mut dyn FnMut(u64) -> u64,
        keep_some: impl Fn(Vec<ContentChange>, &mut Vec<u8>, &mut dyn FnMut(u64) -> u64),
    ) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        for inode in state.files.values_mut() {
            let pending = std::mem::take(&mut inode.pending);
            keep_some(pending, &mut inode.durable, random);
            inode.content.clone_from(&inode.durable);
        }
        for change in std::mem::take(&mut state.names_pending) {
            if random(2) == 1 {
                change.apply(&mut state.names_durable);
            }
        }
        state.names.clone_from(&state.names_durable);
        let State { names, files, .. } = &mut *state;
        files.retain(|inode, _| names.values().any(|named| named == inode));
        state.changes_left = None;
    }

    /// Another disk with what a process sees on this one now, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        let state = self.0.borrow();
        for (path, inode) in &state.names {
            copy.plant(path, state.files[inode].content.clone());
        }
        copy.0.borrow_mut().dirs.extend(state.dirs.iter().cloned());
        copy
    }

    /// Lets this many more changes and syncs succeed and everything after
    /// them fail; `None` lets all succeed.
    pub fn fail_after(&self, changes: Option<u64>) {
        self.0.borrow_mut().changes_left = changes;
    }

    /// Changes and syncs that have succeeded so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.borrow().changes
    }

    /// Overwrites a file behind the store's back: durable at once.
    pub fn plant(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        if let Some(dir) = path.parent() {
            state.dirs.insert(dir.to_owned());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        let file = Inode {
            durable: content.clone(),
            content,
            pending: Vec::new(),
        };
        state.files.insert(inode, file);
        state.names.insert(path.to_owned(), inode);
        state.names_durable.insert(path.to_owned(), inode);
    }
}

/// The pieces of a write that a disk writes as a whole.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = ((at + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
        let sector = bytes.get(start..end.min(bytes.len()))?;
        let at = at + start;
        start = end;
        (!sector.is_empty()).then_some((at, sector))
    })
}

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

impl State {
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => return Err(io::Error::other("the disk has failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.changes += 1;
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_pending.push(change);
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        let inode = self.names.get(path).copied();
        inode.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut Inode> {
        let file = self.files.get_mut(&inode);
        file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Inode {
    fn change(&mut self, change: ContentChange) {
        change.apply(&mut self.content);
        self.pending.push(change);
    }
}

impl ContentChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::Len(bytes) => content.resize(*bytes, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path) => path.parent(),
        }
    }
}

impl Disk for MemDisk {
    type File = MemFile;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let ancestors = dir.ancestors().map(Path::to_owned);
        self.0.borrow_mut().dirs.extend(ancestors);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.borrow();
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.0.borrow_mut();
        let inode = state.inode(path)?;
        Ok(state.file(inode)?.content.clone())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.0.borrow_mut();
        let inode = state.inode(path)?;
        Ok(state.file(inode)?.content.len() as u64)
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.read(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<MemFile> {
        let mut state = self.0.borrow_mut();
        state.change()?;
        let inode = match state.inode(path) {
            Ok(inode) => {
                state.file(inode)?.change(ContentChange::Len(0));
                inode
            }
            Err(_) => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.files.insert(inode, Inode::default());
                state.rename(NameChange::Create(path.to_owned(), inode));
                inode
            }
        };
        let disk = self.clone();
        Ok(MemFile { disk, inode })
    }

    fn open(&self, path: &Path) -> io::Result<MemFile> {
        let inode = self.0.borrow().inode(path)?;
        let disk = self.clone();
        Ok(MemFile { disk, inode })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.inode(from)?;
        state.change()?;
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.inode(path)?;
        state.change()?;
        state.rename(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.change()?;
        let pending = std::mem::take(&mut state.names_pending);
        let (here, elsewhere) = pending
            .into_iter()
            .partition(|change| change.dir() == Some(dir));
        state.names_pending = elsewhere;
        let here: Vec<NameChange> = here;
        here.iter()
            .for_each(|change| change.apply(&mut state.names_durable));
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        let outcome = state.change();
        // A write that fails has reached the file in part.
        let written = if outcome.is_ok() {
            bytes
        } else {
            &bytes[..bytes.len() / 2]
        };
        let change = ContentChange::Bytes(offset as usize, written.to_vec());
        state.file(self.inode)?.change(change);
        outcome
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        state.change()?;
        state
            .file(self.inode)?
            .change(ContentChange::Len(bytes as usize));
        Ok(())
    }

    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        state.change()?;
        let file = state.file(self.inode)?;
        for change in std::mem::take(&mut file.pending) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_outlives_a_power_cut() {
        let disk = MemDisk::default();
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        disk.create_dir(dir).unwrap();
        let mut file = disk.create(path).unwrap();
        file.write_at(0, b"abc").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(1, b"xyz").unwrap();
        disk.rename(path, Path::new("/d/g")).unwrap();
        assert_eq!(disk.read(Path::new("/d/g")).unwrap(), b"axyz");
        disk.power_cut(&mut |_| 0);
        assert_eq!(disk.read(path).unwrap(), b"abc");
        assert_eq!(disk.list(dir).unwrap(), ["f"]);
        disk.open(path).unwrap().write_at(1, b"xyz").unwrap();
        disk.power_cut(&mut |n| n / 2);
        assert_eq!(disk.read(path).unwrap(), b"axyz");
    }

    #[test]
    fn a_disk_writes_sectors_in_any_order() {
        let disk = MemDisk::default();
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        disk.create_dir(dir).unwrap();
        let mut file = disk.create(path).unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(500, &[1; 600]).unwrap();
        assert_eq!(disk.copy().read(path).unwrap(), disk.read(path).unwrap());
        // Of the three sectors only the second.
        let mut kept = [0, 1, 0].into_iter();
        disk.power_cut_reordered(&mut |_| kept.next().unwrap());
        let content = disk.read(path).unwrap();
        assert_eq!(content[..512], [0; 512]);
        assert_eq!(content[512..], [1; 512]);
    }

    #[test]
    fn a_failed_disk_stays_failed() {
        let disk = MemDisk::default();
        disk.create_dir(Path::new("/d")).unwrap();
        disk.fail_after(Some(1));
        let mut file = disk.create(Path::new("/d/f")).unwrap();
        file.write_at(0, b"abcd").unwrap_err();
        file.sync_data().unwrap_err();
        assert_eq!(disk.read(Path::new("/d/f")).unwrap(), b"ab");
        assert_eq!(disk.changes(), 1);
    }
}
