//! Anybody can connect to the ports for servers. What a stranger says may cost
//! time while faults last; it may change nothing that must hold.

use std::net::Ipv4Addr;

use zk_core::{Input, Origin};
use zk_proto::quorum::{LearnerInfo, Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::{Epoch, Round, Sid, Zxid};

use crate::world::{Event, World};

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
            // Where nobody connects from its host, one more keeps a voter out
            // for as long as it stays.
            1 if !self.is_translated => {
                let sid = self.some_sid();
                let packets = self.rng.below(3);
                self.introduces_itself(server, sid, packets);
            }
            _ => self.votes(server),
        }
    }

    fn says_nonsense(&mut self, server: usize) {
        self.trace(|| format!("fault: a stranger connects to {}", server + 1));
        let link = self.network_mut().strange_link();
        self.servers[server].hold(link);
        let origin = self.some_origin();
        self.input(server, Input::LinkAccepted(link, origin));
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

    /// A voter was heard to look for a leader: the moment for somebody else to
    /// say that it is this voter, again and again.
    pub(crate) fn someone_takes_its_name(&mut self, server: usize, sid: Sid) {
        if !self.is_translated && self.servers[server].is_up() {
            let left = self.rng.below(5);
            self.impostor(server, sid, left);
        }
    }

    /// A stranger introduces itself, and again after a while.
    pub(crate) fn impostor(&mut self, server: usize, sid: Sid, left: u64) {
        if !self.is_faulty() {
            return;
        }
        self.introduces_itself(server, sid, 0);
        if left > 0 {
            let (life, left) = (self.servers[server].life, left - 1);
            let pause_us = self.rng.within(1_000, 120_000);
            self.after(
                pause_us,
                Event::Impostor {
                    server,
                    life,
                    sid,
                    left,
                },
            );
        }
    }

    /// In the name of a voter, or of a server that nobody knows.
    fn introduces_itself(&mut self, server: usize, sid: Sid, packets: u64) {
        let origin = self.some_origin();
        // What comes from a server's host is that server, which may lie, but
        // uses up no epochs.
        let accepted = if origin.is_listed {
            Epoch(self.rng.below(12) as i64)
        } else {
            self.some_epoch()
        };
        self.trace(|| {
            format!(
                "fault: a stranger at {} tells {} that it is {sid} and has accepted {accepted}",
                origin.address,
                server + 1
            )
        });
        let link = self.network_mut().strange_link();
        self.servers[server].hold(link);
        let now_us = self.now_us;
        if let Some(process) = &mut self.servers[server].process {
            process.impostors.claimed(link, sid, origin, now_us);
        }
        self.input(server, Input::LinkAccepted(link, origin));
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
        for _ in 0..packets {
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
            let origin = self.some_origin();
            let vote = Input::Notification {
                from,
                origin,
                notification,
            };
            self.input(server, vote);
        }
    }

    /// Rarely an address of the host of the server in whose name it speaks.
    fn some_origin(&mut self) -> Origin {
        Origin {
            address: Ipv4Addr::new(10, 9, 9, self.rng.below(3) as u8).into(),
            is_listed: self.rng.percent(10),
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
