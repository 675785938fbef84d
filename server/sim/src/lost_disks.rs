//! A majority loses its disks and begins another life of the ensemble. Later
//! the server that has kept its disk comes back with the data of the first one.

use zk_store::MemDisk;

use crate::invariants::Invariants;
use crate::scenario::HEAL_MS;
use crate::world::{Event, World};
use crate::{FaultKind, Violation};

/// The server that has kept its disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeper {
    server: usize,
    stage: Stage,
    since_us: u64,
    /// Writes that had been acknowledged when the disks were lost.
    acked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is down, and the others begin anew.
    Away,
    /// It runs and has the data of the first life.
    Back,
    /// It has found that its data is not that of the others, and stays out.
    Out,
    /// It has the tree of the others.
    Joined,
}

impl World {
    /// All servers but one lose their disks. What was acknowledged is lost with
    /// them: all checks begin anew, and so do the clients.
    ///
    /// Nothing else goes wrong until the one that is left has found out: a
    /// member of the new majority that is away at that moment leaves the others
    /// without a majority of their own.
    pub(crate) fn lose_disks(&mut self, keeper: usize) {
        let has_time = self.faults_to_come_us() > 4_000_000;
        let is_three = self.servers.len() == 3;
        if !has_time || !is_three || self.keeper.is_some() || !self.servers[keeper].is_up() {
            return;
        }
        self.trace(|| format!("fault: all but {} lose their disks", keeper + 1));
        self.heal();
        for server in 0..self.servers.len() {
            let down_us = self.rng.within(20_000, 300_000);
            self.die_for(server, false, down_us);
            let host = &mut self.servers[server];
            host.confirmed_log = None;
            if server != keeper {
                host.disk = MemDisk::default();
                host.confirmed = Default::default();
            }
        }
        self.checks = Invariants::default();
        self.oracle.forget();
        let clients = self.clients.iter_mut();
        clients.for_each(crate::client::Client::begin_anew);
        self.keeper = Some(Keeper {
            server: keeper,
            stage: Stage::Away,
            since_us: self.now_us,
            acked: self.oracle.acked,
        });
        self.after(LOOK_US, Event::Keeper);
    }

    /// Looks how far the server with the old data is.
    pub(crate) fn look_at_keeper(&mut self) -> Result<(), Violation> {
        let Some(keeper) = self.keeper else {
            return Ok(());
        };
        let server = keeper.server;
        let next = match keeper.stage {
            Stage::Away => {
                let is_new = self.oracle.acked >= keeper.acked + ACKED_MIN;
                let mut others = self.servers.iter().enumerate();
                let serve = others.all(|(other, host)| {
                    let process = host.process.as_ref();
                    other == server || process.is_some_and(|process| process.is_serving)
                });
                if is_new && serve {
                    Stage::Back
                } else {
                    Stage::Away
                }
            }
            Stage::Back => {
                let process = self.servers[server].process.as_ref();
                let problem = process.and_then(|process| process.replica.status().problem);
                match problem {
                    Some(problem) if problem.is_final() => Stage::Out,
                    Some(_) | None => Stage::Back,
                }
            }
            Stage::Out | Stage::Joined => return Ok(()),
        };
        self.set_stage(next);
        if next == Stage::Back && keeper.stage == Stage::Away {
            self.start(server)?;
        }
        if self.is_life_open() && self.now_us - keeper.since_us > 2 * HEAL_MS * 1000 {
            let detail = format!(
                "server {} has neither joined nor said why it does not: {}",
                server + 1,
                self.statuses()
            );
            return Err(Violation::new("who stays out says why", detail));
        }
        self.after(LOOK_US, Event::Keeper);
        Ok(())
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(keeper) = &mut self.keeper
            && keeper.stage != stage
        {
            keeper.stage = stage;
            let server = keeper.server;
            self.trace(|| format!("server {} with the old data: {stage:?}", server + 1));
        }
    }

    fn stage_of(&self, server: usize) -> Option<Stage> {
        let keeper = self.keeper.filter(|keeper| keeper.server == server);
        keeper.map(|keeper| keeper.stage)
    }

    /// Must the server not be started yet?
    pub(crate) fn is_away(&self, server: usize) -> bool {
        self.stage_of(server) == Some(Stage::Away)
    }

    /// Has the server found that it cannot take part?
    pub(crate) fn is_out(&self, server: usize) -> bool {
        self.stage_of(server) == Some(Stage::Out)
    }

    /// Is what the server has from another life of the ensemble?
    pub(crate) fn has_old_data(&self, server: usize) -> bool {
        let stage = self.stage_of(server);
        matches!(stage, Some(Stage::Away | Stage::Back | Stage::Out))
    }

    /// Is a server with old data still to come, or to find out?
    pub(crate) fn is_life_open(&self) -> bool {
        let stage = self.keeper.map(|keeper| keeper.stage);
        matches!(stage, Some(Stage::Away | Stage::Back))
    }

    /// The server takes the tree of its leader in place of what it has.
    pub(crate) fn takes_tree(&mut self, server: usize) {
        if self.has_old_data(server) {
            self.set_stage(Stage::Joined);
        }
    }

    /// The server does something that it may do only with the data of the others.
    pub(crate) fn is_one_history(&self, server: usize, what: &str) -> Result<(), Violation> {
        if !self.has(FaultKind::LostDisks) || !self.has_old_data(server) {
            return Ok(());
        }
        let detail = format!("server {} {what} with data of another life", server + 1);
        Err(Violation::new("two histories never mix", detail))
    }
}

/// How often the server with the old data is looked at.
const LOOK_US: u64 = 10_000;
/// The new majority has acknowledged this many writes before it comes back.
const ACKED_MIN: u64 = 3;
