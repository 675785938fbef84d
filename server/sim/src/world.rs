//! The clock, the queue of events, and the course of a run.

use std::collections::BTreeMap;

use zk_core::{ConnId, Millis, Now};
use zk_proto::quorum::Notification;

use crate::client::Client;
use crate::invariants::Invariants;
use crate::network::{End, Network, Wire};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::scenario::{HEAL_MS, SETTLE_MS, TICK_MS, WALL_START_MS};
use crate::server::Server;
use crate::session::{ClientConn, ClientMessage};
use crate::trace::Trace;
use crate::{SimConfig, Violation};

/// Something that happens at its time. Lives tell whether it still matters.
#[derive(Debug)]
pub(crate) enum Event {
    Start {
        server: usize,
    },
    Run {
        server: usize,
        life: u64,
    },
    Tick {
        server: usize,
        life: u64,
        planned: u64,
    },
    Touch {
        server: usize,
        life: u64,
    },
    Disk {
        server: usize,
        life: u64,
    },
    Snapshot {
        server: usize,
        life: u64,
    },
    Dial {
        from: End,
        to: usize,
        until: u64,
    },
    Stream {
        id: u64,
        to: usize,
        wire: Wire,
    },
    Arrived {
        at: End,
        wire: Wire,
    },
    Unstall {
        id: u64,
        to: usize,
    },
    Vote {
        from: usize,
        life: u64,
        to: usize,
        notification: Notification,
    },
    RepeatVote {
        from: usize,
        to: usize,
    },
    Client {
        client: usize,
    },
    ToServer {
        conn: ConnId,
        message: ClientMessage,
    },
    ToClient {
        client: usize,
        conn: ConnId,
        frames: Vec<u8>,
        close: bool,
    },
    Fault,
    Crash {
        server: usize,
    },
    Heal,
    Look,
}

/// What a sound run has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Writes that were acknowledged.
    pub acked: u64,
    /// Requests that were refused.
    pub failed: u64,
    /// Requests without an answer.
    pub unknown: u64,
    /// Transactions that were committed.
    pub committed: usize,
    /// Watch events that came.
    pub watch_events: u64,
    /// Sessions that clients found to be gone.
    pub sessions_ended: u64,
    /// Requests that succeeded, by operation code.
    pub succeeded: BTreeMap<i32, u64>,
    /// How often servers were started.
    pub starts: u64,
    /// From the last fault to the first write after it, in simulated ms.
    pub healed_ms: u64,
    /// Events.
    pub events: u64,
}

/// Servers, clients, network and disks under one seed.
pub struct World {
    pub(crate) config: SimConfig,
    pub(crate) now_us: u64,
    pub(crate) rng: Rng,
    pub(crate) servers: Vec<Server>,
    pub(crate) network: Network,
    pub(crate) conns: BTreeMap<ConnId, ClientConn>,
    pub(crate) next_conn: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) checks: Invariants,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) commit_log_count: usize,
    pub(crate) snap_count: u64,
    /// Clients finish what they have begun.
    pub(crate) is_draining: bool,
    /// When the newest acknowledged write was sent.
    pub(crate) last_acked_sent_us: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    faults_until_us: u64,
    draining_since_us: u64,
    report: Report,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let commit_log_count = [4, 16, 100][rng.index(3)];
        let snap_count = [10, 40, 1000][rng.index(3)];
        Self {
            now_us: 0,
            servers: (0..config.servers).map(|_| Server::new()).collect(),
            network: Network::default(),
            conns: BTreeMap::new(),
            next_conn: 0,
            clients: (0..config.clients).map(|_| Client::default()).collect(),
            checks: Invariants::default(),
            oracle: Oracle::default(),
            trace: Trace::new(config.trace),
            commit_log_count,
            snap_count,
            is_draining: false,
            last_acked_sent_us: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            faults_until_us: config.fault_ms * 1000,
            draining_since_us: 0,
            report: Report::default(),
            rng,
            config,
        }
    }

    /// Lets it run to its end.
    ///
    /// # Errors
    /// With the first property that does not hold.
    pub fn run(&mut self) -> Result<Report, Violation> {
        for server in 0..self.servers.len() {
            let delay = self.rng.below(50_000);
            self.after(delay, Event::Start { server });
        }
        for client in 0..self.clients.len() {
            self.after(300_000, Event::Client { client });
        }
        self.after(1_000_000, Event::Fault);
        self.at(self.faults_until_us, Event::Look);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now_us = at;
            self.report.events += 1;
            if self.report.events > self.config.events_max {
                let detail = format!("{} events and no end", self.config.events_max);
                return Err(Violation::new("progress", detail));
            }
            if matches!(event, Event::Look) {
                if self.look()? {
                    break;
                }
                continue;
            }
            self.happen(event)?;
        }
        self.report.acked = self.oracle.acked;
        self.report.failed = self.oracle.failed;
        self.report.unknown = self.oracle.unknown;
        self.report.watch_events = self.oracle.events;
        self.report.sessions_ended = self.oracle.sessions_ended;
        self.report.succeeded.clone_from(&self.oracle.succeeded);
        self.report.committed = self.checks.committed();
        self.report.starts = self.servers.iter().map(|server| server.life).sum();
        Ok(self.report.clone())
    }

    /// The trace so far; empty unless it was asked for.
    #[must_use]
    pub fn take_trace(&mut self) -> String {
        self.trace.take()
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Start { server } => return self.start(server),
            Event::Run { server, life } if self.is_alive(server, life) => {
                return self.run_batch(server);
            }
            Event::Disk { server, life } if self.is_alive(server, life) => {
                return self.disk(server);
            }
            Event::Tick {
                server,
                life,
                planned,
            } if self.is_alive(server, life) => {
                self.tick(server, planned);
            }
            Event::Touch { server, life } if self.is_alive(server, life) => {
                self.hand_in_touched(server);
                self.after(TICK_MS * 500, Event::Touch { server, life });
            }
            Event::Snapshot { server, life } if self.is_alive(server, life) => {
                return self.snapshot(server);
            }
            Event::Run { .. }
            | Event::Disk { .. }
            | Event::Tick { .. }
            | Event::Touch { .. }
            | Event::Snapshot { .. } => {}
            Event::Dial { from, to, until } => self.dialing(from, to, until),
            Event::Stream { id, to, wire } => self.stream(id, to, wire),
            Event::Unstall { id, to } => self.unstall(id, to),
            Event::Arrived { at, wire } => self.arrived(at, wire),
            Event::Vote {
                from,
                life,
                to,
                notification,
            } => {
                self.voted(from, life, to, notification);
            }
            Event::RepeatVote { from, to } => self.repeat_vote(from, to),
            Event::Client { client } => self.client(client),
            Event::ToServer { conn, message } => self.at_server(conn, message),
            Event::ToClient {
                client,
                conn,
                frames,
                close,
            } => {
                return self.at_client(client, conn, &frames, close);
            }
            Event::Fault => self.fault(),
            Event::Crash { server } if self.is_faulty() => self.crash(server),
            Event::Crash { .. } => {}
            Event::Heal => self.heal(),
            Event::Look => {}
        }
        Ok(())
    }

    /// After the faults: is the ensemble whole again? True at the end.
    fn look(&mut self) -> Result<bool, Violation> {
        let since = self.now_us - self.faults_until_us;
        if since == 0 {
            self.trace(|| "no faults from now on".to_owned());
            self.heal();
            for server in 0..self.servers.len() {
                self.servers[server].is_disk_slow = false;
                self.servers[server].paused_until_us = 0;
                self.start(server)?;
            }
        }
        self.after(20_000, Event::Look);
        if !self.is_draining {
            if self.last_acked_sent_us > self.faults_until_us {
                self.report.healed_ms = since / 1000;
                self.is_draining = true;
                self.draining_since_us = self.now_us;
            } else if since > HEAL_MS * 1000 {
                let detail = format!("no write succeeds within {HEAL_MS} ms: {}", self.statuses());
                return Err(Violation::new("heals", detail));
            }
            return Ok(false);
        }
        if self.is_settled() {
            self.check_end()?;
            return Ok(true);
        }
        if self.now_us - self.draining_since_us > SETTLE_MS * 1000 {
            let detail = format!("not within {SETTLE_MS} ms: {}", self.statuses());
            return Err(Violation::new("settles", detail));
        }
        Ok(false)
    }

    fn is_settled(&self) -> bool {
        let mut zxids = Vec::new();
        for server in &self.servers {
            let Some(process) = &server.process else {
                return false;
            };
            let view = process.replica.view();
            let guard = view.read();
            if !process.is_serving || !guard.tree().sessions().is_empty() {
                return false;
            }
            zxids.push(self.checks.transaction(guard.tree().last_zxid()));
        }
        zxids.iter().all(|zxid| *zxid == zxids[0])
            && self.clients.iter().all(|client| client.is_done)
    }

    fn check_end(&mut self) -> Result<(), Violation> {
        for server in 0..self.servers.len() {
            let who = self.who(server);
            if let Some(process) = &self.servers[server].process {
                let view = process.replica.view();
                let guard = view.read();
                self.checks.is_complete(who, guard.tree().last_zxid())?;
                self.oracle.check(server + 1, guard.tree())?;
            }
        }
        Ok(())
    }

    fn statuses(&self) -> String {
        let status = |server: &Server| match &server.process {
            Some(process) => format!("{:?}", process.replica.status()),
            None => "down".to_owned(),
        };
        self.servers
            .iter()
            .map(status)
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub(crate) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The clocks that servers see.
    pub(crate) const fn now(&self) -> Now {
        let ms = self.now_us / 1000;
        Now {
            mono: Millis(ms),
            wall_ms: WALL_START_MS + ms as i64,
        }
    }

    /// May something go wrong now?
    pub(crate) const fn is_faulty(&self) -> bool {
        self.now_us < self.faults_until_us
    }

    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.next_event += 1;
        self.queue
            .insert((at_us.max(self.now_us), self.next_event), event);
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        self.trace.line(self.now_us, line);
    }
}
