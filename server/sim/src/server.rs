//! One simulated server: replica, store and what a shell keeps for them.

use std::collections::{BTreeMap, BTreeSet};

use zk_core::auth::AuthConfig;
use zk_core::config::{ReplicaConfig, VoteConfig, ZnodeConfig};
use zk_core::tree::Tree;
use zk_core::{Ensemble, Input, LinkId, LogEntry, Member, Millis, Output, Replica, Role};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::txn::{Txn, decode_txn};
use zk_proto::{Epoch, SessionId, Sid, Xid, Zxid};
use zk_store::{MemDisk, Store, StoreConfig};

use crate::disk::{DiskQueue, DiskWork, rebuild};
use crate::invariants::impostors::Impostors;
use crate::invariants::limits::Closings;
use crate::invariants::moves::Moves;
use crate::invariants::{Invariants, Life, expiry, limits, promises, replies};
use crate::network::{End, Wire};
use crate::scenario::{
    CONTAINER_CHECK_INTERVAL_MS, INIT_LIMIT, SESSION_TIMEOUT_MS, SYNC_LIMIT, TICK_MS, TXN_BYTES_MAX,
};
use crate::world::{Event, World};
use crate::{Broken, FaultKind, Violation, brief};

/// A host and the process on it.
pub(crate) struct Server {
    pub(crate) disk: MemDisk,
    /// How often it was started.
    pub(crate) life: u64,
    pub(crate) process: Option<Process>,
    pub(crate) is_disk_slow: bool,
    /// Stands still until then.
    pub(crate) paused_until_us: u64,
    /// While it stands still, nothing of the process runs: neither its disk
    /// threads nor what reads its sockets.
    pub(crate) is_stopped: bool,
    /// For how long it stood still up to now, all in all; less than a tick at
    /// once does not count.
    pub(crate) stood_us: u64,
    /// How far its wall clock is ahead.
    pub(crate) wall_skew_ms: i64,
    /// Where its monotonic clock began with this life.
    pub(crate) mono_start_us: u64,
    /// Epochs that the disk has confirmed.
    pub(crate) confirmed: (Epoch, Epoch),
    /// Newest transaction that the disk has confirmed; `None` while it
    /// rewrites its history.
    pub(crate) confirmed_log: Option<Zxid>,
}

/// A running server.
pub(crate) struct Process {
    pub(crate) replica: Replica,
    pub(crate) store: Store<MemDisk>,
    pub(crate) disk_queue: DiskQueue,
    inbox: Vec<Input>,
    is_run_planned: bool,
    planned_tick_us: u64,
    links: BTreeSet<LinkId>,
    touched: BTreeMap<SessionId, Millis>,
    /// Newest transaction of the log, whether written or not.
    pub(crate) tip: Zxid,
    /// What it has was copied from a leader in place of what it has kept, and
    /// it has not made that leader's epoch its own.
    pub(crate) has_copy: bool,
    /// Newest transaction that the disk has synced.
    pub(crate) synced: Zxid,
    /// Accepted and current epoch as it found them or as the disk has
    /// confirmed them since.
    pub(crate) epochs: (Epoch, Epoch),
    /// Newest epoch that the server has made its own, durable or not.
    pub(crate) current_epoch: Epoch,
    /// The link that it has dialed last, as a follower.
    dialed: Option<LinkId>,
    /// Who has dialed the links that it has accepted.
    pub(crate) learners: BTreeMap<LinkId, usize>,
    /// Who has accepted its epoch since it began to lead.
    pub(crate) epoch_acks: BTreeSet<usize>,
    /// Sessions that the replica was told of since the last PING.
    pub(crate) handed_in: BTreeSet<SessionId>,
    /// When it, as the leader, was last told of a session.
    pub(crate) heard: BTreeMap<SessionId, u64>,
    /// Leader: which server has which session.
    pub(crate) moves: Moves,
    /// Leader: sessions that it closes.
    closings: Closings,
    /// Leader: who says to be somebody.
    pub(crate) impostors: Impostors,
    /// Since when it leads.
    reign_since_us: u64,
    pub(crate) role: Role,
    pub(crate) is_serving: bool,
    /// When the last batch ended.
    was_serving: bool,
    epoch: Epoch,
    /// In which epoch it led when the batch began.
    led: Option<Epoch>,
    delivered: Option<Zxid>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            disk: MemDisk::default(),
            life: 0,
            process: None,
            is_disk_slow: false,
            paused_until_us: 0,
            is_stopped: false,
            stood_us: 0,
            wall_skew_ms: 0,
            mono_start_us: 0,
            confirmed: (Epoch(0), Epoch(0)),
            confirmed_log: None,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// It is about to stand still for so long.
    pub(crate) const fn stands_still(&mut self, pause_us: u64) {
        if pause_us > TICK_MS * 1000 {
            self.stood_us += pause_us;
        }
    }

    /// It does not stand still any longer, perhaps sooner than was planned.
    pub(crate) const fn goes_on(&mut self, now_us: u64) {
        let left_us = self.paused_until_us.saturating_sub(now_us);
        self.stood_us = self.stood_us.saturating_sub(left_us);
        self.paused_until_us = 0;
        self.is_stopped = false;
    }

    pub(crate) fn holds(&self, link: LinkId) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.links.contains(&link))
    }

    pub(crate) fn hold(&mut self, link: LinkId) {
        if let Some(process) = &mut self.process {
            process.links.insert(link);
        }
    }

    pub(crate) fn release(&mut self, link: LinkId) {
        if let Some(process) = &mut self.process {
            process.links.remove(&link);
        }
    }

    /// Does it lead, or is it about to?
    pub(crate) fn leads(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| process.replica.status().role == Role::Leading)
    }
}

impl World {
    pub(crate) fn is_alive(&self, server: usize, life: u64) -> bool {
        let server = &self.servers[server];
        server.is_up() && server.life == life
    }

    pub(crate) fn who(&self, server: usize) -> Life {
        Life {
            sid: server as i64 + 1,
            life: self.servers[server].life,
        }
    }

    /// Starts a server from its disk. It may fail in the middle of that.
    pub(crate) fn start(&mut self, server: usize) -> Result<(), Violation> {
        if self.servers[server].is_up() || self.is_away(server) {
            return Ok(());
        }
        let seed = self.rng.next();
        let fails_after = (self.is_faulty() && self.rng.percent(5)).then(|| self.rng.below(8));
        if self.has(FaultKind::DamagedSector) && self.rng.percent(10) {
            self.look_at_damage(server)?;
        }
        let host = &mut self.servers[server];
        host.life += 1;
        host.is_disk_slow = false;
        host.paused_until_us = 0;
        host.mono_start_us = seed % MONO_START_US_MAX;
        host.disk.fail_after(fails_after);
        let opened = open(&host.disk, self.commit_log_count);
        host.disk.fail_after(None);
        let (store, loaded) = match opened {
            Ok(opened) => opened,
            Err(_) if fails_after.is_some() => {
                self.trace(|| format!("server {} dies while it starts", server + 1));
                self.die(server, true);
                return Ok(());
            }
            Err(error) => {
                let detail = format!("server {}: {error}", server + 1);
                return Err(Violation::new(
                    "the store loads what it has written",
                    detail,
                ));
            }
        };
        let who = self.who(server);
        let host = &mut self.servers[server];
        let found = (
            loaded.accepted_epoch.unwrap_or_default(),
            loaded.current_epoch.unwrap_or_default(),
        );
        Invariants::epochs(who, host.confirmed, found)?;
        let snapshot = loaded
            .snapshot
            .as_ref()
            .map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
        let entries = loaded.entries.iter().map(|(zxid, data)| (*zxid, &data[..]));
        let tip = if self.has_old_data(server) {
            loaded.last_zxid()
        } else {
            self.checks.recovered(who, snapshot, entries)?
        };
        let confirmed = self.servers[server].confirmed_log.replace(tip);
        promises::outlives(who, confirmed.unwrap_or(tip), tip)?;
        let config = config(
            server,
            self.servers.len(),
            self.commit_log_count,
            self.snap_count,
            seed,
            who.life,
        );
        let now = self.now(server);
        // Without the file the newest transaction's or snapshot's epoch is current.
        let epoch = found.1.max(loaded.last_zxid().epoch());
        let mut replica = Replica::new(config, rebuild(&loaded), now);
        let mut outputs = Vec::new();
        replica.start(now, &mut outputs);
        drop(replica.finish(now, &mut outputs));
        self.servers[server].process = Some(Process {
            replica,
            store,
            disk_queue: DiskQueue::default(),
            inbox: Vec::new(),
            is_run_planned: false,
            planned_tick_us: u64::MAX,
            links: BTreeSet::new(),
            touched: BTreeMap::new(),
            tip,
            has_copy: false,
            synced: tip,
            epochs: found,
            current_epoch: epoch,
            dialed: None,
            learners: BTreeMap::new(),
            epoch_acks: BTreeSet::new(),
            handed_in: BTreeSet::new(),
            heard: BTreeMap::new(),
            moves: Moves::default(),
            closings: Closings::default(),
            impostors: Impostors::default(),
            reign_since_us: 0,
            role: Role::Looking,
            is_serving: false,
            was_serving: false,
            epoch: found.1,
            led: None,
            delivered: None,
        });
        let life = who.life;
        self.trace(|| {
            let (accepted, current) = found;
            format!(
                "server {} starts, life {life}, tip {tip}, epochs {accepted} {current}",
                server + 1
            )
        });
        self.perform(server, outputs)?;
        self.plan_tick(server);
        self.after(TICK_MS * 500, Event::Touch { server, life });
        self.plan_purge(server, 0);
        self.repeat_votes_to(server);
        Ok(())
    }

    /// The process ends, perhaps with its host's memory, and is started again
    /// after a while.
    pub(crate) fn die(&mut self, server: usize, is_power_cut: bool) {
        let down_us = self.rng.within(20_000, 1_500_000);
        self.die_for(server, is_power_cut, down_us);
    }

    pub(crate) fn die_for(&mut self, server: usize, is_power_cut: bool, down_us: u64) {
        if self.has_old_data(server) {
            // Started together with others it would take part again.
            return;
        }
        if is_power_cut {
            let reorders = self.has(FaultKind::ReorderedWrites) && self.rng.percent(50);
            let (disk, rng) = (&self.servers[server].disk, &mut self.rng);
            if reorders {
                disk.power_cut_reordered(&mut |n| rng.below(n));
            } else {
                disk.power_cut(&mut |n| rng.below(n));
            }
        }
        let now_us = self.now_us;
        let host = &mut self.servers[server];
        host.disk.fail_after(None);
        host.goes_on(now_us);
        host.process = None;
        self.drop_streams(server, !is_power_cut);
        self.drop_sessions(server);
        self.after(down_us, Event::Start { server });
    }

    /// Hands an input to a server's driver.
    pub(crate) fn input(&mut self, server: usize, input: Input) {
        let life = self.servers[server].life;
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        process.inbox.push(input);
        if !process.is_run_planned {
            process.is_run_planned = true;
            let delay = self.rng.below(400);
            let at = (self.now_us + delay).max(self.servers[server].paused_until_us);
            self.at(at, Event::Run { server, life });
        }
    }

    /// The driver takes a batch.
    pub(crate) fn run_batch(&mut self, server: usize) -> Result<(), Violation> {
        let now = self.now(server);
        if self.servers[server].paused_until_us > self.now_us {
            let life = self.servers[server].life;
            self.at(
                self.servers[server].paused_until_us,
                Event::Run { server, life },
            );
            return Ok(());
        }
        let Some(process) = &mut self.servers[server].process else {
            return Ok(());
        };
        process.is_run_planned = false;
        process.led = (process.role == Role::Leading).then_some(process.epoch);
        let mut outputs = Vec::new();
        let inbox = std::mem::take(&mut process.inbox);
        let mut heard = Vec::new();
        for input in inbox {
            self.trace.line(self.now_us, || {
                format!("{} <- {}", server + 1, brief::input(&input))
            });
            self.is_taken(server, &input, &mut heard);
            let before = outputs.len();
            if let Some(process) = &mut self.servers[server].process {
                process.replica.step(now, input, &mut outputs);
            }
            self.is_told(server, &outputs[before..]);
        }
        if let Some(process) = &mut self.servers[server].process {
            drop(process.replica.finish(now, &mut outputs));
        }
        self.perform(server, outputs)?;
        if let Some(process) = &mut self.servers[server].process {
            process.heard.extend(heard);
        }
        self.observe(server)?;
        self.serve_all(server);
        self.plan_tick(server);
        Ok(())
    }

    /// Looks at what clients of this server can see now.
    fn observe(&mut self, server: usize) -> Result<(), Violation> {
        let who = self.who(server);
        let Some(process) = &mut self.servers[server].process else {
            return Ok(());
        };
        // What it delivered before it gave up in the same batch counts.
        if !std::mem::replace(&mut process.was_serving, process.is_serving) && !process.is_serving {
            process.delivered = None;
            return Ok(());
        }
        let view = process.replica.view();
        let guard = view.read();
        let zxid = guard.tree().last_zxid();
        if process.delivered == Some(zxid) {
            return Ok(());
        }
        if process.delivered.is_some_and(|before| zxid < before) {
            let detail = format!("{who} goes back to {zxid}");
            return Err(Violation::new("monotonic delivery", detail));
        }
        if guard.tree().digest_mismatches() > 0 {
            let detail = format!("{who} at {zxid}");
            return Err(Violation::new("digests of transactions", detail));
        }
        process.delivered = Some(zxid);
        let follows = process.role == Role::Following && process.is_serving;
        if let Some(link) = process.dialed.filter(|_| follows) {
            let life = who.life;
            if let Some((tap, true)) = self.network.tap(End { server, life, link }) {
                tap.shows(who, self.checks.transaction(zxid))?;
            }
        }
        self.checks.delivered(who, guard.tree(), process.tip)
    }

    fn plan_tick(&mut self, server: usize) {
        let life = self.servers[server].life;
        let (now, start_us) = (self.now_us, self.servers[server].mono_start_us);
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        let Some(deadline) = process.replica.next_deadline() else {
            return;
        };
        let at = (deadline.0 * 1000).saturating_sub(start_us).max(now + 1);
        if at < process.planned_tick_us {
            process.planned_tick_us = at;
            self.at(
                at,
                Event::Tick {
                    server,
                    life,
                    planned: at,
                },
            );
        }
    }

    pub(crate) fn tick(&mut self, server: usize, planned: u64) {
        let now = self.now(server);
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        if process.planned_tick_us != planned {
            return;
        }
        process.planned_tick_us = u64::MAX;
        if process
            .replica
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.mono)
        {
            self.hand_in_touched(server);
            self.input(server, Input::Tick);
        } else {
            self.plan_tick(server);
        }
    }

    pub(crate) fn touch(&mut self, server: usize, session: SessionId) {
        let now = self.now(server).mono;
        if let Some(process) = &mut self.servers[server].process {
            process.touched.insert(session, now);
        }
    }

    pub(crate) fn hand_in_touched(&mut self, server: usize) {
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        if !process.touched.is_empty() {
            let touched = std::mem::take(&mut process.touched).into_iter().collect();
            self.input(server, Input::Touched(touched));
        }
    }

    fn perform(&mut self, server: usize, outputs: Vec<Output>) -> Result<(), Violation> {
        let life = self.servers[server].life;
        let end = |link| End { server, life, link };
        for output in outputs {
            if !self.servers[server].is_up() {
                return Ok(());
            }
            self.trace(|| format!("{} -> {}", server + 1, brief::output(&output)));
            match output {
                Output::Connect {
                    link,
                    to,
                    within_ms,
                } => {
                    self.servers[server].hold(link);
                    if let Some(process) = &mut self.servers[server].process {
                        process.dialed = Some(link);
                    }
                    self.dial(end(link), to, within_ms);
                }
                Output::Close { link, .. } => self.close(end(link)),
                Output::Send { link, packet } => {
                    self.packet_is_sent(end(link), &packet);
                    self.send_packet(end(link), packet);
                }
                Output::SendSnap { link, cut } => {
                    self.snap_is_sent(end(link), cut.zxid());
                    self.send(end(link), Wire::Snap(cut));
                }
                Output::Notify { to, notification } => self.vote(server, to, notification),
                Output::Append(entries) => {
                    self.check_append(server, &entries)?;
                    self.hand_to_disk(server, DiskWork::Append(entries));
                }
                Output::SaveEpoch(file, epoch) => {
                    self.epoch_is_saved(server, file, epoch);
                    self.hand_to_disk(server, DiskWork::SaveEpoch(file, epoch));
                }
                Output::Truncate(zxid) => self.hand_to_disk(server, DiskWork::Truncate(zxid)),
                Output::InstallSnapshot { cut, keeps_old } => {
                    self.tree_is_taken(server, cut.zxid(), keeps_old)?;
                    self.hand_to_disk(server, DiskWork::Install(cut, keeps_old));
                }
                Output::SaveSnapshot(cut) => {
                    self.hand_to_disk(server, DiskWork::SaveSnapshot(cut));
                }
                Output::Discard(_) => {}
                Output::ToClient(to) => self.answer_client(to),
                Output::SessionOpened {
                    conn,
                    session,
                    timeout_ms,
                    frame,
                } => {
                    self.session_opened(conn, session, timeout_ms, frame);
                }
                Output::SessionRefused { conn, frame } => self.session_refused(conn, frame),
                Output::CloseClient { conn, .. } => self.close_client(conn),
                Output::RoleChanged {
                    role,
                    serving,
                    epoch,
                    ..
                } => {
                    self.role_changed(server, role, serving, epoch)?;
                }
                Output::Halt { reason } => {
                    let detail = format!("server {} halts: {reason}", server + 1);
                    return Err(Violation::new("no halt with a sound disk", detail));
                }
            }
        }
        Ok(())
    }

    /// A build that commits without a quorum hears the ACK of each proposal
    /// as soon as that is sent, and not when it comes.
    fn send_packet(&mut self, from: End, packet: QuorumPacket) {
        if self.config.broken == Some(Broken::CommitWithoutQuorum) {
            let kind = packet.known_kind();
            if kind == Some(PacketKind::Proposal) && self.forge(from, packet.zxid) {
                let (link, packet) = (
                    from.link,
                    QuorumPacket::new(PacketKind::Ack, packet.zxid, None),
                );
                self.input(from.server, Input::Packet { link, packet });
            }
            if kind == Some(PacketKind::Ack) && self.is_forged(from, packet.zxid) {
                return;
            }
        }
        self.send(from, Wire::Packet(packet));
    }

    fn role_changed(
        &mut self,
        server: usize,
        role: Role,
        serving: bool,
        epoch: Epoch,
    ) -> Result<(), Violation> {
        if serving {
            self.is_one_history(server, "serves")?;
        }
        let (who, running_us) = (self.who(server), self.running_us(server));
        let Some(process) = &mut self.servers[server].process else {
            return Ok(());
        };
        let is_new = serving && (!process.is_serving || process.epoch != epoch);
        (process.role, process.is_serving, process.epoch) = (role, serving, epoch);
        process.handed_in.clear();
        if role == Role::Leading && !serving {
            process.epoch_acks.clear();
            if self.is_faulty() && self.rng.percent(8) {
                self.fault_at_an_election(server);
            }
            return Ok(());
        }
        if is_new && role == Role::Leading {
            let tip = process.tip;
            process.heard.clear();
            process.reign_since_us = running_us;
            return self.checks.established(who, epoch, tip);
        }
        Ok(())
    }

    /// A leader's tree takes the place of what the server has.
    fn tree_is_taken(
        &mut self,
        server: usize,
        zxid: Zxid,
        keeps_old: bool,
    ) -> Result<(), Violation> {
        let who = self.who(server);
        let new = self.checks.transaction(zxid);
        let is_of_other_life = self.has_old_data(server);
        // What its leader has proposed comes after the tree.
        let process = self.servers[server].process.as_ref();
        let leader = process.and_then(|process| process.replica.status().leader);
        let leads = leader.and_then(|sid| self.servers[(sid.0 - 1) as usize].process.as_ref());
        let known = leads.map_or(new, |leads| leads.tip.max(new));
        if let Some(process) = &mut self.servers[server].process {
            let tip = std::mem::replace(&mut process.tip, new);
            // What was copied from a leader just now is worth nothing.
            let has_own = tip != Zxid::ZERO && !process.has_copy;
            if has_own && !keeps_old {
                let tip = if is_of_other_life {
                    Zxid(i64::MAX)
                } else {
                    tip
                };
                self.checks.replaced(who, tip, known)?;
            }
            process.has_copy |= keeps_old;
        }
        self.takes_tree(server);
        Ok(())
    }

    fn check_append(&mut self, server: usize, entries: &[LogEntry]) -> Result<(), Violation> {
        self.is_one_history(server, "goes on logging")?;
        let (who, running_us) = (self.who(server), self.running_us(server));
        let Some(process) = &mut self.servers[server].process else {
            return Ok(());
        };
        // It may have proposed and then given up within one batch.
        let leads = (process.role == Role::Leading).then_some(process.epoch);
        let leads = leads.or(process.led);
        for entry in entries {
            self.checks
                .append(who, process.tip, entry.zxid, &entry.data, leads)?;
            process.tip = entry.zxid;
            if leads.is_none() {
                continue;
            }
            limits::is_readable(who, entry.zxid, entry.data.len())?;
            let (header, txn, _) = decode_txn(&entry.data)
                .map_err(|error| Violation::new("proposals are readable", error.to_string()))?;
            process.moves.proposed(who, &header, &txn)?;
            self.checks
                .proposed(header.session, entry.zxid, replies::subject(&txn))?;
            if matches!(txn, Txn::CloseSession(_)) && header.cxid == Xid(0) {
                let heard = process.heard.get(&header.session).copied();
                let heard = heard.unwrap_or_default().max(process.reign_since_us);
                let timeout_ms = self.oracle.timeout_ms(header.session);
                expiry::is_due(who, header.session, heard, timeout_ms, running_us)?;
                let applied = process.replica.status().last_zxid;
                process.closings.proposed(who, entry.zxid, applied)?;
            }
        }
        Ok(())
    }
}

/// Opens the store; a fresh one gets its first snapshot.
pub(crate) fn open(
    disk: &MemDisk,
    tail_max: usize,
) -> Result<(Store<MemDisk>, zk_store::Loaded), zk_store::StoreError> {
    let config = StoreConfig {
        pre_alloc_kib: 4,
        ..StoreConfig::at(std::path::Path::new("/data"))
    };
    let mut store = Store::open(disk.clone(), config)?;
    let loaded = store.recover(tail_max)?;
    if loaded.snapshot.is_none() {
        let tree = Tree::new();
        store.save_snapshot(Zxid::ZERO, &tree.image(), tree.digest())?;
    }
    Ok((store, loaded))
}

fn config(
    server: usize,
    servers: usize,
    commit_log_count: usize,
    snap_count: u64,
    seed: u64,
    life: u64,
) -> ReplicaConfig {
    let member = |sid: usize| {
        let member = Member {
            host: format!("server-{sid}"),
            quorum_port: 2888,
            election_port: 3888,
            client: None,
        };
        (Sid(sid as i64), member)
    };
    ReplicaConfig {
        sid: Sid(server as i64 + 1),
        ensemble: Ensemble {
            members: (1..=servers).map(member).collect(),
            version: 0,
        },
        ensemble_id: None,
        tick_ms: TICK_MS,
        init_limit: INIT_LIMIT,
        sync_limit: SYNC_LIMIT,
        session_timeout_min_ms: SESSION_TIMEOUT_MS.0,
        session_timeout_max_ms: SESSION_TIMEOUT_MS.1,
        snap_count,
        snap_bytes: None,
        commit_log_count,
        auth: AuthConfig::default(),
        znodes: ZnodeConfig {
            extended_types_enabled: true,
            container_check_interval_ms: CONTAINER_CHECK_INTERVAL_MS,
            txn_bytes_max: TXN_BYTES_MAX,
            ..ZnodeConfig::default()
        },
        votes: VoteConfig::default(),
        seed,
        first_session_id: ((server as i64 + 1) << 56) | ((life as i64) << 24),
    }
}

/// Monotonic clocks begin anywhere below this.
const MONO_START_US_MAX: u64 = 1 << 40;
