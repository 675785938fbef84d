//! Inputs and outputs in a few words, for the trace.

use zk_core::{Input, Output};

pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::Packet { link, packet } => {
            format!("{:?} {} on {:x}", packet.known_kind(), packet.zxid, link.0)
        }
        Input::Snap { tree, .. } => format!("Snap {}", tree.last_zxid()),
        Input::Truncated(recovered) => format!("Truncated to {}", recovered.last_zxid),
        Input::Touched(_) => "Touched".to_owned(),
        Input::ClientWrites { conn, writes } => {
            format!("{} writes of client {}", writes.len(), conn.0)
        }
        Input::ClientConnect { conn, .. } => format!("client {} connects", conn.0),
        Input::Notification {
            from, notification, ..
        } => {
            let (leader, zxid) = (notification.leader, notification.zxid);
            format!(
                "vote of {from}, {:?}: {leader} with {zxid} round {}",
                notification.state, notification.round.0
            )
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Send { link, packet } => {
            format!("{:?} {} on {:x}", packet.known_kind(), packet.zxid, link.0)
        }
        Output::SendSnap { cut, .. } => format!("Snap {}", cut.zxid()),
        Output::Append(entries) => {
            let zxids: Vec<_> = entries.iter().map(|entry| entry.zxid.to_string()).collect();
            format!("append {}", zxids.join(" "))
        }
        Output::InstallSnapshot { cut, .. } => format!("install snapshot {}", cut.zxid()),
        Output::SaveSnapshot(cut) => format!("save snapshot {}", cut.zxid()),
        Output::ToClient(to) => format!("{} replies to client {}", to.replies, to.conn.0),
        Output::SessionOpened { conn, session, .. } => {
            format!("session {session} of client {}", conn.0)
        }
        Output::SessionRefused { conn, .. } => format!("refuses session of client {}", conn.0),
        Output::Notify { to, notification } => {
            let (leader, zxid) = (notification.leader, notification.zxid);
            format!(
                "vote to {to}, {:?}: {leader} with {zxid} round {}",
                notification.state, notification.round.0
            )
        }
        other => format!("{other:?}"),
    }
}
