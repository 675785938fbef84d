//! The disk works at its own pace, tells the driver, and fails.

use zk_core::{EpochFile, Input};

use crate::disk::{DiskWork, SNAPSHOTS_KEPT, duration_us};
use crate::world::{Event, World};
use crate::{FaultKind, Violation};

impl World {
    /// Performs the outputs that are for the disk.
    pub(crate) fn hand_to_disk(&mut self, server: usize, work: DiskWork) {
        let broken = self.config.broken;
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        let pushed = process.disk_queue.push(work, &mut process.store, broken);
        pushed.expect("faults are planned with the works only");
        self.plan_disk(server);
    }

    fn plan_disk(&mut self, server: usize) {
        let host = &mut self.servers[server];
        let (life, is_slow) = (host.life, host.is_disk_slow);
        let Some(process) = &mut host.process else {
            return;
        };
        if process.disk_queue.is_busy || process.disk_queue.is_idle() {
            return;
        }
        process.disk_queue.is_busy = true;
        let delay = duration_us(
            &mut self.rng,
            &process.disk_queue,
            is_slow,
            self.config.broken,
        );
        self.after(delay, Event::Disk { server, life });
    }

    /// The disk has had time for the next part of its work.
    pub(crate) fn disk(&mut self, server: usize) -> Result<(), Violation> {
        let (tail_max, broken) = (self.commit_log_count, self.config.broken);
        let Some(process) = &mut self.servers[server].process else {
            return Ok(());
        };
        let queue = &mut process.disk_queue;
        queue.is_busy = false;
        let is_promise = queue.has_promise();
        let syncs = queue.is_syncing();
        let is_truncation = !syncs && matches!(queue.works.front(), Some(DiskWork::Truncate(_)));
        let installs = match queue.works.front() {
            Some(DiskWork::Install(cut, _)) if !syncs => Some(cut.zxid()),
            Some(_) | None => None,
        };
        let odds = match (queue.has_history_before_promise(), is_promise) {
            (true, _) => 3,
            (_, true) => 12,
            _ => 400,
        };
        let fails_after =
            (self.is_faulty() && self.rng.below(odds) == 0).then(|| self.rng.below(6));
        let disk = self.servers[server].disk.clone();
        disk.fail_after(fails_after);
        let host = &mut self.servers[server];
        if is_truncation || installs.is_some() {
            host.confirmed_log = None;
        }
        let process = host.process.as_mut().expect("looked at above");
        let told = process
            .disk_queue
            .advance(&mut process.store, tail_max, broken);
        disk.fail_after(None);
        let told = match told {
            Ok(told) => told,
            Err(_) if fails_after.is_some() => {
                self.trace(|| format!("fault: disk of server {} fails", server + 1));
                if self.has(FaultKind::LingeringDiskError) && self.rng.percent(30) {
                    self.linger(server);
                } else if is_promise {
                    self.fault_at_a_promise(server);
                } else {
                    let is_power_cut = self.rng.percent(50);
                    self.die(server, is_power_cut);
                }
                return Ok(());
            }
            Err(error) => {
                let detail = format!("server {}: {error}", server + 1);
                return Err(Violation::new(
                    "the store does what it is asked for",
                    detail,
                ));
            }
        };
        if is_truncation {
            process.tip = self.checks.transaction(process.store.last_zxid());
            process.synced = process.tip;
        }
        if syncs {
            process.synced = process.store.last_zxid();
        }
        if let Some(zxid) = installs {
            process.synced = self.checks.transaction(zxid);
        }
        self.servers[server].confirmed_log = Some(process.synced);
        for told in told {
            if let Input::EpochSaved(file, epoch) = &told {
                let host = &mut self.servers[server];
                match file {
                    EpochFile::Accepted => host.confirmed.0 = *epoch,
                    EpochFile::Current => host.confirmed.1 = *epoch,
                }
                if let Some(process) = &mut host.process {
                    match file {
                        EpochFile::Accepted => process.epochs.0 = *epoch,
                        EpochFile::Current => process.epochs.1 = *epoch,
                    }
                }
            }
            self.input(server, told);
        }
        self.plan_disk(server);
        self.plan_snapshot(server);
        Ok(())
    }

    /// The disk does nothing any more, and the process notices late.
    fn linger(&mut self, server: usize) {
        let life = self.servers[server].life;
        if let Some(process) = &mut self.servers[server].process {
            process.disk_queue.is_broken = true;
        }
        let pause_us = self.rng.within(1_000, 400_000);
        self.after(pause_us, Event::Die { server, life });
    }

    /// Plans to remove what no restart needs any more.
    pub(crate) fn plan_purge(&mut self, server: usize, after_us: u64) {
        if self.has(FaultKind::Purge) {
            let life = self.servers[server].life;
            let pause_us = after_us + self.rng.below(50_000);
            self.after(pause_us, Event::Purge { server, life });
        }
    }

    /// Removes what no restart needs any more.
    pub(crate) fn purge(&mut self, server: usize) -> Result<(), Violation> {
        let fails_after = (self.is_faulty() && self.rng.below(10) == 0).then(|| self.rng.below(4));
        let host = &mut self.servers[server];
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        host.disk.fail_after(fails_after);
        let purged = process.store.purge(SNAPSHOTS_KEPT);
        host.disk.fail_after(None);
        match purged {
            Ok(_) => {
                let pause_us = self.rng.within(100_000, 1_500_000);
                self.plan_purge(server, pause_us);
                Ok(())
            }
            Err(_) if fails_after.is_some() => {
                self.trace(|| format!("fault: purging fails on server {}", server + 1));
                if self.rng.percent(30) {
                    let is_power_cut = self.rng.percent(50);
                    self.die(server, is_power_cut);
                } else {
                    let pause_us = self.rng.within(100_000, 1_500_000);
                    self.plan_purge(server, pause_us);
                }
                Ok(())
            }
            Err(error) => {
                let detail = format!("server {}: {error}", server + 1);
                Err(Violation::new(
                    "the store does what it is asked for",
                    detail,
                ))
            }
        }
    }

    fn plan_snapshot(&mut self, server: usize) {
        let life = self.servers[server].life;
        let process = self.servers[server].process.as_mut();
        if process.is_some_and(|process| process.disk_queue.has_snapshot()) {
            let delay = self.rng.within(1_000, 100_000);
            self.after(delay, Event::Snapshot { server, life });
        }
    }

    /// The second disk thread has written its snapshot.
    pub(crate) fn snapshot(&mut self, server: usize) -> Result<(), Violation> {
        let fails_after = (self.is_faulty() && self.rng.below(20) == 0).then(|| self.rng.below(8));
        let host = &mut self.servers[server];
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        host.disk.fail_after(fails_after);
        let told = process.disk_queue.finish_snapshot(&process.store);
        host.disk.fail_after(None);
        match told {
            Ok(told) => {
                told.into_iter().for_each(|told| self.input(server, told));
                Ok(())
            }
            Err(_) if fails_after.is_some() => {
                self.trace(|| format!("fault: a snapshot fails on server {}", server + 1));
                let dice = self.rng.below(10);
                if dice < 3 {
                    self.die(server, dice == 0);
                } else if dice < 7 {
                    self.plan_snapshot(server);
                } else if let Some(process) = &mut self.servers[server].process {
                    let told = process.disk_queue.give_up_snapshot();
                    told.into_iter().for_each(|told| self.input(server, told));
                }
                Ok(())
            }
            Err(error) => {
                let detail = format!("server {}: {error}", server + 1);
                Err(Violation::new(
                    "the store does what it is asked for",
                    detail,
                ))
            }
        }
    }
}
