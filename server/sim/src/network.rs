//! Links between servers, and the votes. A link is a stream: nothing is lost
//! or reordered within it, but it can stall while the servers are cut off from
//! each other, and it can break with all that is under way. Different links
//! know nothing of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use zk_core::tree::{Tree, TreeCut};
use zk_core::{Input, LinkId, Origin};
use zk_proto::quorum::{Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::{Sid, Zxid};

use crate::FaultKind;

use crate::wiretap::Tap;
use crate::world::{Event, World};

/// What travels on a link.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Packet(QuorumPacket),
    Snap(Arc<TreeCut>),
    /// The other end is gone.
    Closed,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) server: usize,
    pub(crate) life: u64,
    pub(crate) link: LinkId,
}

/// A link; the first end has dialed.
#[derive(Debug)]
struct Stream {
    ends: [End; 2],
    /// Is this end still held by its server?
    is_held: [bool; 2],
    /// What stalls on the way to this end.
    stalled: [Vec<Wire>; 2],
    /// When the last message to this end arrives.
    last_us: [u64; 2],
    /// Has the acceptor sent UPTODATE on it?
    is_synced: bool,
    /// A broken build has heard of ACKs up to here.
    forged: Zxid,
    tap: Tap,
}

/// All links, votes and cuts.
#[derive(Debug, Default)]
pub(crate) struct Network {
    streams: BTreeMap<u64, Stream>,
    by_end: BTreeMap<End, u64>,
    next_stream: u64,
    next_accepted: u64,
    /// Directions in which nothing gets through.
    cuts: BTreeSet<(usize, usize)>,
    /// The newest vote from one server to another, with the life of the sender.
    votes: BTreeMap<(usize, usize), (u64, Notification)>,
    votes_last_us: BTreeMap<(usize, usize), u64>,
}

impl Network {
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.cuts.is_empty()
    }

    /// A number for the link of a stranger.
    pub(crate) const fn strange_link(&mut self) -> LinkId {
        self.next_accepted += 1;
        LinkId(self.next_accepted)
    }

    /// What was seen on a link, and whether this end of it is the learner's.
    pub(crate) fn tap(&mut self, end: End) -> Option<(&mut Tap, bool)> {
        let stream = self.streams.get_mut(self.by_end.get(&end)?)?;
        Some((&mut stream.tap, stream.ends[0] == end))
    }
}

/// Where the connections of a server come from.
fn home(server: usize) -> Origin {
    Origin {
        address: Ipv4Addr::new(10, 0, 0, server as u8 + 1).into(),
        is_listed: true,
    }
}

/// Where all connections come from that a host on the way has translated.
const TRANSLATED: Origin = Origin {
    address: IpAddr::V4(Ipv4Addr::new(10, 8, 8, 8)),
    is_listed: false,
};

impl World {
    /// Performs `Output::Connect`.
    pub(crate) fn dial(&mut self, from: End, to: Sid, within_ms: u64) {
        let until = self.now_us + within_ms * 1000;
        let to = (to.0 - 1) as usize;
        let delay = self.delay_us();
        self.after(delay, Event::Dial { from, to, until });
    }

    pub(crate) fn dialing(&mut self, from: End, to: usize, until: u64) {
        if !self.is_alive(from.server, from.life) || self.network.by_end.contains_key(&from) {
            return;
        }
        if !self.servers[from.server].holds(from.link) {
            return;
        }
        let reaches = self.servers[to].is_up()
            && !self.network.is_cut(from.server, to)
            && !self.network.is_cut(to, from.server);
        if !reaches {
            let event = if self.now_us + REDIAL_US > until {
                Event::Arrived {
                    at: from,
                    wire: Wire::Closed,
                }
            } else {
                Event::Dial { from, to, until }
            };
            return self.after(REDIAL_US, event);
        }
        self.network.next_accepted += 1;
        let accepted = End {
            server: to,
            life: self.servers[to].life,
            link: LinkId(self.network.next_accepted),
        };
        let id = self.network.next_stream;
        self.network.next_stream += 1;
        let stream = Stream {
            ends: [from, accepted],
            is_held: [true; 2],
            stalled: [Vec::new(), Vec::new()],
            last_us: [self.now_us; 2],
            is_synced: false,
            forged: Zxid::ZERO,
            tap: Tap::default(),
        };
        self.network.streams.insert(id, stream);
        self.network.by_end.insert(from, id);
        self.network.by_end.insert(accepted, id);
        self.servers[to].hold(accepted.link);
        if let Some(process) = &mut self.servers[to].process {
            process.learners.insert(accepted.link, from.server);
        }
        let (a, b) = (from.server + 1, to + 1);
        self.trace(|| format!("link {a}-{b} stands"));
        let origin = self.link_origin(from.server);
        self.input(to, Input::LinkAccepted(accepted.link, origin));
        self.input(from.server, Input::LinkConnected(from.link));
    }

    /// Performs `Output::Send` and `Output::SendSnap`.
    pub(crate) fn send(&mut self, from: End, wire: Wire) {
        let Some(&id) = self.network.by_end.get(&from) else {
            return;
        };
        let Some(stream) = self.network.streams.get_mut(&id) else {
            return;
        };
        let to = usize::from(stream.ends[0] == from);
        if let Wire::Packet(packet) = &wire
            && packet.known_kind() == Some(PacketKind::UpToDate)
        {
            stream.is_synced = true;
        }
        let delay = self.delay_us();
        self.deliver_in(id, to, delay, wire);
    }

    /// A broken build acknowledges what it sends to a synchronized follower.
    pub(crate) fn forge(&mut self, end: End, zxid: Zxid) -> bool {
        let Some(stream) = self
            .network
            .by_end
            .get(&end)
            .and_then(|id| self.network.streams.get_mut(id))
        else {
            return false;
        };
        if stream.is_synced {
            stream.forged = zxid;
        }
        stream.is_synced
    }

    /// Was this ACK forged before?
    pub(crate) fn is_forged(&self, end: End, zxid: Zxid) -> bool {
        let id = self.network.by_end.get(&end);
        id.and_then(|id| self.network.streams.get(id))
            .is_some_and(|stream| zxid <= stream.forged)
    }

    fn deliver_in(&mut self, id: u64, to: usize, delay: u64, wire: Wire) {
        let now = self.now_us;
        let Some(stream) = self.network.streams.get_mut(&id) else {
            return;
        };
        let at = (now + delay).max(stream.last_us[to] + 1);
        stream.last_us[to] = at;
        self.at(at, Event::Stream { id, to, wire });
    }

    /// A message has come to the far end of a link.
    pub(crate) fn stream(&mut self, id: u64, to: usize, wire: Wire) {
        let Some(stream) = self.network.streams.get_mut(&id) else {
            return;
        };
        let (here, there) = (stream.ends[to], stream.ends[1 - to]);
        // In order behind what stalls already.
        let is_cut = self.network.cuts.contains(&(there.server, here.server));
        if is_cut || !stream.stalled[to].is_empty() {
            stream.stalled[to].push(wire);
            return;
        }
        if matches!(wire, Wire::Closed) {
            self.forget(id);
        } else if !self.is_alive(here.server, here.life) {
            // A host that came back knows nothing of the link; one that is
            // gone says nothing.
            if self.servers[here.server].is_up() {
                self.break_stream(id);
            }
            return;
        }
        if self.servers[here.server].holds(here.link) {
            self.wire_arrives(here, &wire);
        }
        self.arrived(here, wire);
    }

    pub(crate) fn arrived(&mut self, at: End, wire: Wire) {
        if !self.is_alive(at.server, at.life) || !self.servers[at.server].holds(at.link) {
            return;
        }
        let link = at.link;
        let input = match wire {
            Wire::Packet(packet) => {
                if packet.known_kind() == Some(PacketKind::Ping) {
                    self.hand_in_touched(at.server);
                }
                Input::Packet { link, packet }
            }
            Wire::Snap(cut) => {
                let tree = Tree::from_image(&cut.image(), cut.zxid());
                let tree = tree.expect("the core loads what it has written");
                Input::Snap {
                    link,
                    tree: Box::new(tree),
                }
            }
            Wire::Closed => {
                self.servers[at.server].release(link);
                Input::LinkClosed(link)
            }
        };
        self.input(at.server, input);
    }

    /// Performs `Output::Close`.
    pub(crate) fn close(&mut self, end: End) {
        self.servers[end.server].release(end.link);
        let Some(&id) = self.network.by_end.get(&end) else {
            return;
        };
        let Some(stream) = self.network.streams.get_mut(&id) else {
            return;
        };
        let this = usize::from(stream.ends[1] == end);
        stream.is_held[this] = false;
        self.send(end, Wire::Closed);
    }

    /// Both ends lose the link and what is under way on it.
    pub(crate) fn break_stream(&mut self, id: u64) {
        let Some(stream) = self.network.streams.get(&id) else {
            return;
        };
        let ends = stream.ends;
        let held = stream.is_held;
        self.forget(id);
        for (end, is_held) in ends.into_iter().zip(held) {
            if is_held {
                let delay = self.delay_us();
                let wire = Wire::Closed;
                self.after(delay, Event::Arrived { at: end, wire });
            }
        }
    }

    /// Breaks one link of all there are.
    pub(crate) fn break_some_stream(&mut self) {
        let ids: Vec<_> = self.network.streams.keys().copied().collect();
        if !ids.is_empty() {
            let id = ids[self.rng.index(ids.len())];
            self.trace(|| format!("fault: link {id} breaks"));
            self.break_stream(id);
        }
    }

    /// A server has died. Its peers hear of it if the system lives on.
    pub(crate) fn drop_streams(&mut self, server: usize, is_heard: bool) {
        let streams = self.network.streams.iter();
        let ids: Vec<_> = streams
            .filter(|(_, stream)| stream.ends.iter().any(|end| end.server == server))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let stream = self.network.streams.get_mut(&id).expect("just listed");
            let this = usize::from(stream.ends[1].server == server);
            stream.is_held[this] = false;
            let end = stream.ends[this];
            if is_heard {
                self.send(end, Wire::Closed);
            }
        }
        self.network.votes.retain(|(from, _), _| *from != server);
    }

    /// Lets everything through again.
    pub(crate) fn heal(&mut self) {
        if self.network.is_whole() {
            return;
        }
        self.trace(|| "network healed".to_owned());
        let cuts = std::mem::take(&mut self.network.cuts);
        let ids: Vec<_> = self.network.streams.keys().copied().collect();
        for id in ids {
            let stream = self.network.streams.get_mut(&id).expect("just listed");
            if stream.stalled.iter().all(Vec::is_empty) {
                continue;
            }
            let ends = stream.ends;
            let is_gone = ends.iter().any(|end| !self.is_alive(end.server, end.life));
            if self.rng.percent(50) && !is_gone {
                self.break_stream(id);
                continue;
            }
            for to in 0..2 {
                let delay = self.delay_us();
                self.after(delay, Event::Unstall { id, to });
            }
        }
        for (from, to) in cuts {
            self.repeat_vote(from, to);
        }
    }

    /// What has stalled arrives, unless the servers are cut off again.
    pub(crate) fn unstall(&mut self, id: u64, to: usize) {
        let Some(stream) = self.network.streams.get_mut(&id) else {
            return;
        };
        let (here, there) = (stream.ends[to].server, stream.ends[1 - to].server);
        if self.network.cuts.contains(&(there, here)) {
            return;
        }
        for wire in std::mem::take(&mut stream.stalled[to]) {
            self.stream(id, to, wire);
        }
    }

    /// Performs `Output::Notify`.
    pub(crate) fn vote(&mut self, from: usize, to: Sid, notification: Notification) {
        // Who is none of the servers has no connection to answer on.
        let known = usize::try_from(to.0 - 1).ok();
        let Some(to) = known.filter(|to| *to < self.servers.len()) else {
            return;
        };
        let life = self.servers[from].life;
        self.network.votes.insert((from, to), (life, notification));
        self.repeat_vote(from, to);
    }

    /// Sends the newest vote, on a new connection or on the old one.
    pub(crate) fn repeat_vote(&mut self, from: usize, to: usize) {
        let Some((life, notification)) = self.network.votes.get(&(from, to)).cloned() else {
            return;
        };
        let delay = self.delay_us();
        let last = self.network.votes_last_us.entry((from, to)).or_default();
        *last = (self.now_us + delay).max(*last + 1);
        let at = *last;
        self.at(
            at,
            Event::Vote {
                from,
                life,
                to,
                notification,
            },
        );
    }

    pub(crate) fn voted(&mut self, from: usize, life: u64, to: usize, notification: Notification) {
        // Lost: the newest is sent again once the connection stands.
        if self.network.is_cut(from, to) || !self.servers[to].is_up() || !self.is_alive(from, life)
        {
            return;
        }
        if self.is_faulty() && self.rng.percent(2) {
            let delay = self.rng.within(10_000, 300_000);
            return self.after(delay, Event::RepeatVote { from, to });
        }
        let origin = self.vote_origin(from, to);
        let looks = notification.state == ServerState::Looking;
        let sid = Sid(from as i64 + 1);
        let vote = Input::Notification {
            from: sid,
            origin,
            notification,
        };
        self.input(to, vote);
        if looks && self.is_faulty() && self.has(FaultKind::Malformed) && self.rng.percent(4) {
            self.someone_takes_its_name(to, sid);
        }
    }

    /// Where a server's votes come from. The larger sid has opened the
    /// connection.
    fn vote_origin(&self, from: usize, to: usize) -> Origin {
        if self.is_translated && from > to {
            return TRANSLATED;
        }
        home(from)
    }

    /// Where a learner's links come from.
    fn link_origin(&self, from: usize) -> Origin {
        if self.is_translated {
            return TRANSLATED;
        }
        home(from)
    }

    pub(crate) fn repeat_votes_to(&mut self, to: usize) {
        for from in 0..self.servers.len() {
            self.repeat_vote(from, to);
        }
    }

    pub(crate) fn delay_us(&mut self) -> u64 {
        if self.is_faulty() && self.rng.percent(2) {
            self.rng.within(5_000, 150_000)
        } else {
            self.rng.within(100, 3_000)
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(stream) = self.network.streams.remove(&id) {
            for end in stream.ends {
                self.network.by_end.remove(&end);
            }
        }
    }
}

/// Pause between two attempts to connect.
const REDIAL_US: u64 = 100_000;
