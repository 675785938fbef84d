//! The disk works at its own pace, tells the driver, and fails.

use zk_core::{EpochFile, Input};

use crate::Violation;
use crate::disk::{DiskWork, duration_us};
use crate::world::{Event, World};

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
        let is_truncation =
            !queue.is_syncing() && matches!(queue.works.front(), Some(DiskWork::Truncate(_)));
        let odds = match (queue.has_history_before_promise(), is_promise) {
            (true, _) => 3,
            (_, true) => 12,
            _ => 400,
        };
        let fails_after =
            (self.is_faulty() && self.rng.below(odds) == 0).then(|| self.rng.below(6));
        let disk = self.servers[server].disk.clone();
        disk.fail_after(fails_after);
        let process = self.servers[server]
            .process
            .as_mut()
            .expect("looked at above");
        let told = process
            .disk_queue
            .advance(&mut process.store, tail_max, broken);
        disk.fail_after(None);
        let told = match told {
            Ok(told) => told,
            Err(_) if fails_after.is_some() => {
                self.trace(|| format!("fault: disk of server {} fails", server + 1));
                if is_promise {
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
        }
        for told in told {
            if let Input::EpochSaved(file, epoch) = &told {
                let confirmed = &mut self.servers[server].confirmed;
                match file {
                    EpochFile::Accepted => confirmed.0 = *epoch,
                    EpochFile::Current => confirmed.1 = *epoch,
                }
            }
            self.input(server, told);
        }
        self.plan_disk(server);
        self.plan_snapshot(server);
        Ok(())
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
                self.trace(|| format!("fault: disk of server {} fails", server + 1));
                let is_power_cut = self.rng.percent(50);
                self.die(server, is_power_cut);
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
