//! Four-letter words over TCP: send four bytes, read until the server closes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time;

use super::{AskError, QuorumAdmin, report};
use crate::ensemble::{Answer, Role};

/// Asks with `srvr`, and a leader with `mntr` as well.
#[derive(Clone, Copy, Debug)]
pub struct FourLetterAdmin {
    timeout: Duration,
}

impl FourLetterAdmin {
    /// Waits at most `timeout` for all that is asked of one server.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl Default for FourLetterAdmin {
    fn default() -> Self {
        Self::new(TIMEOUT_DEFAULT)
    }
}

impl QuorumAdmin for FourLetterAdmin {
    async fn ask(&self, server: SocketAddr) -> Result<Answer, AskError> {
        match time::timeout(self.timeout, ask(server)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(AskError::Timeout(self.timeout.as_millis())),
        }
    }
}

async fn ask(server: SocketAddr) -> Result<Answer, AskError> {
    let (role, zxid) = report::parse_srvr(&send(server, b"srvr").await?)?;
    let synced_followers = match role {
        Role::Leader => Some(report::parse_synced_followers(
            &send(server, b"mntr").await?,
        )?),
        Role::Follower | Role::Standalone | Role::Looking => None,
    };
    Ok(Answer {
        role,
        zxid,
        synced_followers,
    })
}

async fn send(server: SocketAddr, command: &[u8; 4]) -> Result<String, AskError> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(command).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX + 1)
        .read_to_end(&mut answer)
        .await?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(AskError::TooLong(ANSWER_BYTES_MAX));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// All members are asked at the same time, so this bounds the observation too.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// `mntr` of a server with every metric stays below 32 KiB.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::ensemble::Zxid;

    /// A server that answers each command with the text given for it, then closes.
    async fn server(srvr: Vec<u8>, mntr: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut command = [0; 4];
                stream.read_exact(&mut command).await.unwrap();
                let text = if &command == b"srvr" { &srvr } else { &mntr };
                let _closed_early = stream.write_all(text).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_leader_is_asked_how_many_followers_are_synchronized() {
        let address = server(
            b"Zxid: 0x200000001\nMode: leader\n".into(),
            b"zk_synced_followers\t4\n".into(),
        )
        .await;
        let answer = FourLetterAdmin::default().ask(address).await.unwrap();
        assert_eq!(
            answer,
            Answer {
                role: Role::Leader,
                zxid: Zxid::new(2, 1),
                synced_followers: Some(4)
            }
        );
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let address = server(vec![b'x'; 300 * 1024], Vec::new()).await;
        assert!(matches!(
            FourLetterAdmin::default().ask(address).await,
            Err(AskError::TooLong(_))
        ));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = FourLetterAdmin::new(Duration::from_millis(50));
        assert!(matches!(
            admin.ask(listener.local_addr().unwrap()).await,
            Err(AskError::Timeout(50))
        ));
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(
            FourLetterAdmin::default().ask(address).await,
            Err(AskError::Io(_))
        ));
    }
}
