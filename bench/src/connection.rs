//! One connection under load: a fixed number of requests outstanding, replies checked in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;

use crate::codec;
use crate::load::{Load, Outstanding};
use crate::session::Session;

/// A non-blocking connection with its buffers.
pub(crate) struct Connection {
    stream: TcpStream,
    next_xid: i32,
    last_zxid: i64,
    outstanding: VecDeque<Outstanding>,
    received: Box<[u8]>,
    received_end: usize,
    to_send: Vec<u8>,
    sent: usize,
}

/// What a finished request tells.
pub(crate) struct Finished {
    pub(crate) request: Outstanding,
    pub(crate) err: i32,
}

impl Connection {
    /// Takes over an open session.
    pub(crate) fn new(session: Session) -> Result<Self> {
        let (stream, next_xid, last_zxid) = session.into_parts();
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            next_xid,
            last_zxid,
            outstanding: VecDeque::new(),
            received: vec![0; RECEIVE_BYTES].into(),
            received_end: 0,
            to_send: Vec::new(),
            sent: 0,
        })
    }

    pub(crate) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Queues one more request; [`Self::send`] puts it on the wire.
    pub(crate) fn queue(&mut self, load: &mut Load, now_ns: u64) {
        let request = load.put_next(self.next_xid, now_ns, &mut self.to_send);
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.outstanding.push_back(request);
    }

    /// Writes what is queued; the rest waits for the socket to become writable.
    pub(crate) fn send(&mut self) -> Result<()> {
        while self.sent < self.to_send.len() {
            match self.stream.write(&self.to_send[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending requests"),
            }
        }
        self.to_send.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads once and hands every finished request to `finish`, in order. Returns whether the
    /// socket may hold more. A read that leaves room in the buffer has emptied the socket
    /// (epoll(7), edge-triggered), which saves a second system call.
    ///
    /// # Errors
    /// When the server closes the connection or answers anything but the oldest request, with a
    /// zxid that goes backwards or with a body that does not fit.
    pub(crate) fn receive(
        &mut self,
        load: &Load,
        mut finish: impl FnMut(Finished),
    ) -> Result<bool> {
        let room = &mut self.received[self.received_end..];
        let room_bytes = room.len();
        let count = match self.stream.read(room) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error).context("receiving replies"),
        };
        self.received_end += count;
        let mut start = 0;
        while let Some(frame) = codec::first_frame(&self.received[start..self.received_end])? {
            start += 4 + frame.len();
            let reply = codec::reply(frame)?;
            let request = self
                .outstanding
                .pop_front()
                .with_context(|| format!("reply to xid {} without a request", reply.xid))?;
            ensure!(
                reply.xid == request.xid,
                "expected the reply to xid {}, got xid {}",
                request.xid,
                reply.xid
            );
            ensure!(
                reply.zxid >= self.last_zxid,
                "zxid went backwards from {:#x} to {:#x}",
                self.last_zxid,
                reply.zxid
            );
            self.last_zxid = reply.zxid;
            if reply.err == 0 {
                load.verify(request, &reply)?;
            }
            finish(Finished {
                request,
                err: reply.err,
            });
        }
        self.received.copy_within(start..self.received_end, 0);
        self.received_end -= start;
        Ok(count == room_bytes)
    }

    /// Closes the session and the connection. The reply is not awaited.
    pub(crate) fn close(mut self) -> Result<()> {
        self.to_send.extend(codec::close_session(self.next_xid));
        self.send()
    }
}

/// Room for all replies of one burst; a longer one takes more reads.
const RECEIVE_BYTES: usize = 128 * 1024;
