//! The frames that clients get.

use zk_proto::client::{
    ErrorCode, MultiResult, ReplyHeader, Stat, WatcherEvent, special_xid, write_multi_results,
};
use zk_proto::jute::Put;
use zk_proto::{Xid, Zxid};

/// What a reply carries after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing: delete, closeSession, and everything that failed.
    None,
    /// A path: create, sync.
    Path(String),
    /// The null path of a sync, as it came.
    NullPath,
    /// Path and stat: create2, createContainer, createTTL.
    PathStat(String, Stat),
    /// Stat: setData, setACL.
    Stat(Stat),
    /// Results of a batch, in order.
    Multi(Vec<MultiResult>),
}

/// Appends a reply with its length prefix. With an error no body is written.
pub fn write_reply(out: &mut Vec<u8>, xid: Xid, zxid: Zxid, err: i32, reply: &Reply) {
    frame(out, ReplyHeader { xid, zxid, err }, |out| {
        if err != ErrorCode::Ok.code() {
            return;
        }
        match reply {
            Reply::None => {}
            Reply::Path(path) => out.put_str(path),
            Reply::NullPath => out.put_opt_buffer(None),
            Reply::PathStat(path, stat) => {
                out.put_str(path);
                stat.write(out);
            }
            Reply::Stat(stat) => stat.write(out),
            Reply::Multi(results) => write_multi_results(out, results),
        }
    });
}

/// Appends a notification with its length prefix. `zxid` is that of the
/// transaction that caused it.
pub fn write_event(out: &mut Vec<u8>, zxid: Zxid, event: WatcherEvent<'_>) {
    let err = ErrorCode::Ok.code();
    frame(
        out,
        ReplyHeader {
            xid: special_xid::NOTIFICATION,
            zxid,
            err,
        },
        |out| event.write(out),
    );
}

/// Appends length, header and body. A body of 2 GiB or more, for which the
/// protocol has no length, becomes the error MarshallingError.
pub(super) fn frame(out: &mut Vec<u8>, header: ReplyHeader, body: impl FnOnce(&mut Vec<u8>)) {
    frame_within(out, i32::MAX, header, body);
}

/// The same where a length is at most `length_max`.
fn frame_within(
    out: &mut Vec<u8>,
    length_max: i32,
    header: ReplyHeader,
    body: impl FnOnce(&mut Vec<u8>),
) {
    const LENGTH_BYTES: usize = 4;
    let start = out.len();
    let ReplyHeader { xid, zxid, err } = header;
    let mut head = [0; 20];
    head[4..8].copy_from_slice(&xid.0.to_be_bytes());
    head[8..16].copy_from_slice(&zxid.0.to_be_bytes());
    head[16..20].copy_from_slice(&err.to_be_bytes());
    out.extend_from_slice(&head);
    body(out);
    let payload = out.len() - start - LENGTH_BYTES;
    let payload = i32::try_from(payload).ok().filter(|it| *it <= length_max);
    let payload = payload.unwrap_or_else(|| {
        let err = ErrorCode::MarshallingError.code();
        out.truncate(start + head.len());
        out.shrink_to_fit();
        out[start + 16..].copy_from_slice(&err.to_be_bytes());
        (head.len() - LENGTH_BYTES) as i32
    });
    out[start..start + LENGTH_BYTES].copy_from_slice(&payload.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::client::EventKind;

    #[test]
    fn frames_carry_length_header_and_body() {
        let stat = Stat {
            version: 7,
            ..Stat::default()
        };
        for (err, reply, body) in [
            (0, Reply::None, 0),
            (0, Reply::Path("/a".into()), 6),
            (0, Reply::NullPath, 4),
            (0, Reply::PathStat("/a".into(), stat), 74),
            (0, Reply::Stat(stat), 68),
            (
                0,
                Reply::Multi(vec![MultiResult::Delete, MultiResult::Error(-2)]),
                9 + 13 + 9,
            ),
            (-101, Reply::Path("/a".into()), 0),
        ] {
            let mut out = vec![0xee];
            write_reply(&mut out, Xid(3), Zxid(5), err, &reply);
            assert_eq!(out.len(), 1 + 20 + body, "{reply:?}");
            assert_eq!(out[1..5], (16 + i32::try_from(body).unwrap()).to_be_bytes());
            assert_eq!(out[5..9], 3_i32.to_be_bytes());
            assert_eq!(out[9..17], 5_i64.to_be_bytes());
            assert_eq!(out[17..21], err.to_be_bytes());
        }
    }

    #[test]
    fn a_reply_without_a_length_is_an_error_and_harms_no_other() {
        let header = ReplyHeader {
            xid: Xid(3),
            zxid: Zxid(5),
            err: 0,
        };
        let framed = |body: &[u8]| {
            let mut out = b"before".to_vec();
            frame_within(&mut out, 100, header, |out| out.put_raw(body));
            frame_within(&mut out, 100, header, |out| out.put_raw(b"behind"));
            out
        };
        let longest = framed(&[7; 84]);
        assert_eq!(longest.len(), 6 + 104 + 26);
        assert_eq!(longest[6..10], 100_i32.to_be_bytes());
        let refused = framed(&[7; 85]);
        assert_eq!(refused.len(), 6 + 20 + 26);
        assert!(refused.starts_with(b"before") && refused.ends_with(b"behind"));
        assert_eq!(refused[6..10], 16_i32.to_be_bytes());
        assert_eq!(refused[10..14], 3_i32.to_be_bytes());
        let error = ErrorCode::MarshallingError.code();
        assert_eq!(refused[22..26], error.to_be_bytes());
    }

    #[test]
    fn a_notification_is_the_captured_one() {
        let mut out = Vec::new();
        write_event(
            &mut out,
            Zxid(0x57),
            WatcherEvent {
                kind: EventKind::NodeCreated,
                path: "/absent",
            },
        );
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "00000023ffffffff0000000000000057000000000000000100000003000000072f616273656e74"
        );
    }
}
