//! Anybody can connect to the ports for servers. What a stranger says may cost
//! time while faults last; it may change nothing that must hold.

use zk_core::Input;
use zk_proto::quorum::{LearnerInfo, Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::{Epoch, Round, Sid, Zxid};

use crate::world::World;

impl World {
    /// A stranger connects and says what means nothing, or what might be true.
    /// It never acknowledges: before servers prove who they are, whoever is
    /// taken for a voter counts as one.
    pub(crate) fn stranger(&mut self, server: usize) {
        if !self.servers[server].is_up() {
            return;
        }
        match self.rng.below(3) {
            0 => self.says_nonsense(server),
            1 => self.introduces_itself(server),
            _ => self.votes(server),
        }
    }

    fn says_nonsense(&mut self, server: usize) {
        self.trace(|| format!("fault: a stranger connects to {}", server + 1));
        let link = self.network_mut().strange_link();
        self.servers[server].hold(link);
        self.input(server, Input::LinkAccepted(link));
        for _ in 0..self.rng.below(6) {
            let zxid = Zxid(self.rng.next() as i64);
            let mut packet = QuorumPacket::new(PacketKind::Ping, zxid, None);
            packet.kind = self.rng.below(40) as i32 - 1;
            let length = self.rng.below(7) as usize;
            packet.data = Some((0..length).map(|n| n as u8).collect::<Vec<_>>().into());
            self.input(server, Input::Packet { link, packet });
        }
        if self.rng.percent(50) {
            self.servers[server].release(link);
            self.input(server, Input::LinkClosed(link));
        }
    }

    /// In the name of a voter, or of a server that nobody knows.
    fn introduces_itself(&mut self, server: usize) {
        let sid = self.some_sid();
        let accepted = self.some_epoch();
        self.trace(|| {
            format!(
                "fault: a stranger tells {} that it is {sid} and has accepted {accepted}",
                server + 1
            )
        });
        let link = self.network_mut().strange_link();
        self.servers[server].hold(link);
        self.input(server, Input::LinkAccepted(link));
        let info = LearnerInfo {
            sid,
            protocol_version: 0x10000,
            config_version: 0,
        };
        let kind = if self.rng.percent(80) {
            PacketKind::FollowerInfo
        } else {
            PacketKind::ObserverInfo
        };
        let accepted = Zxid::new(accepted, 0);
        let packet = QuorumPacket::new(kind, accepted, Some(info.encode()));
        self.input(server, Input::Packet { link, packet });
        for _ in 0..self.rng.below(3) {
            let packet = QuorumPacket::new(PacketKind::Ping, Zxid(-1), None);
            self.input(server, Input::Packet { link, packet });
        }
    }

    /// A few votes of somebody for somebody.
    fn votes(&mut self, server: usize) {
        for _ in 0..=self.rng.below(4) {
            let (from, leader) = (self.some_sid(), self.some_sid());
            let states = [
                ServerState::Looking,
                ServerState::Following,
                ServerState::Leading,
                ServerState::Observing,
            ];
            let epoch = self.some_epoch();
            let notification = Notification {
                state: states[self.rng.index(states.len())],
                leader,
                zxid: Zxid::new(epoch, self.rng.below(60) as u32),
                round: Round(self.rng.below(12) as i64),
                peer_epoch: epoch,
                version: Notification::VERSION,
                config: String::new(),
            };
            self.trace(|| format!("fault: a stranger votes as {from} for {leader}"));
            self.input(server, Input::Notification { from, notification });
        }
    }

    /// Usually a voter.
    fn some_sid(&mut self) -> Sid {
        Sid(self.rng.below(self.servers.len() as u64 + 2) as i64)
    }

    /// Usually one that may come soon.
    fn some_epoch(&mut self) -> Epoch {
        Epoch(match self.rng.below(10) {
            0 => i64::from(i32::MAX),
            1 => -1,
            2 => 1_000_000,
            _ => self.rng.below(12) as i64,
        })
    }
}
