//! A replica with its disk and its connections in the hands of the test.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use zk_core::auth::AuthConfig;
use zk_core::config::{ReplicaConfig, VoteConfig, ZnodeConfig};
use zk_core::{
    ClientWrite, CloseReason, ConnId, Ensemble, Input, LinkId, Member, Millis, Now, Origin, Output,
    Recovered, Replica, Role,
};
use zk_proto::client::{
    Acl, ConnectRequest, CreateRequest, DeleteRequest, OpCode, SetDataRequest, session_password,
};
use zk_proto::jute::{Put, Reader};
use zk_proto::quorum::{LearnerInfo, Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::txn::{Txn, TxnHeader, encode_txn};
use zk_proto::{Epoch, Round, SessionId, Sid, Xid, Zxid};

/// A server whose disk is instant unless held back.
pub(crate) struct Server {
    pub(crate) replica: Replica,
    pub(crate) now: Now,
    /// Disk completions that were not told yet.
    pub(crate) completions: Vec<Input>,
    /// Everything sent to each connection, and how it ended.
    pub(crate) frames: BTreeMap<ConnId, Vec<u8>>,
    pub(crate) closed: BTreeMap<ConnId, CloseReason>,
    pub(crate) sessions: BTreeMap<ConnId, SessionId>,
    pub(crate) roles: Vec<(Role, bool)>,
    /// Periodic snapshots, none of which is ever done.
    pub(crate) snapshots: Vec<Zxid>,
    /// Packets for peers that were not looked at yet.
    pub(crate) sent: Vec<(LinkId, QuorumPacket)>,
    /// Links that got the whole tree.
    pub(crate) snaps: Vec<LinkId>,
    /// The last link that was asked for, and links that were closed.
    pub(crate) dialed: Option<LinkId>,
    pub(crate) links_closed: Vec<LinkId>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// With this snapshot on its disk.
    pub(crate) fn start_with(snapshot: Option<(Zxid, Bytes)>) -> Self {
        Self::boot(config(1), snapshot)
    }

    /// Started from this configuration.
    pub(crate) fn boot(config: ReplicaConfig, snapshot: Option<(Zxid, Bytes)>) -> Self {
        let recovered = Recovered::rebuild(snapshot, [], Vec::new(), None, None).unwrap();
        Self::with(config, recovered)
    }

    /// Started from this configuration, with this on its disk.
    pub(crate) fn with(config: ReplicaConfig, recovered: Recovered) -> Self {
        let now = Now {
            mono: Millis(10),
            wall_ms: 1_700_000_000_000,
        };
        let mut server = Self {
            replica: Replica::new(config, recovered, now),
            now,
            completions: Vec::new(),
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            sessions: BTreeMap::new(),
            roles: Vec::new(),
            snapshots: Vec::new(),
            sent: Vec::new(),
            snaps: Vec::new(),
            dialed: None,
            links_closed: Vec::new(),
        };
        let mut out = Vec::new();
        server.replica.start(now, &mut out);
        server.perform(out);
        server.settle();
        server
    }

    /// One batch.
    pub(crate) fn batch(&mut self, inputs: Vec<Input>) {
        let mut out = Vec::new();
        for input in inputs {
            self.replica.step(self.now, input, &mut out);
        }
        let applied = self.replica.finish(self.now, &mut out);
        self.perform(out);
        drop(applied);
    }

    /// Lets the disk finish until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        loop {
            let inputs = std::mem::take(&mut self.completions);
            if inputs.is_empty() {
                return;
            }
            self.batch(inputs);
        }
    }

    pub(crate) fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Append(entries) => {
                    let last = entries.last().expect("an append has entries");
                    self.completions.push(Input::Appended(last.zxid));
                }
                Output::SaveEpoch(file, epoch) => {
                    self.completions.push(Input::EpochSaved(file, epoch))
                }
                Output::ToClient(to) => {
                    self.frames
                        .entry(to.conn)
                        .or_default()
                        .extend(to.frames.into_vec());
                    if to.close {
                        self.closed.insert(to.conn, CloseReason::SessionClosed);
                    }
                }
                Output::SessionOpened {
                    conn,
                    session,
                    frame,
                    ..
                } => {
                    self.sessions.insert(conn, session);
                    self.frames.entry(conn).or_default().extend(frame);
                }
                Output::SessionRefused { conn, frame } => {
                    self.frames.entry(conn).or_default().extend(frame);
                    self.closed.insert(conn, CloseReason::SessionClosed);
                }
                Output::CloseClient { conn, reason } => {
                    self.closed.insert(conn, reason);
                }
                Output::RoleChanged { role, serving, .. } => self.roles.push((role, serving)),
                Output::SaveSnapshot(cut) => self.snapshots.push(cut.zxid()),
                Output::Halt { reason } => panic!("halt: {reason}"),
                Output::Send { link, packet } => self.sent.push((link, packet)),
                Output::SendSnap { link, .. } => self.snaps.push(link),
                Output::Connect { link, .. } => self.dialed = Some(link),
                Output::Close { link, .. } => self.links_closed.push(link),
                Output::Notify { .. } | Output::Discard(_) => {}
                other => panic!("no test has a use for {other:?}"),
            }
        }
    }

    pub(crate) fn connect(&mut self, conn: ConnId, session: SessionId, seen: Zxid) {
        self.ask_session(conn, session, seen);
        self.settle();
    }

    /// The first frame of a connection, while the disk stands still.
    pub(crate) fn ask_session(&mut self, conn: ConnId, session: SessionId, seen: Zxid) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: seen,
            timeout_ms: 4000,
            session_id: session,
            password: session_password(session).to_vec(),
            read_only: None,
        };
        self.batch(vec![Input::ClientConnect {
            conn,
            request,
            ids: Arc::default(),
        }]);
    }

    /// A run of writes, while the disk stands still.
    pub(crate) fn write(&mut self, conn: ConnId, writes: Vec<ClientWrite>) {
        self.batch(vec![Input::ClientWrites { conn, writes }]);
    }

    pub(crate) fn take_replies(&mut self, conn: ConnId) -> Vec<(i32, i64, i32)> {
        let bytes = self.frames.remove(&conn).unwrap_or_default();
        let mut reader = Reader::new(&bytes);
        let mut headers = Vec::new();
        while !reader.rest().is_empty() {
            let mut frame = Reader::new(reader.buffer().unwrap());
            headers.push((
                frame.i32().unwrap(),
                frame.i64().unwrap(),
                frame.i32().unwrap(),
            ));
        }
        headers
    }

    /// A packet of the learner; the own disk is instant.
    pub(crate) fn learner(&mut self, kind: PacketKind, zxid: Zxid, data: Option<Bytes>) {
        let packet = QuorumPacket::new(kind, zxid, data);
        let link = LEARNER;
        self.batch(vec![Input::Packet { link, packet }]);
        self.settle();
    }

    /// The learner forwards a request and acknowledges what was proposed.
    pub(crate) fn forwarded(&mut self, session: SessionId, cxid: i32, op: OpCode, body: &[u8]) {
        let mut data = Vec::new();
        data.put_i64(session.0);
        data.put_i32(cxid);
        data.put_i32(op.code());
        data.put_raw(body);
        self.learner(PacketKind::Request, Zxid(-1), Some(data.into()));
        self.acknowledge();
    }

    /// The learner has everything on its disk.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(last) = self.proposals().into_iter().max() {
            self.learner(PacketKind::Ack, last, None);
        }
    }

    /// What was proposed since the packets were looked at.
    pub(crate) fn proposals(&self) -> Vec<Zxid> {
        let packets = self.sent.iter().map(|(_, packet)| packet);
        packets
            .filter(|packet| packet.known_kind() == Some(PacketKind::Proposal))
            .map(|packet| packet.zxid)
            .collect()
    }

    pub(crate) fn tick(&mut self, to: u64) {
        while self.now.mono < Millis(to) {
            self.now.mono = Millis(to.min(self.now.mono.0 + 500));
            self.batch(vec![Input::Tick]);
            self.settle();
        }
    }
}

/// Server 1 of an ensemble of this size.
pub(crate) fn config(voters: i64) -> ReplicaConfig {
    let member = || Member {
        host: "h".into(),
        quorum_port: 1,
        election_port: 2,
        client: None,
    };
    ReplicaConfig {
        sid: Sid(1),
        ensemble: Ensemble {
            members: (1..=voters).map(|sid| (Sid(sid), member())).collect(),
            version: 0,
        },
        ensemble_id: None,
        tick_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 20_000,
        snap_count: 100_000,
        snap_bytes: Some(SNAP_BYTES),
        commit_log_count: 500,
        auth: AuthConfig::default(),
        znodes: ZnodeConfig::default(),
        votes: VoteConfig::default(),
        seed: 1,
        first_session_id: 0x0100_0000_0000_0001,
    }
}

/// A server that follows, and the leader played by the test.
pub(crate) struct Follower {
    pub(crate) server: Server,
    pub(crate) link: LinkId,
    /// What the leader has proposed last.
    pub(crate) proposed: Zxid,
}

/// The link of the one learner of [`lead`].
pub(crate) const LEARNER: LinkId = LinkId(5);

/// Where the others are.
pub(crate) const HOST: Origin = Origin {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    is_listed: true,
};

/// Server 1 of three leads, and server 2, played by the test, follows.
pub(crate) fn lead() -> Server {
    let recovered = Recovered::rebuild(None, [], Vec::new(), None, None).unwrap();
    lead_with(config(3), recovered, Zxid(0))
}

/// The same with this on the leader's disk and up to this zxid on the other's.
pub(crate) fn lead_with(config: ReplicaConfig, recovered: Recovered, has: Zxid) -> Server {
    let (last, current) = (recovered.last_zxid, recovered.current_epoch);
    let mut server = Server::with(config, recovered);
    server.batch(vec![Input::Notification {
        from: Sid(2),
        origin: HOST,
        notification: Notification {
            state: ServerState::Looking,
            leader: Sid(1),
            zxid: last,
            round: Round(1),
            peer_epoch: current,
            version: Notification::VERSION,
            config: String::new(),
        },
    }]);
    server.now.mono = server.now.mono + 300;
    server.batch(vec![Input::Tick]);
    server.settle();
    server.batch(vec![Input::LinkAccepted(LEARNER, HOST)]);
    let info = LearnerInfo {
        sid: Sid(2),
        protocol_version: 0x10000,
        config_version: 0,
    };
    let accepted = QuorumPacket::epoch_zxid(current);
    let start = QuorumPacket::epoch_zxid(Epoch(current.0 + 1));
    let epoch = i32::try_from(has.epoch().0).unwrap().to_be_bytes();
    let epoch = Bytes::copy_from_slice(&epoch);
    for (kind, zxid, data) in [
        (PacketKind::FollowerInfo, accepted, Some(info.encode())),
        (PacketKind::AckEpoch, has, Some(epoch)),
        (PacketKind::Ack, start, None),
    ] {
        server.learner(kind, zxid, data);
    }
    assert_eq!(server.roles.last(), Some(&(Role::Leading, true)));
    server
}

/// A request as it was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) session: SessionId,
    pub(crate) cxid: Xid,
    pub(crate) op: i32,
}

const EPOCH: Epoch = Epoch(1);

impl Follower {
    /// Server 1 of three follows server 3 and serves.
    pub(crate) fn start() -> Self {
        let mut server = Server::boot(config(3), None);
        for (sid, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
            let notification = Notification {
                state,
                leader: Sid(3),
                zxid: Zxid(0),
                round: Round(7),
                peer_epoch: EPOCH,
                version: Notification::VERSION,
                config: String::new(),
            };
            server.batch(vec![Input::Notification {
                from: Sid(sid),
                origin: HOST,
                notification,
            }]);
        }
        let link = server.dialed.expect("it has found the leader");
        server.batch(vec![Input::LinkConnected(link)]);
        let mut follower = Self {
            server,
            link,
            proposed: Zxid::new(EPOCH, 0),
        };
        let start = QuorumPacket::epoch_zxid(EPOCH);
        let version = Bytes::copy_from_slice(&0x10000_i32.to_be_bytes());
        follower.hear(QuorumPacket::new(
            PacketKind::LeaderInfo,
            start,
            Some(version),
        ));
        for kind in [
            PacketKind::Diff,
            PacketKind::NewLeader,
            PacketKind::UpToDate,
        ] {
            follower.hear(QuorumPacket::new(kind, start, None));
        }
        assert_eq!(follower.server.roles.last(), Some(&(Role::Following, true)));
        follower.server.sent.clear();
        follower
    }

    /// A packet of the leader; the own disk is instant.
    pub(crate) fn hear(&mut self, packet: QuorumPacket) {
        let link = self.link;
        self.server.batch(vec![Input::Packet { link, packet }]);
        self.server.settle();
    }

    /// The requests that were forwarded since the last time.
    pub(crate) fn forwarded(&mut self) -> Vec<Forwarded> {
        let sent = std::mem::take(&mut self.server.sent);
        let packets = sent.into_iter().map(|(_, packet)| packet);
        packets
            .filter(|packet| packet.known_kind() == Some(PacketKind::Request))
            .map(|packet| {
                let data = packet.data.unwrap();
                let mut reader = Reader::new(&data);
                Forwarded {
                    session: SessionId(reader.i64().unwrap()),
                    cxid: Xid(reader.i32().unwrap()),
                    op: reader.i32().unwrap(),
                }
            })
            .collect()
    }

    /// The leader proposes and commits.
    pub(crate) fn commit(&mut self, request: Forwarded, txn: &Txn<'_>) {
        self.proposed = self.proposed.next();
        let zxid = self.proposed;
        let header = TxnHeader {
            session: request.session,
            cxid: request.cxid,
            zxid,
            time_ms: 1,
            kind: txn.op().code(),
        };
        let mut data = Vec::new();
        encode_txn(&mut data, &header, txn, None);
        self.hear(QuorumPacket::new(
            PacketKind::Proposal,
            zxid,
            Some(data.into()),
        ));
        self.hear(QuorumPacket::new(PacketKind::Commit, zxid, None));
    }

    /// The leader says whether a session is alive.
    pub(crate) fn revalidated(&mut self, session: SessionId, is_alive: bool) {
        let mut data = Vec::new();
        data.put_i64(session.0);
        data.put_bool(is_alive);
        let packet = QuorumPacket::new(PacketKind::Revalidate, Zxid(-1), Some(data.into()));
        self.hear(packet);
    }

    /// A new session on this connection.
    pub(crate) fn open(&mut self, conn: ConnId) -> SessionId {
        self.server.ask_session(conn, SessionId(0), Zxid(0));
        let [request] = self.forwarded()[..] else {
            panic!("one createSession");
        };
        self.commit(request, &Txn::CreateSession(4000));
        self.server.frames.remove(&conn);
        self.server.sessions[&conn]
    }

    /// The session comes back on another connection of this server.
    pub(crate) fn come_back(&mut self, conn: ConnId, session: SessionId) {
        self.server.ask_session(conn, session, Zxid(0));
        self.revalidated(session, true);
        self.server.frames.remove(&conn);
        assert_eq!(self.server.sessions.get(&conn), Some(&session));
    }

    /// Writes as a client of this connection and returns what was forwarded.
    pub(crate) fn write(&mut self, conn: ConnId, write: ClientWrite) -> Forwarded {
        self.server.write(conn, vec![write]);
        let [request] = self.forwarded()[..] else {
            panic!("one request");
        };
        request
    }
}

pub(crate) const ONE: ConnId = ConnId(1);
pub(crate) const TWO: ConnId = ConnId(2);
pub(crate) const SNAP_BYTES: u64 = 20_000;

pub(crate) fn create(xid: i32, path: &str, flags: i32) -> ClientWrite {
    let mut body = Vec::new();
    CreateRequest {
        path: path.into(),
        data: None,
        acl: Some(vec![Acl::open()]),
        flags,
    }
    .write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Create.code(),
        body: body.into(),
    }
}

pub(crate) fn set_data(xid: i32, path: &str, version: i32) -> ClientWrite {
    let mut body = Vec::new();
    SetDataRequest {
        path: path.into(),
        data: Some(b"new"),
        version,
    }
    .write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::SetData.code(),
        body: body.into(),
    }
}

pub(crate) fn close(xid: i32) -> ClientWrite {
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::CloseSession.code(),
        body: Bytes::new(),
    }
}

pub(crate) fn delete(xid: i32, path: &str) -> ClientWrite {
    let mut body = Vec::new();
    DeleteRequest {
        path: path.into(),
        version: -1,
    }
    .write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Delete.code(),
        body: body.into(),
    }
}

pub(crate) fn sync(xid: i32) -> ClientWrite {
    let mut body = Vec::new();
    body.put_str("/s");
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Sync.code(),
        body: body.into(),
    }
}
