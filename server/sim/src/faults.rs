//! What goes wrong.

use crate::world::{Event, World};

impl World {
    /// Something goes wrong, and again after a while.
    pub(crate) fn fault(&mut self) {
        if !self.has_faults_to_come() {
            return;
        }
        let pause_us = self.rng.within(50_000, 900_000);
        self.after(pause_us, Event::Fault);
        if self.is_one_empty() {
            return;
        }
        let n = self.servers.len();
        let some = self.rng.index(n);
        let leader = (0..n).find(|server| self.servers[*server].leads());
        match self.rng.below(115) {
            0..12 => self.crash(some),
            12..22 => self.crash(leader.unwrap_or(some)),
            22..32 => {
                self.trace(|| "fault: power cut of all".to_owned());
                for server in 0..n {
                    self.cut_power(server);
                }
            }
            32..40 => self.cut_off(some),
            40..48 => self.cut_off(leader.unwrap_or(some)),
            48..56 => self.leave_behind(some),
            56..62 => {
                let other = (some + 1 + self.rng.index(n - 1)) % n;
                self.trace(|| format!("fault: {} does not hear {}", other + 1, some + 1));
                self.network_mut().cut(some, other);
                self.heal_later();
            }
            62..72 => self.break_some_stream(),
            72..84 => {
                let all = self.rng.percent(40);
                for server in (0..n).filter(|server| all || *server == some) {
                    self.trace(|| format!("fault: slow disk of {}", server + 1));
                    self.servers[server].is_disk_slow = true;
                }
            }
            100..115 => {
                let server = if self.rng.percent(40) {
                    leader.unwrap_or(some)
                } else {
                    some
                };
                self.rare_fault(server);
            }
            84..92 if self.may_stop(some) => {
                let pause_us = self.rng.within(50_000, 1_500_000);
                self.trace(|| format!("fault: {} stands still", some + 1));
                self.servers[some].paused_until_us = self.now_us + pause_us;
                self.servers[some].is_stopped = false;
                self.servers[some].stands_still(pause_us);
            }
            _ => {
                self.heal();
                self.servers
                    .iter_mut()
                    .for_each(|server| server.is_disk_slow = false);
            }
        }
    }

    /// A disk fails at work on something after which others rely on it: the
    /// most telling moment. It comes back soon, perhaps without one of those
    /// that relied on it.
    pub(crate) fn fault_at_a_promise(&mut self, server: usize) {
        let is_power_cut = self.rng.percent(75);
        let down_us = self.rng.within(20_000, 300_000);
        self.die_for(server, is_power_cut, down_us);
        if self.rng.percent(60) {
            let other = self.other_than(server);
            if self.servers[other].is_up() {
                self.trace(|| format!("fault: {} is away for long", other + 1));
                let down_us = self.rng.within(1_000_000, 3_000_000);
                self.die_for(other, false, down_us);
            }
            self.heal();
        }
    }

    /// A server was elected: the moment to lose one of those that elected it,
    /// and to bring back who did not take part.
    pub(crate) fn fault_at_an_election(&mut self, leader: usize) {
        let n = self.servers.len();
        for server in (0..n).filter(|server| *server != leader) {
            if !self.servers[server].is_up() {
                let pause_us = self.rng.within(1_000, 40_000);
                self.after(pause_us, Event::Start { server });
            }
        }
        let other = (leader + 1 + self.rng.index(n - 1)) % n;
        if self.servers[other].is_up() {
            self.trace(|| format!("fault: {} dies after an election", other + 1));
            let (is_power_cut, down_us) =
                (self.rng.percent(50), self.rng.within(300_000, 1_500_000));
            self.die_for(other, is_power_cut, down_us);
        }
    }

    /// One server misses what the others do, and then has to be caught up by
    /// one of them while the other is away.
    fn leave_behind(&mut self, server: usize) {
        self.trace(|| format!("fault: {} is left behind", server + 1));
        let n = self.servers.len();
        for other in (0..n).filter(|other| *other != server) {
            self.network_mut().cut(server, other);
            self.network_mut().cut(other, server);
        }
        let pause_us = self.rng.within(300_000, 1_200_000);
        self.after(pause_us, Event::Heal);
        let other = self.other_than(server);
        self.after(pause_us, Event::Crash { server: other });
    }

    /// Preferably the one that leads, or is about to.
    fn other_than(&mut self, server: usize) -> usize {
        let n = self.servers.len();
        let leader = (0..n).find(|other| self.servers[*other].leads());
        let any = (server + 1 + self.rng.index(n - 1)) % n;
        leader
            .filter(|leader| *leader != server && self.rng.percent(75))
            .unwrap_or(any)
    }

    pub(crate) fn crash(&mut self, server: usize) {
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
