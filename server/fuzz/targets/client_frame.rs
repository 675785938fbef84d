//! What a client sends: to a whole server on loopback, behind a session or as
//! its very first bytes. A panic in any of the server's threads is a find.

#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use zk_server::Server;
use zk_server::config::ServerConfig;

fuzz_target!(|input: &[u8]| {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    let Some((form, bytes)) = input.split_first() else {
        return;
    };
    let address = SERVER.get_or_init(serve);
    let stream = TcpStream::connect(address).expect("the server listens");
    // Closing leaves no port waiting.
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket option");
    stream
        .set_read_timeout(Some(STUCK))
        .expect("a socket option");
    if form % 4 > 0 {
        send(&stream, &CONNECT);
    }
    send(&stream, bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut reader = &stream;
    let mut answer = [0; 16 * 1024];
    loop {
        match reader.read(&mut answer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server neither answers nor closes")
            }
            Err(_) => break,
        }
    }
});

fn send(mut stream: &TcpStream, bytes: &[u8]) {
    // The server may have closed already.
    let _ = stream.write_all(bytes);
}

/// A server of its own in a thread of this process.
fn serve() -> SocketAddr {
    let dir = tempfile::tempdir().expect("a place for the data");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\ntickTime=200\n\
         forceSync=no\npreAllocSize=64\nmaxClientCnxns=0\n4lw.commands.whitelist=*\njute.maxbuffer=65536\n\
         extendedTypesEnabled=true\nsnapCount=1000\nautopurge.purgeInterval=1\n",
        dir.path().display()
    );
    let config = ServerConfig::read(Path::new("zoo.cfg"), &text, None)
        .expect("it is right")
        .config;
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _dir = dir;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::start(config).await.expect("it starts");
            server.serving().await;
            told.send(server.client_address).expect("somebody waits");
            let ended = server.run_until(std::future::pending()).await;
            panic!("the server has ended: {ended:?}");
        });
    });
    address.recv().expect("the server starts")
}

/// A ConnectRequest: protocol 0, zxid 0, 800 ms, no session, a password of zeros.
const CONNECT: [u8; 49] = {
    let mut frame = [0; 49];
    frame[3] = 45;
    frame[18] = 3;
    frame[19] = 0x20;
    frame[31] = 16;
    frame
};
/// Closing takes far less.
const STUCK: Duration = Duration::from_secs(20);
