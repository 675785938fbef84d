//! Appends batches of entries to the newest log.

use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use super::{HEADER_BYTES, Header, entry, mark};
use crate::layout::log_path;
use crate::{Disk, DiskFile, StoreConfig, StoreError};

/// Appends batches of entries, each by one write, and syncs on demand. Starts
/// a new file with the first batch after it was made or rolled.
#[derive(Debug)]
pub(crate) struct LogWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// 0 for none.
    pre_alloc_bytes: u64,
    force_sync: bool,
    bytes_max: Option<u64>,
    open: Option<OpenLog<D::File>>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct OpenLog<F> {
    file: F,
    path: PathBuf,
    /// Where the next entry goes.
    position: u64,
    /// Length of the file with its padding.
    allocated: u64,
    is_synced: bool,
    /// Is the file's name durable?
    is_linked: bool,
    /// Everything before this offset is durable; `None` where batches do not
    /// say so.
    synced: Option<u64>,
}

impl<D: Disk> LogWriter<D> {
    pub(crate) fn new(disk: D, dir: &Path, config: &StoreConfig) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            pre_alloc_bytes: config.pre_alloc_kib * 1024,
            force_sync: config.force_sync,
            bytes_max: config.log_bytes_max,
            open: None,
            buffer: Vec::new(),
        }
    }

    /// Writes the batch behind what is there. `last` is the end of the log.
    /// Returns the new end, which is not durable yet.
    pub(crate) fn append<'a>(
        &mut self,
        last: Zxid,
        entries: impl IntoIterator<Item = (Zxid, &'a [u8])>,
    ) -> Result<Zxid, StoreError> {
        if let (Some(log), Some(bytes_max)) = (&self.open, self.bytes_max)
            && log.position > bytes_max
        {
            self.roll()?;
        }
        self.buffer.clear();
        let mut end = last;
        let mut first = None;
        let synced = match &self.open {
            Some(log) => log.synced,
            None => self.header(last).is_marked.then_some(HEADER_BYTES as u64),
        };
        let mut entries = entries.into_iter().peekable();
        while let Some((zxid, data)) = entries.next() {
            if zxid <= end || entry::zxid_of(data) != Some(zxid) {
                return Err(StoreError::Order {
                    last: end,
                    entry: zxid,
                });
            }
            let is_edge = first.is_none() || entries.peek().is_none();
            let mark = synced.filter(|_| is_edge && mark::takes_mark(data));
            entry::write(&mut self.buffer, data, mark);
            first.get_or_insert(zxid);
            end = zxid;
        }
        let Some(first) = first else { return Ok(last) };
        if self.open.is_none() {
            let header = self.header(last);
            let mut log = OpenLog::create(&self.disk, log_path(&self.dir, first), header)?;
            log.write(&header.bytes(), self.pre_alloc_bytes)?;
            // A disk writes sectors in any order. Entries without the header
            // would be taken for damage.
            if self.force_sync {
                log.sync_content()?;
            }
            self.open = Some(log);
        }
        if let Some(log) = &mut self.open {
            log.write(&self.buffer, self.pre_alloc_bytes)?;
        }
        Ok(end)
    }

    /// Of a log that follows `last`. What is not synced cannot say so.
    fn header(&self, last: Zxid) -> Header {
        Header::after(last, self.force_sync)
    }

    /// Makes everything appended durable, by one `fdatasync`.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        match &mut self.open {
            Some(log) if self.force_sync => log.sync(&self.disk, &self.dir),
            _ => Ok(()),
        }
    }

    /// Lets the next batch go to a new file. Syncs first, so that a file never
    /// is durable before the end of the one before it.
    pub(crate) fn roll(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.open = None;
        Ok(())
    }
}

impl<F: DiskFile> OpenLog<F> {
    fn create<D: Disk<File = F>>(
        disk: &D,
        path: PathBuf,
        header: Header,
    ) -> Result<Self, StoreError> {
        let file = disk
            .create(&path)
            .map_err(StoreError::io("create", &path))?;
        Ok(Self {
            file,
            path,
            position: 0,
            allocated: 0,
            is_synced: false,
            is_linked: false,
            synced: header.is_marked.then_some(0),
        })
    }

    fn write(&mut self, bytes: &[u8], pre_alloc_bytes: u64) -> Result<(), StoreError> {
        self.is_synced = false;
        let end = self.position + bytes.len() as u64;
        if pre_alloc_bytes > 0 && end + PREALLOCATE_BEFORE_BYTES >= self.allocated {
            // A fresh file of the reference: its header and one extent.
            let extents = (end + PREALLOCATE_BEFORE_BYTES) / pre_alloc_bytes + 1;
            self.allocated = HEADER_BYTES as u64 + extents * pre_alloc_bytes;
            let allocated = self.file.preallocate(self.allocated);
            allocated.map_err(StoreError::io("extend", &self.path))?;
        }
        let written = self.file.write_at(self.position, bytes);
        written.map_err(StoreError::io("write to", &self.path))?;
        self.position = end;
        Ok(())
    }

    fn sync_content(&mut self) -> Result<(), StoreError> {
        if !self.is_synced {
            let synced = self.file.sync_data();
            synced.map_err(StoreError::io("sync", &self.path))?;
            self.is_synced = true;
            self.synced = self.synced.map(|_| self.position);
        }
        Ok(())
    }

    fn sync<D: Disk>(&mut self, disk: &D, dir: &Path) -> Result<(), StoreError> {
        self.sync_content()?;
        if !self.is_linked {
            disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
            self.is_linked = true;
        }
        Ok(())
    }
}

/// The file is extended when fewer bytes than this are left, as in the
/// reference.
const PREALLOCATE_BEFORE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;
    use crate::txn_log::{LogEnd, LogFile};

    fn config(pre_alloc_kib: u64) -> StoreConfig {
        StoreConfig {
            pre_alloc_kib,
            ..StoreConfig::at(Path::new("/"))
        }
    }

    #[test]
    fn a_log_beyond_its_limit_goes_on_in_another_file() {
        let disk = MemDisk::default();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        let limited = StoreConfig {
            log_bytes_max: Some(2500),
            ..config(0)
        };
        let mut writer = LogWriter::new(disk.clone(), dir, &limited);
        let mut last = Zxid::ZERO;
        for zxid in 1..=7 {
            let data = data(zxid);
            last = writer.append(last, [(Zxid(zxid), &data[..])]).unwrap();
        }
        let logs = crate::layout::logs(&disk, dir).unwrap();
        let firsts: Vec<_> = logs.iter().map(|log| log.first).collect();
        assert_eq!(firsts, [1, 4, 7].map(Zxid));
    }

    fn data(zxid: i64) -> Vec<u8> {
        let mut data = vec![1; 1000];
        data[12..20].copy_from_slice(&zxid.to_be_bytes());
        data
    }

    #[test]
    fn a_fresh_file_has_the_reference_size_and_grows_by_extents() {
        let disk = MemDisk::default();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        let mut writer = LogWriter::new(disk.clone(), dir, &config(8));
        let mut last = Zxid::ZERO;
        let mut sizes = Vec::new();
        for zxid in 1..=8 {
            let data = data(zxid);
            last = writer.append(last, [(Zxid(zxid), &data[..])]).unwrap();
            let bytes = disk.read(&log_path(dir, Zxid(1))).unwrap();
            let scan = LogFile::read(&bytes[..]).unwrap();
            assert_eq!(
                (scan.entries.len(), scan.tail),
                (zxid as usize, LogEnd::Clean)
            );
            sizes.push(bytes.len());
        }
        assert_eq!(sizes, [8208, 8208, 8208, 8208, 16400, 16400, 16400, 16400]);
        writer
            .append(last, [(Zxid(8), &data(8)[..])])
            .expect_err("not after 8");
        writer
            .append(last, [(Zxid(9), &data(8)[..])])
            .expect_err("another header");
    }

    #[test]
    fn a_batch_is_one_write_and_one_sync() {
        let disk = MemDisk::default();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        let mut writer = LogWriter::new(disk.clone(), dir, &config(0));
        let batch: Vec<_> = (1..=9).map(data).collect();
        let entries = |from: i64| {
            let numbered = batch.iter().zip(1..).skip(from as usize - 1);
            numbered.map(|(data, n)| (Zxid(n), &data[..])).take(4)
        };
        let last = writer.append(Zxid::ZERO, entries(1)).unwrap();
        writer.sync().unwrap();
        let before = disk.changes();
        writer.append(last, entries(5)).unwrap();
        writer.sync().unwrap();
        writer.sync().unwrap();
        assert_eq!(disk.changes() - before, 2);
    }
}
