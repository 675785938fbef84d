//! What a server sent, as lines of text that two servers with the same history must share.
//!
//! Zxids become distances from the scenario's first transaction, session ids become the order in
//! which they were opened, times are checked on the spot against the transaction they belong to.
//! Lists whose order the reference leaves open are sorted.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

use crate::jute::Decoder;
use crate::request;
use crate::step::Op;

/// Maps what differs between two servers by nature. One per run of a scenario on a system.
#[derive(Debug)]
pub(crate) struct View {
    root: String,
    /// Zxid of the transaction that made the root.
    base: i64,
    sessions: Vec<i64>,
    /// Time of each transaction seen.
    times: BTreeMap<i64, i64>,
    /// Zxids of transactions that delete in an order of no meaning.
    unordered: Vec<i64>,
    /// Error code of the last reply; of a multi that of the operation that made it fail.
    pub(crate) code: i32,
}

/// Frames of the server, apart from the ConnectResponse.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    pub(crate) err: i32,
}

pub(crate) struct ConnectResponse {
    pub(crate) timeout_ms: i32,
    pub(crate) session: i64,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) read_only: Option<bool>,
}

impl View {
    pub(crate) fn new(root: &str, base: i64) -> Self {
        Self {
            root: root.to_owned(),
            base,
            sessions: Vec::new(),
            times: BTreeMap::from([(0, 0)]),
            unordered: Vec::new(),
            code: 0,
        }
    }

    pub(crate) fn session_opened(&mut self, session: i64) {
        if !self.sessions.contains(&session) {
            self.sessions.push(session);
        }
    }

    /// All sessions of the scenario, those that have ended too.
    pub(crate) fn sessions(&self) -> Vec<i64> {
        self.sessions.clone()
    }

    /// Events of this transaction may come in any order.
    pub(crate) fn session_closed_at(&mut self, zxid: i64) {
        self.unordered.push(zxid);
    }

    pub(crate) fn zxid(&self, zxid: i64) -> String {
        match zxid {
            0 | -1 => zxid.to_string(),
            // Epochs differ: the reference's standalone server stays in epoch 0.
            _ => format!("{:+}", (zxid & COUNTER) - (self.base & COUNTER)),
        }
    }

    pub(crate) fn session(&self, session: i64) -> String {
        if session == 0 {
            return "none".to_owned();
        }
        match self.sessions.iter().position(|known| *known == session) {
            Some(at) => format!("session{at}"),
            None => format!("unknown session 0x{session:x}"),
        }
    }

    /// A reply to `op`.
    pub(crate) fn reply(&mut self, op: &Op, sent_xid: i32, header: &Header, body: &[u8]) -> String {
        let mut line = format!("{} ", request::name(op));
        line += &error(header.err);
        if header.xid != sent_xid {
            line += &format!(" xid {} for {sent_xid}", header.xid);
        }
        self.code = header.err;
        let mut fields = Decoder::new(body);
        let what = match header.err {
            0 => self.body(op, &mut fields),
            _ if body.is_empty() => Ok(String::new()),
            _ => {
                fields = Decoder::new(&[]);
                Ok(format!(" with {}", hex(body)))
            }
        };
        let what = what.and_then(|text| fields.end().map(|()| text));
        match what {
            Ok(text) => line += &text,
            Err(error) => line += &format!(" MALFORMED {error:#}: {}", hex(body)),
        }
        line + " at " + &self.zxid(header.zxid)
    }

    pub(crate) fn event(&self, header: &Header, body: &[u8]) -> Event {
        let mut fields = Decoder::new(body);
        let mut read = || -> Result<String> {
            let (kind, state, path) = (fields.int()?, fields.int()?, fields.string()?);
            fields.end()?;
            let kind = match kind {
                1 => "NodeCreated",
                2 => "NodeDeleted",
                3 => "NodeDataChanged",
                4 => "NodeChildrenChanged",
                _ => "OTHER",
            };
            let path = self.text(&path);
            Ok(format!(
                "event {kind} {path} state {state} err {}",
                header.err
            ))
        };
        let text = match read() {
            Ok(text) => text,
            Err(error) => format!("event MALFORMED {error:#}: {}", hex(body)),
        };
        Event {
            zxid: header.zxid,
            text: text + " at " + &self.zxid(header.zxid),
        }
    }

    /// Lines of events in their order, or sorted where that order means nothing.
    pub(crate) fn events(&self, events: Vec<Event>) -> Vec<String> {
        let mut lines = Vec::new();
        for run in events.chunk_by(|one, other| one.zxid == other.zxid) {
            let from = lines.len();
            lines.extend(run.iter().map(|event| event.text.clone()));
            if self.unordered.contains(&run[0].zxid) {
                lines[from..].sort();
            }
        }
        lines
    }

    pub(crate) fn connect_response(&self, response: &ConnectResponse) -> String {
        let password = match &response.password {
            None => "null".to_owned(),
            Some(bytes) if bytes.iter().all(|byte| *byte == 0) => format!("{} zeros", bytes.len()),
            Some(bytes) if *bytes == password_of(response.session) => "derived".to_owned(),
            Some(bytes) => hex(bytes),
        };
        format!(
            "connected {} timeout {} password {password} read-only {:?}",
            self.session(response.session),
            response.timeout_ms,
            response.read_only
        )
    }

    /// Text with the root's name as `@`, long data cut.
    pub(crate) fn text(&self, text: &str) -> String {
        text.replace(&self.root, "@")
    }

    /// What follows the header of a reply without an error, by the operation's code.
    fn body(&mut self, op: &Op, fields: &mut Decoder<'_>) -> Result<String> {
        Ok(match request::opcode(op) {
            1 | 9 => self.path(fields)?,
            15 | 19 | 21 => self.path(fields)? + &self.stat(fields)?,
            3 | 5 | 7 => self.stat(fields)?,
            4 | 16 => self.data(fields)? + &self.stat(fields)?,
            8 | 103 => self.names(fields)?,
            12 => self.names(fields)? + &self.stat(fields)?,
            6 => acl(fields)? + &self.stat(fields)?,
            104 | 106 => format!(" {}", fields.int()?),
            107 => who_am_i(fields)?,
            14 | 22 => self.results(op, fields)?,
            _ => String::new(),
        })
    }

    fn results(&mut self, op: &Op, fields: &mut Decoder<'_>) -> Result<String> {
        let mut text = String::new();
        loop {
            let (kind, done, err) = (fields.int()?, fields.bool()?, fields.int()?);
            if done {
                ensure!((kind, err) == (-1, -1), "end header {kind} {err}");
                break;
            }
            text += &format!(" [{kind} {err}");
            text += &match kind {
                1 => self.path(fields)?,
                15 => self.path(fields)? + &self.stat(fields)?,
                5 => self.stat(fields)?,
                4 => self.data(fields)? + &self.stat(fields)?,
                8 => self.names(fields)?,
                -1 => {
                    let code = fields.int()?;
                    if matches!(op, Op::Multi(_)) && self.code == 0 {
                        self.code = code;
                    }
                    format!(" {code}")
                }
                _ => String::new(),
            };
            text += "]";
        }
        Ok(text)
    }

    fn stat(&mut self, fields: &mut Decoder<'_>) -> Result<String> {
        let (czxid, mzxid) = (fields.long()?, fields.long()?);
        let (ctime, mtime) = (fields.long()?, fields.long()?);
        let (version, cversion, aversion) = (fields.int()?, fields.int()?, fields.int()?);
        let owner = self.session(fields.long()?);
        let (length, children, pzxid) = (fields.int()?, fields.int()?, fields.long()?);
        let ctime = self.time(czxid, ctime);
        let mtime = self.time(mzxid, mtime);
        Ok(format!(
            " (czxid {}{ctime} mzxid {}{mtime} pzxid {} version {version} cversion {cversion} \
             aversion {aversion} owner {owner} length {length} children {children})",
            self.zxid(czxid),
            self.zxid(mzxid),
            self.zxid(pzxid),
        ))
    }

    /// Empty when `time` is the one of the transaction `zxid`, as far as that can be known.
    fn time(&mut self, zxid: i64, time: i64) -> String {
        let of_zxid = *self.times.entry(zxid).or_insert(time);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_millis();
        let recent =
            time == 0 || u128::try_from(time).is_ok_and(|it| it.abs_diff(now) < AGE_MS_MAX);
        if of_zxid == time && recent {
            String::new()
        } else {
            format!(" TIME {time} where {of_zxid} is the time of that transaction")
        }
    }

    fn path(&self, fields: &mut Decoder<'_>) -> Result<String> {
        Ok(format!(" {}", self.text(&fields.string()?)))
    }

    fn data(&self, fields: &mut Decoder<'_>) -> Result<String> {
        Ok(match fields.buffer()? {
            None => " null".to_owned(),
            Some(bytes) if bytes.len() > DATA_SHOWN => {
                let sum = bytes.iter().fold(0u32, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
                });
                format!(" {} bytes of sum {sum:08x}", bytes.len())
            }
            Some(bytes) => format!(" {:?}", self.text(&String::from_utf8_lossy(bytes))),
        })
    }

    fn names(&self, fields: &mut Decoder<'_>) -> Result<String> {
        let mut names = fields.vector(Decoder::string)?;
        names.sort();
        Ok(format!(" {}", self.text(&format!("{names:?}"))))
    }
}

/// One notification.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    zxid: i64,
    text: String,
}

pub(crate) fn header(fields: &mut Decoder<'_>) -> Result<Header> {
    Ok(Header {
        xid: fields.int()?,
        zxid: fields.long()?,
        err: fields.int()?,
    })
}

pub(crate) fn connect_response(frame: &[u8]) -> Result<ConnectResponse> {
    let mut fields = Decoder::new(frame);
    let version = fields.int()?;
    ensure!(version == 0, "protocol version {version}");
    let response = ConnectResponse {
        timeout_ms: fields.int()?,
        session: fields.long()?,
        password: fields.buffer()?.map(<[u8]>::to_vec),
        read_only: if fields.rest().is_empty() {
            None
        } else {
            Some(fields.bool()?)
        },
    };
    fields.end()?;
    Ok(response)
}

/// The password of a session: 16 bytes of `java.util.Random` seeded with the id and a constant
/// (`ZooKeeperServer.generatePasswd`).
pub(crate) fn password_of(session: i64) -> Vec<u8> {
    const STATE: u64 = (1 << 48) - 1;
    const FACTOR: u64 = 0x5_DEEC_E66D;
    let mut state = (session.cast_unsigned() ^ 0xB341_5C00 ^ FACTOR) & STATE;
    let mut out = Vec::new();
    for _ in 0..4 {
        state = state.wrapping_mul(FACTOR).wrapping_add(0xB) & STATE;
        out.extend(u32::try_from(state >> 16).unwrap_or_default().to_le_bytes());
    }
    out
}

/// The reference's name of an error code (`KeeperException.Code`).
pub(crate) fn error(code: i32) -> String {
    ERRORS
        .iter()
        .find(|(known, _)| *known == code)
        .map_or_else(|| format!("error {code}"), |(_, name)| (*name).to_owned())
}

fn acl(fields: &mut Decoder<'_>) -> Result<String> {
    let mut entries = fields.vector(|entry| {
        let (perms, scheme, id) = (entry.int()?, entry.string()?, entry.string()?);
        Ok(format!("{perms} {scheme} {id}"))
    })?;
    // `auth` expands to the ids of a connection, which the reference keeps in a hash set.
    entries.sort();
    Ok(format!(" {entries:?}"))
}

fn who_am_i(fields: &mut Decoder<'_>) -> Result<String> {
    let mut ids = fields.vector(|id| Ok(format!("{}:{}", id.string()?, id.string()?)))?;
    ids.sort();
    Ok(format!(" {ids:?}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ERRORS: [(i32, &str); 20] = [
    (0, "Ok"),
    (-2, "RuntimeInconsistency"),
    (-5, "MarshallingError"),
    (-6, "Unimplemented"),
    (-8, "BadArguments"),
    (-12, "UnknownSession"),
    (-101, "NoNode"),
    (-102, "NoAuth"),
    (-103, "BadVersion"),
    (-108, "NoChildrenForEphemerals"),
    (-110, "NodeExists"),
    (-111, "NotEmpty"),
    (-112, "SessionExpired"),
    (-114, "InvalidACL"),
    (-115, "AuthFailed"),
    (-118, "SessionMoved"),
    (-119, "NotReadOnly"),
    (-121, "NoWatcher"),
    (-123, "ReconfigDisabled"),
    (-125, "QuotaExceeded"),
];
const COUNTER: i64 = 0xffff_ffff;
/// Data up to this length is shown whole.
const DATA_SHOWN: usize = 200;
/// A transaction's time is the wall clock in milliseconds, give or take this.
const AGE_MS_MAX: u128 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_one_of_the_jdk() {
        let cases = [
            (1, "054cc74a37327db215e702e20c73f005"),
            (0x0100_0000_0000_0000, "f22acd4a97e69d6d20a49bb638eadb38"),
            (0x0100_0abc_d123_0000, "bfe6dcade00a07a535ad458629a6c6fd"),
        ];
        for (session, password) in cases {
            assert_eq!(hex(&password_of(session)), password);
        }
    }
}
