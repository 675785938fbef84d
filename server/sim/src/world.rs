//! The clock, the queue of events, and the course of a run.

use std::collections::BTreeMap;

use zk_core::{ConnId, Millis, Now};
use zk_proto::Sid;
use zk_proto::quorum::Notification;

use crate::client::Client;
use crate::invariants::Invariants;
use crate::lost_disks::Keeper;
use crate::network::{End, Network, Wire};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::scenario::{CLOSINGS_MAX, HEAL_MS, SETTLE_MS, TICK_MS, WALL_START_MS};
use crate::server::Server;
use crate::session::{ClientConn, ClientMessage};
use crate::trace::Trace;
use crate::{FaultKind, SimConfig, Violation};

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
    /// A stranger says to a leader that it is this server.
    Impostor {
        server: usize,
        life: u64,
        sid: Sid,
        left: u64,
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
    /// A process ends that had this coming.
    Die {
        server: usize,
        life: u64,
    },
    Purge {
        server: usize,
        life: u64,
    },
    Heal,
    Look,
    /// How far is the server that has kept its disk?
    Keeper,
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
    /// No server connects from an address of its host.
    pub(crate) is_translated: bool,
    /// The server that has lost its disk last.
    pub(crate) wiped: Option<usize>,
    /// The server that has kept its disk when the others lost theirs.
    pub(crate) keeper: Option<Keeper>,
    /// Clients finish what they have begun.
    pub(crate) is_draining: bool,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    faults_until_us: u64,
    draining_since_us: u64,
    report: Report,
    violation: Option<Violation>,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let commit_log_count = [4, 16, 100][rng.index(3)];
        let snap_count = [10, 40, 1000][rng.index(3)];
        let has = |kind| !config.without.contains(&kind);
        let mut servers: Vec<_> = (0..config.servers).map(|_| Server::new()).collect();
        if has(FaultKind::WallClocks) {
            for server in &mut servers {
                server.wall_skew_ms = rng.within(0, 7_200_000) as i64 - 3_600_000;
            }
        }
        let crowd = has(FaultKind::Crowd) && rng.percent(10);
        let is_large = crowd && rng.percent(20);
        let crowd = match (crowd, is_large) {
            (false, _) => 0,
            (true, false) => rng.within(10, 40) as usize,
            (true, true) => rng.within(CLOSINGS_MAX as u64 + 10, CLOSINGS_MAX as u64 + 60) as usize,
        };
        let leaves_us = rng.within(1_500_000, 7_000_000);
        let mut clients: Vec<_> = (0..config.clients).map(|_| Client::default()).collect();
        clients.extend((0..crowd).map(|_| Client::of_crowd(leaves_us, is_large)));
        Self {
            now_us: 0,
            servers,
            network: Network::default(),
            conns: BTreeMap::new(),
            next_conn: 0,
            clients,
            checks: Invariants::default(),
            oracle: Oracle::default(),
            trace: Trace::new(config.trace),
            commit_log_count,
            snap_count,
            is_translated: config.seed % 8 == 3 && has(FaultKind::TranslatedAddresses),
            wiped: None,
            keeper: None,
            is_draining: false,
            queue: BTreeMap::new(),
            next_event: 0,
            faults_until_us: config.fault_ms * 1000,
            draining_since_us: 0,
            report: Report::default(),
            violation: None,
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
            let delay_us = 300_000 + self.clients[client].comes_after_us();
            self.after(delay_us, Event::Client { client });
        }
        self.after(1_000_000, Event::Fault);
        self.at(self.faults_until_us, Event::Look);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if self.config.until_ms.is_some_and(|until| at > until * 1000) {
                break;
            }
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
            self.violation.take().map_or(Ok(()), Err)?;
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
        if let Some(until_us) = self.stopped_until(&event) {
            self.at(until_us, event);
            return Ok(());
        }
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
            Event::Purge { server, life } if self.is_alive(server, life) => {
                return self.purge(server);
            }
            Event::Snapshot { server, life } if self.is_alive(server, life) => {
                return self.snapshot(server);
            }
            Event::Run { .. }
            | Event::Disk { .. }
            | Event::Tick { .. }
            | Event::Touch { .. }
            | Event::Purge { .. }
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
            Event::Impostor {
                server,
                life,
                sid,
                left,
            } => {
                if self.is_alive(server, life) {
                    self.impostor(server, sid, left);
                }
            }
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
            Event::Die { server, life } if self.is_alive(server, life) => self.die(server, false),
            Event::Crash { .. } | Event::Die { .. } => {}
            Event::Heal => self.heal(),
            Event::Keeper => return self.look_at_keeper(),
            Event::Look => {}
        }
        Ok(())
    }

    /// When a stopped process goes on, if this event is for one.
    fn stopped_until(&self, event: &Event) -> Option<u64> {
        let (server, life) = match event {
            Event::Run { server, life }
            | Event::Tick { server, life, .. }
            | Event::Touch { server, life }
            | Event::Disk { server, life }
            | Event::Snapshot { server, life }
            | Event::Purge { server, life } => (*server, *life),
            Event::ToServer { conn, .. } => self.conns.get(conn)?.at(),
            Event::Start { .. }
            | Event::Dial { .. }
            | Event::Stream { .. }
            | Event::Arrived { .. }
            | Event::Unstall { .. }
            | Event::Vote { .. }
            | Event::RepeatVote { .. }
            | Event::Impostor { .. }
            | Event::Client { .. }
            | Event::ToClient { .. }
            | Event::Fault
            | Event::Crash { .. }
            | Event::Die { .. }
            | Event::Heal
            | Event::Keeper
            | Event::Look => return None,
        };
        let host = &self.servers[server];
        let is_stopped = host.is_stopped && host.paused_until_us > self.now_us;
        (is_stopped && self.is_alive(server, life)).then_some(host.paused_until_us)
    }

    /// After the faults: is the ensemble whole again? True at the end.
    fn look(&mut self) -> Result<bool, Violation> {
        let since = self.now_us - self.faults_until_us;
        if since == 0 {
            self.trace(|| "no faults from now on".to_owned());
            self.heal();
            for server in 0..self.servers.len() {
                self.servers[server].is_disk_slow = false;
                self.servers[server].goes_on(self.now_us);
                self.start(server)?;
            }
            self.clients.iter_mut().for_each(Client::wake);
        }
        self.after(20_000, Event::Look);
        if !self.is_draining {
            let since_us = self.faults_until_us;
            let has_written = |client: &Client| client.is_done || client.acked_sent_us > since_us;
            if self.clients.iter().all(has_written) {
                self.report.healed_ms = since / 1000;
                self.is_draining = true;
                self.draining_since_us = self.now_us;
            } else if since > HEAL_MS * 1000 {
                let mut clients = self.clients.iter();
                let client = clients.position(|client| !has_written(client));
                let client = client.unwrap_or_default();
                let detail = format!(
                    "no write of client {client} succeeds within {HEAL_MS} ms: {}",
                    self.statuses()
                );
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
        if self.is_life_open() {
            return false;
        }
        let mut zxids = Vec::new();
        let parts = (0..self.servers.len()).filter(|server| !self.is_out(*server));
        for server in parts.map(|server| &self.servers[server]) {
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
        for server in (0..self.servers.len()).filter(|server| !self.is_out(*server)) {
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

    pub(crate) fn statuses(&self) -> String {
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

    /// Ends the run after this event if a check has failed; the first counts.
    pub(crate) fn require(&mut self, check: Result<(), Violation>) {
        if self.violation.is_none() {
            self.violation = check.err();
        }
    }

    pub(crate) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The clocks that a server sees.
    pub(crate) fn now(&self, server: usize) -> Now {
        let host = &self.servers[server];
        Now {
            mono: Millis((self.now_us + host.mono_start_us) / 1000),
            wall_ms: WALL_START_MS + (self.now_us / 1000) as i64 + host.wall_skew_ms,
        }
    }

    /// May something go wrong now?
    pub(crate) fn is_faulty(&self) -> bool {
        self.has_faults_to_come() && !self.is_one_empty()
    }

    /// For how long faults may still last.
    pub(crate) const fn faults_to_come_us(&self) -> u64 {
        self.faults_until_us.saturating_sub(self.now_us)
    }

    /// Is it the time of faults?
    pub(crate) const fn has_faults_to_come(&self) -> bool {
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
