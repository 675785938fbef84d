//! A session over a blocking socket: opening it and laying out the znodes before the load starts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::codec::{self, ERR_NODE_EXISTS};
use crate::load::{self, Workload};

/// An open session of which all replies have been read.
pub(crate) struct Session {
    stream: TcpStream,
    session_id: i64,
    next_xid: i32,
    last_zxid: i64,
    received: Vec<u8>,
    /// Bytes at the front of `received` that were returned already.
    taken: usize,
}

impl Session {
    pub(crate) fn open(server: SocketAddr) -> Result<Self> {
        Self::try_open(server).with_context(|| format!("opening a session at {server}"))
    }

    /// Creates the znodes that the load needs; those that exist are written again.
    pub(crate) fn lay_out(
        &mut self,
        workload: Workload,
        znodes: u32,
        data_bytes: usize,
    ) -> Result<()> {
        self.create(load::PARENT, b"")?;
        if workload == Workload::Create {
            self.create(load::CREATED_PARENT, b"")?;
        }
        for first in (0..znodes).step_by(LAY_OUT_BATCH) {
            let numbers = first..znodes.min(first + LAY_OUT_BATCH as u32);
            let mut requests = Vec::new();
            for (xid, number) in (self.next_xid..).zip(numbers.clone()) {
                let path = load::znode_path(number);
                let data = load::znode_data(number, data_bytes);
                requests.extend(codec::create(xid, &path, &data));
            }
            self.stream.write_all(&requests)?;
            for number in numbers {
                self.accept_reply(&load::znode_path(number))?;
            }
        }
        Ok(())
    }

    /// Sends requests at once, made by `encode` from their xids, and takes all replies.
    /// `check` sees each body.
    pub(crate) fn batch(
        &mut self,
        count: usize,
        mut encode: impl FnMut(i32, usize) -> Vec<u8>,
        mut check: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut requests = Vec::new();
        for (xid, index) in (self.next_xid..).zip(0..count) {
            requests.extend(encode(xid, index));
        }
        self.stream.write_all(&requests)?;
        for index in 0..count {
            let body = self.accept_reply(&format!("request {index} of a batch"))?;
            check(index, &body)?;
        }
        Ok(())
    }

    /// Returns when this server has applied every write acknowledged anywhere before the call.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let request = codec::sync(self.next_xid, load::PARENT);
        self.stream.write_all(&request)?;
        self.accept_reply(load::PARENT).map(drop)
    }

    pub(crate) fn close(mut self) -> Result<()> {
        self.stream
            .write_all(&codec::close_session(self.next_xid))?;
        self.accept_reply("the closing of a session").map(drop)
    }

    pub(crate) fn id(&self) -> i64 {
        self.session_id
    }

    /// The socket, the next xid to use and the last zxid seen.
    pub(crate) fn into_parts(self) -> (TcpStream, i32, i64) {
        (self.stream, self.next_xid, self.last_zxid)
    }

    fn try_open(server: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&server, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        stream.write_all(&codec::connect_request(SESSION_TIMEOUT_MS))?;
        let mut session = Self {
            stream,
            session_id: 0,
            next_xid: 1,
            last_zxid: 0,
            received: Vec::new(),
            taken: 0,
        };
        let response = session.receive()?;
        let granted = codec::connect_response(&response)?;
        ensure!(granted.session_id != 0, "the server refused the session");
        ensure!(
            granted.timeout_ms >= SESSION_TIMEOUT_MS,
            "the server granted a session timeout of {} ms only",
            granted.timeout_ms
        );
        session.session_id = granted.session_id;
        Ok(session)
    }

    /// Creates a persistent znode unless there is one.
    pub(crate) fn create(&mut self, path: &str, data: &[u8]) -> Result<()> {
        let request = codec::create(self.next_xid, path, data);
        self.stream.write_all(&request)?;
        self.accept_reply(path).map(drop)
    }

    /// The body of the next reply.
    fn accept_reply(&mut self, what: &str) -> Result<Vec<u8>> {
        let frame = self.receive()?;
        let reply = codec::reply(&frame)?;
        ensure!(
            reply.xid == self.next_xid,
            "expected the reply to xid {}, got xid {}",
            self.next_xid,
            reply.xid
        );
        self.next_xid += 1;
        self.last_zxid = reply.zxid;
        match reply.err {
            0 | ERR_NODE_EXISTS => Ok(reply.body.to_vec()),
            code => bail!("error code {code} for {what}"),
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(frame) = codec::first_frame(&self.received[self.taken..])? {
                let frame = frame.to_vec();
                self.taken += 4 + frame.len();
                return Ok(frame);
            }
            self.received.drain(..self.taken);
            self.taken = 0;
            let mut bytes = [0; 16 * 1024];
            let count = self
                .stream
                .read(&mut bytes)
                .context("waiting for a reply")?;
            ensure!(count > 0, "the server closed the connection");
            self.received.extend(&bytes[..count]);
        }
    }
}

const SESSION_TIMEOUT_MS: i32 = 40_000;
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
const LAY_OUT_BATCH: usize = 100;
