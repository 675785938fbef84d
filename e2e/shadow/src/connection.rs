//! One TCP connection to a client port, with blocking calls.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::jute::Decoder;
use crate::request::XID_NOTIFICATION;
use crate::view::{Header, header};

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    xid: i32,
}

/// What came next from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Notification(Header, Vec<u8>),
    Reply(Header, Vec<u8>),
    /// The server closed the connection.
    End,
    /// Nothing for [`PATIENCE`].
    Silence,
}

impl Connection {
    /// # Errors
    /// When the server does not accept.
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)
            .with_context(|| format!("connect to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            xid: 0,
        })
    }

    pub(crate) fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// Sends packets with one call. That the server has closed the connection shows when reading.
    pub(crate) fn send(&mut self, packets: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for packet in packets {
            let length = i32::try_from(packet.len()).expect("packets are far below 2 GiB");
            bytes.extend(length.to_be_bytes());
            bytes.extend(packet);
        }
        drop(self.stream.write_all(&bytes));
    }

    /// Ends the connection and waits until the server has ended it, too. The reference, when it
    /// notices late, forgets the connection that has taken the session up meanwhile.
    pub(crate) fn close(mut self) {
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            let mut buffer = [0; 1 << 12];
            while self.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    }

    /// The next frame, as it is; `None` at the end of the connection or after [`PATIENCE`].
    pub(crate) fn frame(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(match self.next_frame()? {
            Frame::Bytes(bytes) => Some(bytes),
            Frame::End | Frame::Silence => None,
        })
    }

    /// # Errors
    /// When the server sends what is no frame, or no reply header.
    pub(crate) fn incoming(&mut self) -> Result<Incoming> {
        let frame = match self.next_frame()? {
            Frame::Bytes(bytes) => bytes,
            Frame::End => return Ok(Incoming::End),
            Frame::Silence => return Ok(Incoming::Silence),
        };
        let mut fields = Decoder::new(&frame);
        let header = header(&mut fields).context("header of a reply")?;
        let body = fields.rest().to_vec();
        Ok(if header.xid == XID_NOTIFICATION {
            Incoming::Notification(header, body)
        } else {
            Incoming::Reply(header, body)
        })
    }

    fn next_frame(&mut self) -> Result<Frame> {
        let mut buffer = [0; 1 << 16];
        loop {
            if let Some((head, rest)) = self.received.split_first_chunk::<4>() {
                let length = i32::from_be_bytes(*head);
                let Some(length) = usize::try_from(length).ok().filter(|it| *it <= FRAME_MAX)
                else {
                    bail!("server sent a packet of length {length}");
                };
                if rest.len() >= length {
                    let frame = rest[..length].to_vec();
                    self.received.drain(..4 + length);
                    return Ok(Frame::Bytes(frame));
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Frame::End),
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(Frame::Silence),
                    ErrorKind::Interrupted => {}
                    _ => return Ok(Frame::End),
                },
            }
        }
    }
}

enum Frame {
    Bytes(Vec<u8>),
    End,
    Silence,
}

/// How long an answer may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const FRAME_MAX: usize = 16 << 20;
