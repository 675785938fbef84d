//! Sessions, requests and their order, over a real socket.

mod support;

use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zk_proto::Xid;
use zk_proto::client::{ConnectRequest, ErrorCode, OpCode, special_xid};

#[tokio::test]
async fn a_session_is_opened_and_taken_up_again() {
    let running = standalone("").await;
    let address = running.server.client_address;
    let first = Client::connect(address).await;
    assert_eq!(first.timeout_ms, 30_000);
    let again = ConnectRequest {
        session_id: first.session,
        password: first.password.clone(),
        read_only: None,
        timeout_ms: 1,
        ..connect_request()
    };
    let mut second = Client::attach(address, again.clone())
        .await
        .expect("the password is right");
    assert_eq!((second.session, second.timeout_ms), (first.session, 400));
    assert_eq!(
        second
            .call(1, OpCode::GetData, &path_watch("/", false))
            .await
            .header
            .err,
        0
    );
    let wrong = ConnectRequest {
        password: vec![1; 16],
        ..again
    };
    assert!(Client::attach(address, wrong).await.is_none());
    let unknown = ConnectRequest {
        session_id: zk_proto::SessionId(99),
        ..connect_request()
    };
    assert!(Client::attach(address, unknown).await.is_none());
}

#[tokio::test]
async fn a_client_that_has_seen_more_is_sent_elsewhere_without_an_answer() {
    let running = standalone("").await;
    let mut stream = TcpStream::connect(running.server.client_address)
        .await
        .unwrap();
    let mut payload = Vec::new();
    ConnectRequest {
        last_zxid_seen: zk_proto::Zxid(1 << 40),
        ..connect_request()
    }
    .write(&mut payload);
    send_frame(&mut stream, &payload).await;
    assert_eq!(read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn create_read_set_delete() {
    let running = standalone("").await;
    let mut client = Client::connect(running.server.client_address).await;
    let created = client.call(1, OpCode::Create, &create("/a", b"1", 0)).await;
    assert_eq!(
        (created.header.xid, created.header.err, created.body),
        (Xid(1), 0, path_only("/a"))
    );
    let refused = client.call(2, OpCode::Create, &create("/a", b"", 0)).await;
    assert_eq!(
        (refused.header.err, refused.body.len()),
        (ErrorCode::NodeExists.code(), 0)
    );
    assert_eq!(
        client
            .call(3, OpCode::SetData, &set_data("/a", b"22"))
            .await
            .header
            .err,
        0
    );
    let read = client
        .call(4, OpCode::GetData, &path_watch("/a", false))
        .await;
    assert_eq!(data_of(&read), b"22");
    let mut delete = path_only("/a");
    delete.extend_from_slice(&(-1_i32).to_be_bytes());
    assert_eq!(client.call(5, OpCode::Delete, &delete).await.header.err, 0);
    let gone = client
        .call(6, OpCode::Exists, &path_watch("/a", false))
        .await;
    assert_eq!(gone.header.err, ErrorCode::NoNode.code());
    let ping = client.call(-2, OpCode::Ping, &[]).await;
    assert_eq!(ping.header.xid, special_xid::PING);
    let synced = client.call(7, OpCode::Sync, &path_only("/a")).await;
    assert_eq!((synced.header.err, synced.body), (0, path_only("/a")));
    let closed = client.call(8, OpCode::CloseSession, &[]).await;
    assert_eq!((closed.header.xid, closed.header.err), (Xid(8), 0));
    client.assert_closed().await;
}

#[tokio::test]
async fn replies_come_in_the_order_of_requests() {
    const ROUNDS: i32 = 300;
    let running = standalone("").await;
    let mut client = Client::connect(running.server.client_address).await;
    client.call(1, OpCode::Create, &create("/n", b"", 0)).await;
    let mut frames = Vec::new();
    for n in 0..ROUNDS {
        let data = n.to_string();
        frames.extend(request(
            10 + 3 * n,
            OpCode::SetData.code(),
            &set_data("/n", data.as_bytes()),
        ));
        frames.extend(request(
            11 + 3 * n,
            OpCode::GetData.code(),
            &path_watch("/n", false),
        ));
        frames.extend(request(
            12 + 3 * n,
            OpCode::Exists.code(),
            &path_watch("/none", false),
        ));
    }
    client.stream.write_all(&frames).await.unwrap();
    let mut last_zxid = 0;
    for n in 0..ROUNDS {
        let set = client.receive().await;
        assert_eq!((set.header.xid, set.header.err), (Xid(10 + 3 * n), 0));
        let read = client.receive().await;
        assert_eq!(read.header.xid, Xid(11 + 3 * n));
        assert_eq!(
            data_of(&read),
            n.to_string().as_bytes(),
            "a read sees its own client's writes and no later one"
        );
        let missing = client.receive().await;
        assert_eq!(
            (missing.header.xid, missing.header.err),
            (Xid(12 + 3 * n), ErrorCode::NoNode.code())
        );
        assert!(missing.header.zxid.0 >= last_zxid);
        last_zxid = missing.header.zxid.0;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_event_comes_before_the_change_can_be_read() {
    const WATCHERS: usize = 6;
    const ROUNDS: u32 = 150;
    let running = standalone("").await;
    let address = running.server.client_address;
    let mut writer = Client::connect(address).await;
    writer.call(1, OpCode::Create, &create("/w", b"0", 0)).await;
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| tokio::spawn(watch_until_deleted(address)))
        .collect();
    for round in 1..=ROUNDS {
        let data = round.to_string();
        let set = writer
            .call(2, OpCode::SetData, &set_data("/w", data.as_bytes()))
            .await;
        assert_eq!(set.header.err, 0);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut delete = path_only("/w");
    delete.extend_from_slice(&(-1_i32).to_be_bytes());
    assert_eq!(writer.call(3, OpCode::Delete, &delete).await.header.err, 0);
    for watcher in watchers {
        assert!(
            watcher.await.unwrap() > 0,
            "a watcher that saw no change proves nothing"
        );
    }
}

/// Leaves a watch and reads on until the change shows, which must be after
/// the event. Returns how many changes it saw.
async fn watch_until_deleted(address: std::net::SocketAddr) -> u32 {
    const PIPELINE: usize = 16;
    let mut client = Client::connect(address).await;
    let reads = request(3, OpCode::GetData.code(), &path_watch("/w", false)).repeat(PIPELINE);
    let mut changes = 0;
    loop {
        let old = client
            .call(1, OpCode::GetData, &path_watch("/w", true))
            .await;
        if old.header.err != 0 {
            return changes;
        }
        let mut has_seen_event = false;
        let mut has_seen_change = false;
        while !has_seen_change {
            client.stream.write_all(&reads).await.unwrap();
            let mut answered = 0;
            while answered < PIPELINE {
                let frame = client.receive().await;
                if frame.header.xid == special_xid::NOTIFICATION {
                    has_seen_event = true;
                    continue;
                }
                answered += 1;
                if frame.header.err != 0 || frame.body != old.body {
                    assert!(
                        has_seen_event,
                        "the change after {changes} others came first"
                    );
                    has_seen_change = true;
                }
            }
        }
        changes += 1;
    }
}

#[tokio::test]
async fn unimplemented_requests_are_answered_in_their_place() {
    let running = standalone("").await;
    let mut client = Client::connect(running.server.client_address).await;
    let mut frames = request(1, OpCode::Create.code(), &create("/u", b"", 0));
    frames.extend(request(2, 999, b"whatever"));
    client.stream.write_all(&frames).await.unwrap();
    assert_eq!((client.receive().await.header.xid), Xid(1));
    let refused = client.receive().await;
    assert_eq!(
        (refused.header.xid, refused.header.err),
        (Xid(2), ErrorCode::Unimplemented.code())
    );
}

#[tokio::test]
async fn frames_up_to_the_limit_are_taken() {
    const LIMIT: usize = 4096;
    let running = standalone(&format!("jute.maxbuffer={LIMIT}\n")).await;
    let mut client = Client::connect(running.server.client_address).await;
    client.call(1, OpCode::Create, &create("/f", b"", 0)).await;
    let overhead = 8 + set_data("/f", b"").len();
    let largest = vec![b'x'; LIMIT - overhead];
    let taken = client
        .call(2, OpCode::SetData, &set_data("/f", &largest))
        .await;
    assert_eq!(taken.header.err, 0);
    let read = client
        .call(3, OpCode::GetData, &path_watch("/f", false))
        .await;
    assert_eq!(data_of(&read), largest);
    let longer = vec![b'x'; largest.len() + 1];
    client
        .send(4, OpCode::SetData, &set_data("/f", &longer))
        .await;
    client.assert_closed().await;
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let running = standalone("maxClientCnxns=2\n").await;
    let address = running.server.client_address;
    let first = Client::connect(address).await;
    let _second = Client::connect(address).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, b"");
    drop(first);
    // The place is free as soon as the server has noticed.
    for _ in 0..100 {
        if word(address, "ruok").await == "imok" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the place of a closed connection stays taken");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_grow_the_server() {
    let running = standalone("").await;
    let address = running.server.client_address;
    let mut lazy = Client::connect(address).await;
    lazy.call(1, OpCode::Create, &create("/big", &vec![b'x'; 900_000], 0))
        .await;
    // About 900 MB of replies, if the server were to make them all.
    let mut frames = Vec::new();
    (0..1000).for_each(|n| {
        frames.extend(request(
            n,
            OpCode::GetData.code(),
            &path_watch("/big", false),
        ))
    });
    lazy.stream.write_all(&frames).await.unwrap();
    let mut other = Client::connect(address).await;
    assert_eq!(
        other
            .call(1, OpCode::Exists, &path_watch("/big", false))
            .await
            .header
            .err,
        0
    );
    // What was held back is answered once it is read.
    for n in 0..1000 {
        let frame = lazy.receive().await;
        assert_eq!(
            (frame.header.xid, frame.body.len()),
            (Xid(n), 900_000 + 4 + 68)
        );
    }
}
