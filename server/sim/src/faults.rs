//! What goes wrong.

use crate::world::{Event, World};

impl World {
    /// Something goes wrong, and again after a while.
    pub(crate) fn fault(&mut self) {
        if !self.is_faulty() {
            return;
        }
        let pause_us = self.rng.within(50_000, 900_000);
        self.after(pause_us, Event::Fault);
        let n = self.servers.len();
        let some = self.rng.index(n);
        let leader = (0..n).find(|server| self.servers[*server].is_leader());
        match self.rng.below(100) {
            0..14 => self.crash(some),
            14..28 => self.crash(leader.unwrap_or(some)),
            28..34 => {
                self.trace(|| "fault: power cut of all".to_owned());
                for server in 0..n {
                    self.cut_power(server);
                }
            }
            34..46 => self.cut_off(some),
            46..56 => self.cut_off(leader.unwrap_or(some)),
            56..64 => {
                let other = (some + 1 + self.rng.index(n - 1)) % n;
                self.trace(|| format!("fault: {} does not hear {}", other + 1, some + 1));
                self.network_mut().cut(some, other);
                self.heal_later();
            }
            64..74 => self.break_some_stream(),
            74..82 => {
                self.trace(|| format!("fault: slow disk of {}", some + 1));
                self.servers[some].is_disk_slow = true;
            }
            82..90 => {
                let pause_us = self.rng.within(50_000, 1_500_000);
                self.trace(|| format!("fault: {} stands still", some + 1));
                self.servers[some].paused_until_us = self.now_us + pause_us;
            }
            _ => self.heal(),
        }
    }

    fn crash(&mut self, server: usize) {
        if !self.servers[server].is_up() {
            return;
        }
        if self.rng.percent(50) {
            self.trace(|| format!("fault: process {} dies", server + 1));
            self.die(server, false);
        } else {
            self.cut_power(server);
        }
    }

    fn cut_power(&mut self, server: usize) {
        if self.servers[server].is_up() {
            self.trace(|| format!("fault: power cut of {}", server + 1));
            self.die(server, true);
        }
    }

    fn cut_off(&mut self, server: usize) {
        self.trace(|| format!("fault: {} is cut off", server + 1));
        for other in (0..self.servers.len()).filter(|other| *other != server) {
            self.network_mut().cut(server, other);
            self.network_mut().cut(other, server);
        }
        self.heal_later();
    }

    fn heal_later(&mut self) {
        let pause_us = self.rng.within(100_000, 2_000_000);
        self.after(pause_us, Event::Heal);
    }
}
