//! Faults that not every run has: see [`FaultKind`].

use std::collections::BTreeMap;
use std::path::Path;

use zk_core::Input;
use zk_proto::Zxid;
use zk_store::{Disk, LogItem, LogStream, MemDisk};

use crate::Violation;
use crate::kinds::FaultKind;
use crate::server::open;
use crate::world::{Event, World};

impl World {
    /// Is this kind of fault part of the run?
    pub(crate) fn has(&self, kind: FaultKind) -> bool {
        !self.config.without.contains(&kind)
    }

    /// One of the rare faults, or none.
    pub(crate) fn rare_fault(&mut self, server: usize) {
        match self.rng.below(6) {
            0 if self.has(FaultKind::WipedDisk) => self.wipe(server),
            1 if self.has(FaultKind::WallClocks) => {
                let jump_ms = self.rng.within(0, 2 * CLOCK_JUMP_MS) as i64 - CLOCK_JUMP_MS as i64;
                self.trace(|| format!("fault: clock of {} jumps by {jump_ms} ms", server + 1));
                self.servers[server].wall_skew_ms += jump_ms;
            }
            2 if self.has(FaultKind::StoppedProcess) && self.may_stop(server) => {
                // Not beyond the faults: what waits for it keeps its order.
                let longest_us = self.faults_to_come_us();
                let pause_us = self.rng.within(500_000, 4_000_000).min(longest_us);
                self.trace(|| format!("fault: {} is stopped", server + 1));
                let host = &mut self.servers[server];
                host.paused_until_us = self.now_us + pause_us;
                host.is_stopped = true;
                host.stands_still(pause_us);
            }
            3 if self.has(FaultKind::Shutdown) && self.servers[server].is_up() => {
                self.trace(|| format!("fault: {} is asked to stop", server + 1));
                self.input(server, Input::Shutdown);
                let life = self.servers[server].life;
                let pause_us = self.rng.within(5_000, 200_000);
                self.after(pause_us, Event::Die { server, life });
            }
            4 if self.has(FaultKind::Malformed) => self.stranger(server),
            5 if self.has(FaultKind::LostDisks) => self.lose_disks(server),
            _ => {}
        }
    }

    /// The time that sessions of this leader have passed.
    pub(crate) fn running_us(&self, server: usize) -> u64 {
        if !self.has(FaultKind::TimeGivenBack) {
            return self.now_us;
        }
        self.now_us.saturating_sub(self.servers[server].stood_us)
    }

    /// Does a server run, and does it not stand still yet?
    pub(crate) fn may_stop(&self, server: usize) -> bool {
        let host = &self.servers[server];
        host.is_up() && host.paused_until_us <= self.now_us
    }

    /// A server loses its disk, while the others have everything and serve.
    /// Nothing else goes wrong until it serves again.
    fn wipe(&mut self, server: usize) {
        let lost = self.servers[server]
            .process
            .as_ref()
            .map(|process| process.tip);
        let is_sound = self.network.is_whole()
            && self.servers.iter().enumerate().all(|(other, host)| {
                let synced = host.process.as_ref().filter(|process| process.is_serving);
                let has_all = synced.is_some_and(|process| Some(process.synced) >= lost);
                let is_well = !host.is_disk_slow && host.paused_until_us <= self.now_us;
                (has_all && is_well || other == server) && host.is_up()
            });
        if !is_sound || self.servers[server].leads() {
            return;
        }
        self.trace(|| format!("fault: {} loses its disk", server + 1));
        let down_us = self.rng.within(20_000, 300_000);
        self.die_for(server, false, down_us);
        let host = &mut self.servers[server];
        host.disk = MemDisk::default();
        host.confirmed = Default::default();
        host.confirmed_log = None;
        self.wiped = Some(server);
    }

    /// Is a server that has lost its disk still without its data, or one that
    /// has kept its disk alone still to find out?
    pub(crate) fn is_one_empty(&self) -> bool {
        let process = self
            .wiped
            .map(|server| self.servers[server].process.as_ref());
        let is_empty =
            process.is_some_and(|process| process.is_none_or(|process| !process.is_serving));
        is_empty || self.is_life_open()
    }

    /// Opens a copy of a server's disk with one damaged sector. Its epoch files
    /// have no checksum, as in the reference, and stay whole.
    pub(crate) fn look_at_damage(&mut self, server: usize) -> Result<(), Violation> {
        let disk = &self.servers[server].disk;
        let (sound, damaged) = (disk.copy(), disk.copy());
        let dir = Path::new("/data/version-2");
        let mut names = damaged.list(dir).unwrap_or_default();
        names.retain(|name| name.starts_with("log.") || name.starts_with("snapshot."));
        names.sort();
        if names.is_empty() {
            return Ok(());
        }
        let path = dir.join(&names[self.rng.index(names.len())]);
        let mut content = damaged.read(&path).unwrap_or_default();
        let last_batch = last_batch(&content);
        let at = self.rng.index(content.len().max(1));
        let end = content.len().min(at + 512);
        let mut is_lost = false;
        match content.get_mut(at..end) {
            Some([first, ..]) if self.rng.percent(50) => *first ^= 1 << self.rng.below(8),
            Some(sector) => {
                sector.fill(0);
                is_lost = true;
            }
            None => {}
        }
        damaged.plant(&path, content);
        let (Ok((_, sound)), Ok((_, loaded))) = (
            open(&sound, self.commit_log_count),
            open(&damaged, self.commit_log_count),
        ) else {
            return Ok(());
        };
        let written: BTreeMap<_, _> = sound.entries.iter().cloned().collect();
        let same = |(zxid, data): &(Zxid, _)| written.get(zxid).is_none_or(|known| known == data);
        let lost = written.range(loaded.last_zxid().next()..);
        // What was written last may look as if it had never been finished: the
        // last batch, and what lies in the same sector.
        let is_in_last = |zxid: &Zxid| is_lost && last_batch.is_some_and(|first| *zxid >= first);
        let before = lost.filter(|(zxid, _)| !is_in_last(zxid));
        let is_last = before.skip(1).map(|(_, data)| data.len()).sum::<usize>() <= 512;
        if loaded.entries.iter().all(same) && is_last {
            return Ok(());
        }
        let detail = format!(
            "server {} loads {} of {} after damage at {at} of {}",
            server + 1,
            loaded.last_zxid(),
            sound.last_zxid(),
            path.display()
        );
        Err(Violation::new("damage is noticed", detail))
    }
}

/// The first transaction of a log that no later one says to be synced, going by
/// the marks in its bytes.
fn last_batch(log: &[u8]) -> Option<Zxid> {
    let marks = log
        .windows(16)
        .filter(|bytes| bytes.starts_with(b"ZKSYNCED"));
    let offsets = marks.filter_map(|bytes| bytes.last_chunk().copied().map(u64::from_be_bytes));
    let synced = offsets.max()?;
    let mut stream = LogStream::new(log);
    while let Ok(LogItem::Entry { offset, zxid, .. }) = stream.read() {
        if offset >= synced {
            return Some(zxid);
        }
    }
    None
}

/// Most by which a wall clock jumps.
const CLOCK_JUMP_MS: u64 = 3_600_000;
