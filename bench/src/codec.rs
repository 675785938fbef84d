//! The few records of the ZooKeeper client protocol that the load needs, as of 3.9.4
//! (`zookeeper.jute`, `ZooDefs.OpCode`). Integers are big endian; every packet is an int length
//! followed by that many bytes.

use anyhow::{Context, Result, ensure};

/// Header of a reply and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    pub(crate) err: i32,
    pub(crate) body: &'a [u8],
}

/// What the server granted; `session_id` is 0 when it refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConnectResponse {
    pub(crate) timeout_ms: i32,
    pub(crate) session_id: i64,
}

/// Returns the first complete packet of `bytes` without its length, or `None` when more bytes
/// are needed.
///
/// # Errors
/// When the length is negative or above [`FRAME_BYTES_MAX`].
pub(crate) fn first_frame(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*head);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)
        .with_context(|| format!("server sent a packet of length {length}"))?;
    Ok(rest.get(..length))
}

pub(crate) fn reply(frame: &[u8]) -> Result<Reply<'_>> {
    ensure!(
        frame.len() >= REPLY_HEADER_BYTES,
        "reply of {} bytes is shorter than a reply header",
        frame.len()
    );
    let (xid, rest) = int(frame)?;
    let (zxid, rest) = long(rest)?;
    let (err, body) = int(rest)?;
    Ok(Reply {
        xid,
        zxid,
        err,
        body,
    })
}

pub(crate) fn connect_response(frame: &[u8]) -> Result<ConnectResponse> {
    let (_protocol_version, rest) = int(frame)?;
    let (timeout_ms, rest) = int(rest)?;
    let (session_id, _password) = long(rest)?;
    Ok(ConnectResponse {
        timeout_ms,
        session_id,
    })
}

/// Data of a `GetDataResponse`; the stat after it has to be complete.
pub(crate) fn data_of_get(body: &[u8]) -> Result<&[u8]> {
    let (length, rest) = int(body)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| rest.len() == length + STAT_BYTES)
        .with_context(|| format!("getData reply: data length {length}, {} bytes", body.len()))?;
    Ok(&rest[..length])
}

/// Field `dataLength` of the stat that a `SetDataResponse` consists of.
pub(crate) fn data_length_of_set(body: &[u8]) -> Result<i32> {
    ensure!(
        body.len() == STAT_BYTES,
        "setData reply: {} bytes instead of a stat",
        body.len()
    );
    Ok(int(&body[STAT_DATA_LENGTH_AT..])?.0)
}

/// Path of a `CreateResponse`.
pub(crate) fn path_of_create(body: &[u8]) -> Result<&[u8]> {
    let (length, path) = int(body)?;
    ensure!(
        usize::try_from(length).is_ok_and(|length| length == path.len()),
        "create reply: path length {length}, {} bytes",
        body.len()
    );
    Ok(path)
}

/// A request for a new session.
pub(crate) fn connect_request(timeout_ms: i32) -> Vec<u8> {
    framed(|out| {
        out.extend(0i32.to_be_bytes()); // protocolVersion
        out.extend(0i64.to_be_bytes()); // lastZxidSeen
        out.extend(timeout_ms.to_be_bytes());
        out.extend(0i64.to_be_bytes()); // sessionId
        put_buffer(out, &[0; PASSWORD_BYTES]);
        out.push(0); // readOnly
    })
}

pub(crate) fn get_data(xid: i32, path: &str) -> Vec<u8> {
    request(xid, OP_GET_DATA, |out| {
        put_buffer(out, path.as_bytes());
        out.push(0); // watch
    })
}

/// getData that leaves a watch.
pub(crate) fn get_data_and_watch(xid: i32, path: &str) -> Vec<u8> {
    let mut request = get_data(xid, path);
    *request.last_mut().expect("a request is not empty") = 1;
    request
}

/// setData of any version.
pub(crate) fn set_data(xid: i32, path: &str, data: &[u8]) -> Vec<u8> {
    request(xid, OP_SET_DATA, |out| {
        put_buffer(out, path.as_bytes());
        put_buffer(out, data);
        out.extend((-1i32).to_be_bytes());
    })
}

/// create of a persistent znode that the world may do everything with.
pub(crate) fn create(xid: i32, path: &str, data: &[u8]) -> Vec<u8> {
    request(xid, OP_CREATE, |out| {
        put_buffer(out, path.as_bytes());
        put_buffer(out, data);
        out.extend(1i32.to_be_bytes());
        out.extend(PERMS_ALL.to_be_bytes());
        put_buffer(out, b"world");
        put_buffer(out, b"anyone");
        out.extend(0i32.to_be_bytes()); // flags: PERSISTENT
    })
}

pub(crate) fn sync(xid: i32, path: &str) -> Vec<u8> {
    request(xid, OP_SYNC, |out| put_buffer(out, path.as_bytes()))
}

pub(crate) fn close_session(xid: i32) -> Vec<u8> {
    request(xid, OP_CLOSE_SESSION, |_| {})
}

fn request(xid: i32, op: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    framed(|out| {
        out.extend(xid.to_be_bytes());
        out.extend(op.to_be_bytes());
        body(out);
    })
}

fn framed(body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; 4];
    body(&mut out);
    let length = int_length(out.len() - 4);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(int_length(bytes.len()).to_be_bytes());
    out.extend(bytes);
}

fn int_length(length: usize) -> i32 {
    i32::try_from(length).expect("the arguments bound paths and data far below 2 GiB")
}

fn int(bytes: &[u8]) -> Result<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk().context("record ends early")?;
    Ok((i32::from_be_bytes(*head), rest))
}

fn long(bytes: &[u8]) -> Result<(i64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk().context("record ends early")?;
    Ok((i64::from_be_bytes(*head), rest))
}

/// Error code NodeExists.
pub(crate) const ERR_NODE_EXISTS: i32 = -110;
/// Where the xid is in an encoded request.
pub(crate) const XID_AT: usize = 4;

const OP_CREATE: i32 = 1;
const OP_GET_DATA: i32 = 4;
const OP_SET_DATA: i32 = 5;
const OP_SYNC: i32 = 9;
const OP_CLOSE_SESSION: i32 = -11;
const PERMS_ALL: i32 = 31;
const PASSWORD_BYTES: usize = 16;
const REPLY_HEADER_BYTES: usize = 16;
const STAT_BYTES: usize = 68;
const STAT_DATA_LENGTH_AT: usize = 52;
/// Far above every reply to the requests sent here.
const FRAME_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_connect_request_has_the_bytes_of_the_java_client() {
        assert_eq!(
            hex(&connect_request(30_000)),
            "0000002d00000000000000000000000000007530000000000000000000000010\
             0000000000000000000000000000000000"
        );
    }

    #[test]
    fn requests_have_the_documented_bytes() {
        assert_eq!(
            hex(&get_data(1, "/a")),
            "0000000f0000000100000004000000022f6100"
        );
        assert_eq!(
            hex(&set_data(2, "/a", b"xy")),
            "000000180000000200000005000000022f61000000027879ffffffff"
        );
        assert_eq!(
            hex(&create(3, "/a", b"")),
            "000000310000000300000001000000022f6100000000000000010000001f\
             00000005776f726c6400000006616e796f6e6500000000"
        );
        assert_eq!(hex(&sync(4, "/a")), "0000000e0000000400000009000000022f61");
        assert_eq!(hex(&close_session(5)), "0000000800000005fffffff5");
    }

    #[test]
    fn a_frame_is_taken_only_when_complete_and_of_sane_length() {
        assert_eq!(first_frame(&[0, 0, 0]).unwrap(), None);
        assert_eq!(first_frame(&[0, 0, 0, 2, 7]).unwrap(), None);
        assert_eq!(
            first_frame(&[0, 0, 0, 2, 7, 8, 9]).unwrap(),
            Some(&[7, 8][..])
        );
        assert!(first_frame(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(first_frame(&[0x7f, 0, 0, 0]).is_err());
    }

    #[test]
    fn replies_that_end_early_are_errors() {
        let frame = [
            0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0x9b, 5,
        ];
        assert_eq!(
            reply(&frame).unwrap(),
            Reply {
                xid: 9,
                zxid: 0x1_0000_0002,
                err: -101,
                body: &[5],
            }
        );
        assert!(reply(&frame[..15]).is_err());
        assert!(data_of_get(&[0, 0, 0, 1, 7]).is_err());
        assert!(data_of_get(&[0xff; 4]).is_err());
        assert!(data_length_of_set(&[0; 67]).is_err());
        assert!(path_of_create(&[0, 0, 0, 9, b'/']).is_err());
        assert!(connect_response(&[0; 15]).is_err());
    }
}
