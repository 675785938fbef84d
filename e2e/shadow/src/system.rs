//! One of the two systems that are compared: runs a scenario and tells what came back.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::connection::{Connection, Incoming, PATIENCE};
use crate::jute::Encoder;
use crate::request::{self, Names, XID_PING};
use crate::step::{Action, Attach, Create, Op, Open, Password, Scenario, Since, Step, TIMEOUT_MS};
use crate::tree;
use crate::view::{Event, Header, View, connect_response, error, password_of};

/// Servers of one kind, alone or an ensemble whose leader is the first.
#[derive(Debug)]
pub(crate) struct System {
    servers: Vec<Server>,
    acl: bool,
    /// Highest zxid that any reply has shown.
    top: i64,
}

/// What a scenario did to a system.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The lines of each step.
    pub(crate) steps: Vec<Vec<String>>,
    /// Events that came after the last step, then the tree of each server.
    pub(crate) end: Vec<String>,
    /// Name and error code of each operation answered.
    pub(crate) answers: Vec<(&'static str, i32)>,
    /// Operations without an answer: the connection was gone.
    pub(crate) unanswered: usize,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// A session of the driver's own; its pings tell how far the server has come.
    own: Connection,
    applied: i64,
}

impl System {
    /// Opens a session on each server, with the rights of `super` if they know ACLs.
    ///
    /// # Errors
    /// When a server does not answer.
    pub(crate) fn connect(addresses: &[SocketAddr], acl: bool) -> Result<Self> {
        let mut system = Self {
            servers: Vec::new(),
            acl,
            top: 0,
        };
        for address in addresses {
            let mut own = Connection::new(*address)?;
            let hello = request::connect(0, OWN_TIMEOUT_MS, 0, Some(&[0; 16]), Some(false));
            own.send(&[hello]);
            let frame = own.frame()?.context("no session")?;
            ensure!(connect_response(&frame)?.session != 0, "no session");
            system.servers.push(Server {
                address: *address,
                own,
                applied: 0,
            });
            let server = system.servers.len() - 1;
            if acl {
                let auth = Op::Auth {
                    scheme: "digest".to_owned(),
                    id: Some(SUPERUSER.to_owned()),
                };
                system.own(server, &auth)?;
            }
        }
        Ok(system)
    }

    /// # Errors
    /// When the system does not answer the driver's own session, or sends what is no frame.
    pub(crate) fn run(&mut self, scenario: &Scenario, root: &str) -> Result<Transcript> {
        // Keeps all the driver's sessions alive.
        for server in 0..self.servers.len() {
            self.own(server, &Op::Ping {})?;
        }
        let create = Op::Create(Create {
            path: root.to_owned(),
            ..Create::default()
        });
        self.own(0, &create)
            .context("create of the scenario's root")?;
        let mut run = Run {
            view: View::new(root, self.top),
            root: root.to_owned(),
            slots: Vec::new(),
            transcript: Transcript::default(),
            system: self,
        };
        for step in &scenario.steps {
            let lines = run
                .step(step)
                .with_context(|| format!("{}: {}", scenario.name, step.text()))?;
            run.transcript.steps.push(lines);
        }
        run.end()?;
        Ok(run.transcript)
    }

    /// Waits until what has been answered anywhere shows on this server and on the leader.
    fn catch_up(&mut self, server: usize) -> Result<()> {
        for server in [0, server] {
            let begin = Instant::now();
            while self.servers[server].applied < self.top {
                self.own(server, &Op::Ping {})?;
                if self.servers[server].applied < self.top {
                    ensure!(
                        begin.elapsed() < PATIENCE,
                        "{} does not catch up",
                        self.servers[server].address
                    );
                    thread::sleep(POLL);
                }
            }
        }
        Ok(())
    }

    /// A request of the driver's own that has to succeed.
    fn own(&mut self, server: usize, op: &Op) -> Result<()> {
        let (header, _) = self.exchange(server, op)?;
        ensure!(
            header.err == 0,
            "{} answered {} with {}",
            self.servers[server].address,
            request::name(op),
            error(header.err)
        );
        Ok(())
    }

    fn exchange(&mut self, server: usize, op: &Op) -> Result<(Header, Vec<u8>)> {
        let own = &mut self.servers[server].own;
        let xid = request::special_xid(op).unwrap_or_else(|| own.next_xid());
        own.send(&[request::packet(op, xid, &Absolute)?]);
        match own.incoming()? {
            Incoming::Reply(header, body) if header.xid == xid => {
                self.seen(server, header.zxid);
                Ok((header, body))
            }
            other => bail!("{} answered {other:?}", self.servers[server].address),
        }
    }

    fn seen(&mut self, server: usize, zxid: i64) {
        self.servers[server].applied = self.servers[server].applied.max(zxid);
        self.top = self.top.max(zxid);
    }
}

/// Paths as they are.
struct Absolute;

impl Names for Absolute {
    fn path(&self, text: &str) -> String {
        text.to_owned()
    }

    fn zxid(&self, _: Since) -> i64 {
        0
    }
}

/// A scenario in progress.
struct Run<'a> {
    system: &'a mut System,
    view: View,
    root: String,
    slots: Vec<Slot>,
    transcript: Transcript,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    server: usize,
    /// The last session here, 0 for none.
    session: i64,
}

impl Slot {
    fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        while self.slots.len() <= step.on {
            self.slots.push(Slot::default());
        }
        match &step.action {
            Action::Open(open) => self.open(step.on, open),
            Action::Attach(attach) => self.attach(step.on, attach),
            Action::Drop {} => {
                let lines = self.settle(step.on)?;
                self.slots[step.on].close();
                Ok(lines)
            }
            Action::Do(ops) => self.ops(step.on, ops),
        }
    }

    fn open(&mut self, on: usize, open: &Open) -> Result<Vec<String>> {
        let server = open.server % self.system.servers.len();
        let mut lines = self.settle(on)?;
        self.slots[on].close();
        self.system.catch_up(server)?;
        let hello = request::connect(
            self.zxid(open.last_zxid),
            open.timeout_ms.unwrap_or(TIMEOUT_MS),
            0,
            Some(&[0; 16]),
            (!open.old_client).then_some(false),
        );
        lines.extend(self.hello(on, server, hello)?);
        Ok(lines)
    }

    fn attach(&mut self, on: usize, attach: &Attach) -> Result<Vec<String>> {
        let server = attach.server % self.system.servers.len();
        let mut lines = self.settle(on)?;
        self.slots[on].close();
        let session = self.slots.get(attach.session).map_or(0, |it| it.session);
        // The server closes what else it has of this session.
        for other in 0..self.slots.len() {
            if self.slots[other].session == session {
                lines.extend(self.settle(other)?);
                if self.slots[other].server != server && !attach.keep {
                    self.slots[other].close();
                }
            }
        }
        self.system.catch_up(server)?;
        let (session, password) = match attach.password {
            Password::Own => (session, Some(password_of(session))),
            Password::OwnOfUnknown => (UNKNOWN_SESSION, Some(password_of(UNKNOWN_SESSION))),
            Password::Zero => (session, Some(vec![0; 16])),
            Password::Empty => (session, Some(Vec::new())),
            Password::Null => (session, None),
        };
        let hello = request::connect(
            self.zxid(attach.last_zxid),
            attach.timeout_ms.unwrap_or(TIMEOUT_MS),
            session,
            password.as_deref(),
            Some(false),
        );
        lines.extend(self.hello(on, server, hello)?);
        Ok(lines)
    }

    /// Sends a ConnectRequest on a new connection and takes the response.
    fn hello(&mut self, on: usize, server: usize, hello: Vec<u8>) -> Result<Vec<String>> {
        let mut connection = Connection::new(self.system.servers[server].address)?;
        connection.send(&[hello]);
        let Some(frame) = connection.frame()? else {
            return Ok(vec!["closed without a response".to_owned()]);
        };
        let response = connect_response(&frame).context("ConnectResponse")?;
        let slot = &mut self.slots[on];
        slot.server = server;
        slot.connection = Some(connection);
        if response.session == 0 {
            let mut lines = vec![self.view.connect_response(&response)];
            lines.extend(self.expect_end(on)?);
            return Ok(lines);
        }
        slot.session = response.session;
        self.view.session_opened(response.session);
        let mut lines = vec![self.view.connect_response(&response)];
        lines.extend(self.settle(on)?);
        Ok(lines)
    }

    fn ops(&mut self, on: usize, ops: &[Op]) -> Result<Vec<String>> {
        if self.slots[on].connection.is_none() {
            self.transcript.unanswered += ops.len();
            return Ok(vec!["no connection".to_owned()]);
        }
        self.system.catch_up(self.slots[on].server)?;
        let mut sent = Vec::new();
        let mut packets = Vec::new();
        for op in ops {
            let connection = self.slots[on].connection.as_mut();
            let connection = connection.context("still connected")?;
            let xid = request::special_xid(op).unwrap_or_else(|| connection.next_xid());
            sent.push((op, xid));
            packets.push(request::packet(op, xid, self)?);
        }
        let connection = self.slots[on].connection.as_mut();
        connection.context("still connected")?.send(&packets);
        let mut lines = Vec::new();
        for (at, (op, xid)) in sent.iter().enumerate() {
            let (more, answer) = self.answer(on, Some(op), *xid)?;
            lines.extend(more);
            let Some(header) = answer else {
                self.transcript.unanswered += sent.len() - at;
                break;
            };
            self.transcript
                .answers
                .push((request::name(op), self.view.code));
            if closes(op, header.err) {
                lines.extend(self.expect_end(on)?);
                self.transcript.unanswered += sent.len() - at - 1;
                break;
            }
        }
        Ok(lines)
    }

    /// Takes what the server has sent to a slot by now.
    fn settle(&mut self, on: usize) -> Result<Vec<String>> {
        if self.slots[on].connection.is_none() {
            return Ok(Vec::new());
        }
        self.system.catch_up(self.slots[on].server)?;
        let packet = request::packet(&Op::Ping {}, XID_PING, self)?;
        if let Some(connection) = &mut self.slots[on].connection {
            connection.send(&[packet]);
        }
        Ok(self.answer(on, None, XID_PING)?.0)
    }

    /// Reads up to the next reply. Without an `op` only what is not the expected one becomes a line.
    fn answer(
        &mut self,
        on: usize,
        op: Option<&Op>,
        xid: i32,
    ) -> Result<(Vec<String>, Option<Header>)> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let Some(connection) = &mut self.slots[on].connection else {
                return Ok((self.view.events(events), None));
            };
            match connection.incoming()? {
                Incoming::Notification(header, body) => {
                    events.push(self.view.event(&header, &body));
                }
                Incoming::Reply(header, body) => {
                    let server = self.slots[on].server;
                    self.system.seen(server, header.zxid);
                    if matches!(op, Some(Op::CloseSession {})) {
                        self.view.session_closed_at(header.zxid);
                    }
                    let mut lines = self.view.events(events);
                    lines.push(
                        self.view
                            .reply(op.unwrap_or(&Op::Ping {}), xid, &header, &body),
                    );
                    return Ok((lines, Some(header)));
                }
                end => {
                    self.slots[on].connection = None;
                    let mut lines = self.view.events(events);
                    lines.push(ended(&end));
                    return Ok((lines, None));
                }
            }
        }
    }

    /// Reads until the server closes the connection.
    fn expect_end(&mut self, on: usize) -> Result<Vec<String>> {
        let (mut lines, more) = self.answer(on, None, XID_PING)?;
        if more.is_some() {
            lines.push("NOT CLOSED".to_owned());
            self.slots[on].close();
        }
        Ok(lines)
    }

    fn end(&mut self) -> Result<()> {
        for on in 0..self.slots.len() {
            let lines = self.settle(on)?;
            self.note(&format!("slot {on}"), lines);
        }
        self.system.catch_up(0)?;
        for server in 0..self.system.servers.len() {
            self.system.catch_up(server)?;
            let system = &mut *self.system;
            let acl = system.acl;
            let exchange = |op: &Op| system.exchange(server, op);
            let lines = tree::lines(&mut self.view, &self.root, acl, exchange)?;
            self.note(&format!("tree of server {server}"), lines);
        }
        self.close_sessions()
    }

    /// Sessions that live on would leave ephemerals that vanish in the midst of another scenario.
    /// How each ends is compared, too: a transaction more on one side shows where it came from.
    fn close_sessions(&mut self) -> Result<()> {
        for mut slot in self.slots.drain(..) {
            slot.close();
        }
        for session in self.view.sessions() {
            self.system.catch_up(0)?;
            let mut connection = Connection::new(self.system.servers[0].address)?;
            let password = password_of(session);
            connection.send(&[
                request::connect(0, TIMEOUT_MS, session, Some(&password), Some(false)),
                Encoder::default()
                    .int(1)
                    .int(request::opcode(&Op::CloseSession {}))
                    .bytes()
                    .to_vec(),
            ]);
            let frame = connection
                .frame()?
                .context("no answer to a closing session")?;
            let line = if connect_response(&frame)?.session != session {
                "has ended".to_owned()
            } else {
                match connection.incoming()? {
                    Incoming::Reply(header, body) => {
                        self.system.seen(0, header.zxid);
                        self.view.reply(&Op::CloseSession {}, 1, &header, &body)
                    }
                    other => ended(&other),
                }
            };
            let name = self.view.session(session);
            self.note(&name, vec![line]);
        }
        Ok(())
    }

    fn note(&mut self, what: &str, lines: Vec<String>) {
        let lines = lines.into_iter().map(|line| format!("{what}: {line}"));
        self.transcript.end.extend(lines);
    }
}

impl Names for Run<'_> {
    fn path(&self, text: &str) -> String {
        text.replace('@', &self.root)
    }

    fn zxid(&self, since: Since) -> i64 {
        match since {
            Since::Zero => 0,
            Since::Ago(count) => self.system.top - count,
        }
    }
}

/// The server closes the connection after this answer.
fn closes(op: &Op, err: i32) -> bool {
    matches!(op, Op::CloseSession {}) || matches!(err, UNIMPLEMENTED | AUTH_FAILED)
}

fn ended(end: &Incoming) -> String {
    match end {
        Incoming::Silence => format!("NO ANSWER in {PATIENCE:?}"),
        _ => "closed".to_owned(),
    }
}

/// Whom the servers' `superDigest` makes the superuser.
pub(crate) const SUPERUSER: &str = "super:test";

const UNIMPLEMENTED: i32 = -6;
const AUTH_FAILED: i32 = -115;
const UNKNOWN_SESSION: i64 = 0x7712_3456_789a_bcde;
/// Longer than any run; the driver's sessions only ping between scenarios.
const OWN_TIMEOUT_MS: i32 = 300_000;
const POLL: Duration = Duration::from_micros(300);
