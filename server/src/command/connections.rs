//! Client connections as `stat` and `cons` show them (`ServerCnxn` of 3.9.4).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use zk_proto::SessionId;
use zk_proto::client::OpCode;

use crate::net::ShownConn;

/// One line a connection: where from, and how many packets.
pub(super) fn brief(connections: &[ShownConn]) -> String {
    let mut text = String::new();
    for shown in connections {
        write_line(&mut text, shown, false);
    }
    text
}

/// One line a connection with everything, and an empty line.
pub(super) fn long(connections: &[ShownConn]) -> String {
    let mut text = String::new();
    for shown in connections {
        write_line(&mut text, shown, true);
    }
    text + "\n"
}

/// An address as Java prints it: IPv6 in brackets and with every group.
pub(super) fn address(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("[{}]:{}", groups.join(":"), address.port())
        }
    }
}

/// 1 for a connection that is read. A word ends reading, so its own connection
/// has none.
pub(super) const fn interest_ops(shown: &ShownConn) -> u8 {
    if shown.session.0 == 0 { 0 } else { 1 }
}

/// What the reference calls the operation with this code.
pub(super) fn operation(code: Option<i32>) -> &'static str {
    let Some(op) = code.and_then(OpCode::from_code) else {
        return "NA";
    };
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetData => "SETD",
        OpCode::GetAcl => "GETA",
        OpCode::SetAcl => "SETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::Sync => "SYNC",
        OpCode::Ping => "PING",
        OpCode::Check => "CHEC",
        OpCode::Multi => "MULT",
        OpCode::Reconfig => "RECO",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::MultiRead => "MLTR",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::GetEphemerals => "GETE",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::AddWatch => "ADDW",
        OpCode::WhoAmI => "HOMI",
        OpCode::CreateSession => "SESS",
        OpCode::CloseSession => "CLOS",
        OpCode::Auth | OpCode::Sasl | OpCode::Error => "NA",
    }
}

fn write_line(text: &mut String, shown: &ShownConn, is_long: bool) {
    let ShownConn {
        conn: _,
        remote,
        established_ms,
        session,
        timeout_ms,
        queued,
        received,
        sent,
        last_op,
        last_cxid,
        last_zxid,
        last_response_ms,
        last_latency_ms,
        min_latency_ms,
        avg_latency_ms,
        max_latency_ms,
    } = shown;
    let remote = address(*remote);
    let interest = interest_ops(shown);
    *text += &format!(" /{remote}[{interest}](queued={queued},recved={received},sent={sent}");
    if is_long && *session != SessionId(0) {
        let op = operation(*last_op);
        *text += &format!(
            ",sid=0x{:x},lop={op},est={established_ms},to={timeout_ms}",
            session.0
        );
        if *last_cxid >= 0 {
            write!(text, ",lcxid=0x{last_cxid:x}").expect("a string takes all text");
        }
        *text += &format!(
            ",lzxid=0x{last_zxid:x},lresp={last_response_ms},llat={last_latency_ms},\
             minlat={min_latency_ms},avglat={avg_latency_ms},maxlat={max_latency_ms}"
        );
    }
    *text += ")\n";
}

#[cfg(test)]
mod tests {
    use zk_core::ConnId;

    use super::*;

    fn shown() -> ShownConn {
        ShownConn {
            conn: ConnId(1),
            remote: "127.0.0.1:34696".parse().unwrap(),
            established_ms: 1_795_271_540_929,
            session: SessionId(0x1_0001_017b_f900),
            timeout_ms: 10_000,
            queued: 0,
            received: 204,
            sent: 205,
            last_op: Some(4),
            last_cxid: 0xcb,
            last_zxid: 0xcd,
            last_response_ms: 16_874_872,
            last_latency_ms: 2,
            min_latency_ms: 1,
            avg_latency_ms: 3,
            max_latency_ms: 10,
        }
    }

    #[test]
    fn a_connection_with_a_session() {
        let shown = [shown()];
        assert_eq!(
            brief(&shown),
            " /127.0.0.1:34696[1](queued=0,recved=204,sent=205)\n"
        );
        assert_eq!(
            long(&shown),
            " /127.0.0.1:34696[1](queued=0,recved=204,sent=205,sid=0x10001017bf900,lop=GETD,\
             est=1795271540929,to=10000,lcxid=0xcb,lzxid=0xcd,lresp=16874872,llat=2,minlat=1,\
             avglat=3,maxlat=10)\n\n"
        );
    }

    #[test]
    fn a_connection_without_a_session_or_requests() {
        let waiting = ShownConn {
            session: SessionId(0),
            remote: "[::1]:5".parse().unwrap(),
            ..shown()
        };
        assert_eq!(
            long(&[waiting]),
            " /[0:0:0:0:0:0:0:1]:5[0](queued=0,recved=204,sent=205)\n\n"
        );
        let silent = ShownConn {
            last_op: None,
            last_cxid: -1,
            last_zxid: -1,
            ..shown()
        };
        let text = long(&[silent]);
        assert!(
            text.contains(",lop=NA,est=1795271540929,to=10000,lzxid=0xffffffffffffffff,lresp=")
        );
    }
}
