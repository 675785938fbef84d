//! What comes back, and whether it may.

use zk_core::ConnId;
use zk_proto::client::{ErrorCode, OpCode, special_xid};
use zk_proto::jute::Reader;
use zk_proto::{DecodeError, SessionId, Xid, Zxid};

use super::Pending;
use super::asks::Act;
use super::watching::{Aspect, Seen};
use crate::Violation;
use crate::invariants::registers::{self, Newest};
use crate::world::World;

impl World {
    /// Frames have come to a client.
    pub(crate) fn at_client(
        &mut self,
        client: usize,
        conn: ConnId,
        frames: &[u8],
        close: bool,
    ) -> Result<(), Violation> {
        if self.clients[client].conn != Some(conn) {
            return Ok(());
        }
        let mut reader = Reader::new(frames);
        while !reader.rest().is_empty() {
            let frame = reader.buffer().map_err(malformed)?;
            let mut reader = Reader::new(frame);
            if self.clients[client].is_open {
                self.reply(client, &mut reader)?;
            } else {
                self.connected(client, &mut reader).map_err(malformed)?;
            }
        }
        if close {
            self.lose_connection(client);
        }
        Ok(())
    }

    fn connected(&mut self, client: usize, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.i32()?;
        reader.i32()?;
        let session = SessionId(reader.i64()?);
        let password = reader.buffer()?.to_vec();
        let state = &mut self.clients[client];
        state.is_open = session != SessionId(0);
        state.session = state.is_open.then_some((session, password));
        if state.is_open {
            let again = state.watching.set_again(state.last_zxid);
            if let Some(body) = again {
                self.request(client, OpCode::SetWatches2, body, Act::Read);
            }
        } else {
            state.next_xid = 0;
            state.last_zxid = Zxid::ZERO;
            state.watching.clear();
            self.oracle.sessions_ended += 1;
        }
        self.trace(|| format!("client {client} has session {session}"));
        Ok(())
    }

    fn reply(&mut self, client: usize, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let (xid, zxid, err) = header(reader).map_err(malformed)?;
        let state = &mut self.clients[client];
        if xid == special_xid::NOTIFICATION {
            let (kind, path) = event(reader).map_err(malformed)?;
            state.watching.event(kind, &path);
            self.oracle.events += 1;
            return Ok(());
        }
        let is_next = state
            .pending
            .front()
            .is_some_and(|pending| pending.xid == xid);
        let Some(pending) = state.pending.pop_front().filter(|_| is_next) else {
            let detail = format!("client {client} gets a reply to {} out of turn", xid.0);
            return Err(Violation::new("replies are in session order", detail));
        };
        if matches!(pending.act, Act::Nonsense) {
            return Ok(());
        }
        if zxid < state.last_zxid {
            let detail = format!(
                "client {client} has seen {} and now {zxid}",
                state.last_zxid
            );
            return Err(Violation::new("a session never goes back", detail));
        }
        state.last_zxid = zxid;
        self.outcome(client, pending, zxid, err, reader)
    }

    fn outcome(
        &mut self,
        client: usize,
        pending: Pending,
        zxid: Zxid,
        err: i32,
        reader: &mut Reader<'_>,
    ) -> Result<(), Violation> {
        let mut is_done = err == ErrorCode::Ok.code();
        let state = &mut self.clients[client];
        match &pending.act {
            Act::Create(paths) => {
                if paths.len() > 1 && is_done {
                    is_done = !is_failed_multi(reader).map_err(malformed)?;
                }
                self.oracle.created(paths, is_done);
                if let ([path], true) = (&paths[..], is_done) {
                    state.own.push(path.clone());
                }
            }
            Act::CreateSequential if is_done => {
                let path = reader.str().map_err(malformed)?.into_owned();
                state.own.push(path.clone());
                self.oracle.created_sequential(path)?;
            }
            Act::CreateContainer(path) if is_done => state.containers.push(path.clone()),
            Act::Delete(path) if is_done || err == ErrorCode::NoNode.code() => {
                self.oracle.deleted(path, is_done)?;
            }
            Act::Look {
                aspect,
                path,
                watch,
            } => {
                let seen = seen(*aspect, err, reader).map_err(malformed)?;
                self.saw(client, *aspect, path, seen, *watch)?;
            }
            Act::Watch { path, is_recursive } if is_done => {
                state.watching.add_always(path, *is_recursive);
            }
            Act::Unwatch(path) => {
                if !is_done {
                    let detail = format!("client {client} watches {path}, its server says {err}");
                    return Err(Violation::new("watches stay", detail));
                }
                state.watching.remove_always(path);
            }
            Act::Set {
                path,
                expected,
                before,
                data,
            } if is_done => {
                let version = stat_version(reader.rest()).map_err(malformed)?;
                state.registers.insert(path.clone(), version);
                let registers = &mut self.checks.registers;
                registers.set(path, *expected, *before, Newest { version, zxid }, data)?;
            }
            Act::Set { path, .. } => {
                state.registers.remove(path);
            }
            Act::Get { path, least } if is_done => {
                let data = reader.buffer().map_err(malformed)?;
                let data = String::from_utf8_lossy(data).into_owned();
                let version = stat_version(reader.rest()).map_err(malformed)?;
                state.registers.insert(path.clone(), version);
                self.checks.registers.shows(path, version, &data)?;
                let shown = Newest { version, zxid };
                registers::is_shown(client, path, *least, shown)?;
            }
            Act::Sync(before) if is_done => before.are_shown(client, zxid)?,
            Act::Close => state.is_done = true,
            Act::CreateSequential
            | Act::CreateContainer(_)
            | Act::Delete(_)
            | Act::Watch { .. }
            | Act::Get { .. }
            | Act::Sync(_)
            | Act::Write
            | Act::Ping
            | Act::Nonsense
            | Act::Read => {}
        }
        if !is_done {
            self.oracle.failed += 1;
            return Ok(());
        }
        *self.oracle.succeeded.entry(pending.op.code()).or_default() += 1;
        if pending.act.is_write() {
            self.oracle.acked += 1;
            let state = &mut self.clients[client];
            state.acked_sent_us = state.acked_sent_us.max(pending.sent_us);
            self.checks.acknowledged(zxid, &pending.wanted)?;
        }
        Ok(())
    }

    fn saw(
        &mut self,
        client: usize,
        aspect: Aspect,
        path: &str,
        seen: Seen,
        watch: bool,
    ) -> Result<(), Violation> {
        let watching = &mut self.clients[client].watching;
        watching
            .read(aspect, path, seen, watch)
            .map_err(|believed| {
                let detail = format!(
                    "client {client} watches {aspect:?} of {path} since {believed:?} and reads \
                     {seen:?} without an event"
                );
                Violation::new("watch event before the read", detail)
            })
    }
}

impl Act {
    const fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::Look { .. }
                | Self::Read
                | Self::Watch { .. }
                | Self::Unwatch(_)
                | Self::Get { .. }
                | Self::Sync(_)
                | Self::Ping
                | Self::Nonsense
        )
    }
}

fn header(reader: &mut Reader<'_>) -> Result<(Xid, Zxid, i32), DecodeError> {
    Ok((Xid(reader.i32()?), Zxid(reader.i64()?), reader.i32()?))
}

fn event(reader: &mut Reader<'_>) -> Result<(i32, String), DecodeError> {
    let kind = reader.i32()?;
    reader.i32()?;
    Ok((kind, reader.str()?.into_owned()))
}

/// The stat's mzxid or pzxid, behind which only fields of known length come.
fn seen(aspect: Aspect, err: i32, reader: &Reader<'_>) -> Result<Seen, DecodeError> {
    if err != ErrorCode::Ok.code() {
        return Ok(None);
    }
    let body = reader.rest();
    let mut stat = Reader::new(&body[body.len().saturating_sub(STAT_BYTES)..]);
    let mut zxid_after = |longs_before: usize| {
        (0..longs_before).try_for_each(|_| stat.i64().map(drop))?;
        Ok(Some(Zxid(stat.i64()?)))
    };
    match aspect {
        Aspect::Data => zxid_after(1),
        Aspect::Children => {
            let mut pzxid = Reader::new(&body[body.len().saturating_sub(8)..]);
            Ok(Some(Zxid(pzxid.i64()?)))
        }
    }
}

/// The version in a stat, behind three zxids and times.
fn stat_version(stat: &[u8]) -> Result<i32, DecodeError> {
    let mut reader = Reader::new(stat);
    (0..4).try_for_each(|_| reader.i64().map(drop))?;
    reader.i32()
}

/// A failed multi says so in its results only.
fn is_failed_multi(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    Ok(reader.i32()? == OpCode::Error.code())
}

fn malformed(error: DecodeError) -> Violation {
    Violation::new("frames are well formed", error.to_string())
}

/// `Stat`: eleven fields, `pzxid` the last.
const STAT_BYTES: usize = 68;
