//! One server: everything assembled, started and stopped.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use zk_core::config::{ReplicaConfig, ZnodeConfig};
use zk_core::{EnsembleId, Replica, Status};
use zk_proto::Sid;

use crate::admin;
use crate::between_tasks::BetweenTasks;
use crate::clock::{Clock, wall_ms};
use crate::command::Commands;
use crate::config::{HttpAddress, ServerConfig};
use crate::dir_lock::DirLock;
use crate::disk_thread::Disk;
use crate::driver::{Driver, DriverParts, Heartbeat};
use crate::failure::{Failure, Port};
use crate::inbox::{Event, Inbox};
use crate::load::{LoadError, load};
use crate::metrics::Metrics;
use crate::net::{
    BACKLOG, Backlog, BindError, Bound, ClientPort, Clients, HttpPort, Listed, Mesh, QuorumPort,
    Registry, RequestThrottle, Resolver, Walks, bind_any, bind_first, bind_host,
};
use crate::probe::{Probe, Running};
use crate::start_log::log_start;

/// Runs a server until `stop` is ready. `announce` is told where clients
/// connect, once they are served. Call it within a tokio runtime; short syncs of
/// the log are done `between_tasks` of that one if it is given.
///
/// # Errors
/// Whatever ends a server otherwise; [`Failure::exit_code`] tells the process
/// how to end.
pub async fn run(
    config: ServerConfig,
    between_tasks: Option<BetweenTasks>,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    tokio::pin!(stop);
    let server = tokio::select! {
        server = Server::start_with(config, between_tasks) => server?,
        () = &mut stop => return Ok(()),
    };
    let (probe, address) = (server.probe.clone(), server.client_address);
    let announced = async {
        serving(&probe).await;
        announce(address);
        std::future::pending().await
    };
    tokio::select! {
        outcome = server.run_until(stop) => outcome,
        () = announced => Ok(()),
    }
}

/// A server that has loaded its data and takes connections on all its ports.
pub struct Server {
    /// Where clients connect; with a wildcard address, on loopback.
    pub client_address: SocketAddr,
    /// Where probes are answered; `None` without an admin port, and where it was
    /// taken at the start.
    pub admin_address: Option<SocketAddr>,
    /// Where metrics are answered; `None` as above.
    pub metrics_address: Option<SocketAddr>,
    probe: Arc<Probe>,
    clients: Arc<Clients>,
    inbox: Arc<Inbox>,
    driver: JoinHandle<Result<(), Failure>>,
    tasks: JoinSet<&'static str>,
    /// Freed when everything else is.
    _dir_lock: DirLock,
}

impl Server {
    /// Locks the data directories, listens on the HTTP ports, binds the client
    /// port, loads the data, listens on the other ports and looks for a leader.
    /// Clients are served once there is one.
    pub async fn start(config: ServerConfig) -> Result<Self, Failure> {
        Self::start_with(config, None).await
    }

    async fn start_with(
        config: ServerConfig,
        between_tasks: Option<BetweenTasks>,
    ) -> Result<Self, Failure> {
        log_start(&config);
        let dir_lock = DirLock::take(&config)?;
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::default());
        let registry = Arc::new(Registry::default());
        let probe = Probe::new(config.clone(), clock, metrics.clone(), registry.clone());
        let commands = Arc::new(Commands::new(probe.clone()));
        let mut tasks = JoinSet::new();
        let resolver = Resolver::system();
        if !config.standalone {
            let members = config.ensemble.members.values();
            let hosts = members.map(|member| member.host.clone()).collect();
            tasks.spawn(named("names", resolver.clone().keep(hosts)));
        }
        // Before the data is loaded, because that may take long.
        let admin_address = match config.admin.clone() {
            Some(admin) => {
                let (port, address) =
                    listen_http(Port::Admin, &admin.address, admin.is_required, &resolver).await?;
                let commands = commands.clone();
                let serve = async {
                    admin::serve_admin(port.listener().await, commands, Some(admin)).await;
                };
                tasks.spawn(named("admin", serve));
                address
            }
            None => None,
        };
        let metrics_address = match &config.metrics {
            Some(at) => {
                let (port, address) =
                    listen_http(Port::Metrics, at, config.standalone, &resolver).await?;
                let probe = probe.clone();
                let serve = async {
                    admin::serve_metrics(port.listener().await, probe).await;
                };
                tasks.spawn(named("metrics", serve));
                address
            }
            None => None,
        };
        // A server of another kind that uses the same files has this port as
        // well. Loading mends: it would cut what that server is just writing.
        let client_port = bind_clients_now(&config, &resolver).await?;
        let inbox = Arc::new(Inbox::default());
        let loaded = {
            let (config, metrics) = (config.clone(), metrics.clone());
            spawn_blocking(move || load(&config, &metrics)).await
        };
        let (store, recovered) = loaded
            .map_err(|panic| Failure::Panic(panic.to_string()))?
            .map_err(|error| match error {
                LoadError::Thread(source) => Failure::Thread(source),
                error => Failure::Load(error.into()),
            })?;
        let disk = Disk::start(
            store,
            &config,
            inbox.clone(),
            metrics.clone(),
            clock,
            between_tasks,
        )
        .map_err(Failure::Thread)?;
        let replica = Replica::new(replica_config(&config), recovered, clock.now());
        let view = replica.view();
        let heartbeat = Arc::new(Heartbeat::default());
        // Silence counts from here, not from before the loading.
        heartbeat.beat(clock.mono());
        probe.set_running(Running {
            inbox: inbox.clone(),
            view: view.clone(),
            heartbeat: heartbeat.clone(),
            disk: disk.health(),
        });

        let listed = Listed::new(&config, resolver.clone());
        let quorum = QuorumPort::new(inbox.clone(), &config, listed.clone());
        let mut mesh = None;
        if !config.standalone {
            let own = &config.ensemble.members[&config.sid];
            let listen = |what, port| listen_peer(what, &config, &resolver, &own.host, port);
            let (learners, votes) = tokio::try_join!(
                listen(Port::Learners, own.quorum_port),
                listen(Port::Votes, own.election_port)
            )?;
            tasks.spawn(named("quorum port", quorum.clone().accept(learners)));
            let own_mesh = Mesh::new(inbox.clone(), &config, listed);
            tasks.spawn(named("election port", own_mesh.clone().accept(votes)));
            tasks.spawn(named("report of peers", own_mesh.clone().report()));
            probe.set_mesh(own_mesh.clone());
            mesh = Some(own_mesh);
        }

        let listener = match client_port {
            Some(bound) => Some(listen_clients(&config, bound)?),
            None => None,
        };
        let max = config.limits.backlog_bytes_max;
        let backlog = Backlog::new(registry.clone(), metrics.clone(), max);
        let clients = Arc::new(Clients {
            backlog: backlog.clone(),
            walks: Walks::default(),
            inbox: inbox.clone(),
            view,
            metrics: metrics.clone(),
            registry: registry.clone(),
            clock,
            commands,
            limits: config.limits.clone(),
            request_throttle: RequestThrottle::new(&config.limits),
            is_stopping: AtomicBool::new(false),
        });
        let driver = Driver::new(DriverParts {
            sid: config.sid,
            replica,
            inbox: inbox.clone(),
            disk,
            mesh,
            quorum,
            metrics,
            backlog,
            heartbeat,
            clock,
            tick_ms: config.tick_ms,
        });
        let mut driver = tokio::spawn(driver.run());
        let listener = match listener {
            Some(listener) => listener,
            None => listen_clients_later(&config, &resolver, &mut driver).await?,
        };
        let client_address = reachable(&listener)?;
        let listening = listener.local_addr().unwrap_or(client_address);
        probe.set_client_address(listening);
        let port = ClientPort::new(clients.clone());
        tasks.spawn(named("client port", port.accept(listener)));
        tracing::info!(sid = config.sid.0, client_address = %listening, standalone = config.standalone, "server started");
        Ok(Self {
            client_address,
            admin_address,
            metrics_address,
            probe,
            clients,
            inbox,
            driver,
            tasks,
            _dir_lock: dir_lock,
        })
    }

    /// Waits until this server takes clients.
    pub async fn serving(&self) {
        serving(&self.probe).await;
    }

    /// Waits for `stop`, then closes everything. A task that ends before is a failure.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        tokio::select! {
            ended = &mut self.driver => ended.unwrap_or_else(|panic| Err(Failure::Panic(panic.to_string()))),
            ended = self.tasks.join_next() => Err(Failure::Panic(match ended {
                Some(Ok(name)) => format!("the {name} task has ended"),
                Some(Err(panic)) => panic.to_string(),
                None => "no task is left".into(),
            })),
            () = stop => {
                self.stop().await;
                Ok(())
            }
        }
    }

    /// Stops accepting, closes all connections, and lets the disk finish.
    pub async fn stop(mut self) {
        self.tasks.abort_all();
        self.clients.is_stopping.store(true, Ordering::Relaxed);
        let drained = async {
            while self.clients.metrics.outstanding.value() > 0 {
                sleep(DRAIN_POLL).await;
            }
        };
        if timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!("some requests are not answered");
        }
        self.inbox.push(Event::Stop);
        if timeout(STOP_MAX, &mut self.driver).await.is_err() {
            tracing::warn!("the driver does not stop");
        }
        // Connections send what they owe.
        sleep(FAREWELL).await;
        tracing::info!("server stopped");
    }
}

async fn serving(probe: &Probe) {
    let is_serving = |status: Status| status.is_serving;
    while !probe.status().await.is_some_and(is_serving) {
        sleep(SERVING_POLL).await;
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn replica_config(config: &ServerConfig) -> ReplicaConfig {
    ReplicaConfig {
        sid: config.sid,
        ensemble: config.ensemble.clone(),
        ensemble_id: config.ensemble_name.as_deref().map(EnsembleId::of),
        tick_ms: config.tick_ms,
        init_limit: config.init_limit,
        sync_limit: config.sync_limit,
        session_timeout_min_ms: config.session_timeout_min_ms,
        session_timeout_max_ms: config.session_timeout_max_ms,
        snap_count: config.snap_count,
        snap_bytes: config.storage.snap_size_limit_bytes,
        commit_log_count: config.commit_log_count,
        auth: config.auth.clone(),
        znodes: ZnodeConfig {
            txn_bytes_max: config.storage.record_bytes_max,
            members_shown: !config.standalone,
            ..config.znodes
        },
        votes: config.peers.votes,
        seed: seed(config.sid),
        first_session_id: first_session_id(wall_ms(), config.sid),
    }
}

/// Different at every start and on every server; not a secret.
fn seed(sid: Sid) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.subsec_nanos() as u64
        ^ now.as_secs() << 30
        ^ (sid.0 as u64) << 56
        ^ u64::from(std::process::id())
}

/// Clock in the middle, sid on top (`SessionTrackerImpl.initializeNextSessionId`).
fn first_session_id(wall_ms: i64, sid: Sid) -> i64 {
    let clock = ((wall_ms as u64) << 24) >> 8;
    let id = clock as i64 | (sid.0 << 56);
    if id == i64::MIN { id + 1 } else { id }
}

async fn listen_http(
    what: Port,
    at: &HttpAddress,
    is_required: bool,
    resolver: &Arc<Resolver>,
) -> Result<(HttpPort, Option<SocketAddr>), Failure> {
    let refused = |error| not_bound(what, at.port, error);
    let port = HttpPort::bind(what, at, is_required, resolver.clone())
        .await
        .map_err(refused)?;
    let address = port.address().map_err(|error| refused(error.into()))?;
    Ok((port, address))
}

async fn bind_clients(config: &ServerConfig, resolver: &Arc<Resolver>) -> Result<Bound, Failure> {
    let port = config.client_port;
    let bound = match &config.client_address {
        Some(host) => bind_host(resolver, host, port).await,
        None => bind_any(port).map_err(BindError::from),
    };
    bound.map_err(|error| not_bound(Port::Clients, port, error))
}

fn listen_clients(config: &ServerConfig, bound: Bound) -> Result<TcpListener, Failure> {
    let listener = bound.listen(config.limits.listen_backlog);
    listener.map_err(|source| not_bound(Port::Clients, config.client_port, source.into()))
}

/// Binds the port for clients; `None` where a member of an ensemble finds no
/// address for its name: the others need its vote all the same.
async fn bind_clients_now(
    config: &ServerConfig,
    resolver: &Arc<Resolver>,
) -> Result<Option<Bound>, Failure> {
    match bind_clients(config, resolver).await {
        Err(failure @ Failure::Name { .. }) if !config.standalone => {
            tracing::error!(%failure, "no clients are taken; the server goes on without them and tries again");
            Ok(None)
        }
        bound => bound.map(Some),
    }
}

/// Binds the port for clients once its name has an address.
///
/// # Errors
/// Why the port cannot be bound then, or why the driver has ended before.
async fn listen_clients_later(
    config: &ServerConfig,
    resolver: &Arc<Resolver>,
    driver: &mut JoinHandle<Result<(), Failure>>,
) -> Result<TcpListener, Failure> {
    let bound = async {
        loop {
            sleep(BIND_PAUSE).await;
            match bind_clients(config, resolver).await {
                Err(Failure::Name { .. }) => {}
                bound => return bound.and_then(|bound| listen_clients(config, bound)),
            }
        }
    };
    let failure = tokio::select! {
        bound = bound => match bound {
            Ok(listener) => return Ok(listener),
            Err(failure) => failure,
        },
        ended = &mut *driver => match ended {
            Ok(Ok(())) => Failure::Panic("the driver has ended".into()),
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::Panic(panic.to_string()),
        },
    };
    driver.abort();
    Err(failure)
}

fn not_bound(what: Port, port: u16, error: BindError) -> Failure {
    match error {
        BindError::Name { host, why } => Failure::Name { what, host, why },
        BindError::Socket(source) => Failure::Bind { what, port, source },
    }
}

/// Binds a port for peers. A name that does not resolve yet is no reason not
/// to start, nor to wait for long; a port that is still taken is tried again
/// for a while.
async fn listen_peer(
    what: Port,
    config: &ServerConfig,
    resolver: &Arc<Resolver>,
    host: &str,
    port: u16,
) -> Result<TcpListener, Failure> {
    let mut attempts_left = config.peers.bind_retries;
    loop {
        let bound = if config.quorum_listen_on_all_addresses {
            bind_any(port)
        } else {
            let addresses = resolver.addresses(host, OWN_NAME_MAX).await;
            let addresses = addresses.map_err(io::Error::other);
            match addresses.and_then(|addresses| bind_first(&addresses, port)) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    tracing::warn!(host, port, %error, "cannot listen on the own address; listening on all");
                    bind_any(port)
                }
                bound => bound,
            }
        };
        match bound.and_then(|bound| bound.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(source) if attempts_left == Some(0) => {
                return Err(Failure::BindPeer { what, port, source });
            }
            Err(error) => tracing::warn!(port, %error, "cannot listen for {what} yet"),
        }
        attempts_left = attempts_left.map(|left| left - 1);
        sleep(BIND_PAUSE).await;
    }
}

fn reachable(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    let failed = |source| Failure::Bind {
        what: Port::Clients,
        port: 0,
        source,
    };
    let mut address = listener.local_addr().map_err(failed)?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(address)
}

/// The own name has this long to resolve before all addresses are listened on.
const OWN_NAME_MAX: Duration = Duration::from_secs(2);
/// Between attempts to bind a port that is taken.
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// How often a starting server is asked whether it serves.
const SERVING_POLL: Duration = Duration::from_millis(10);
/// Requests that were taken have this long to be answered.
const DRAIN_MAX: Duration = Duration::from_secs(2);
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// The driver has this long to give up its role.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Connections have this long to send their last replies.
const FAREWELL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_that_must_run_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            dir.path().display()
        );
        let loaded = ServerConfig::read("zoo.cfg".as_ref(), &text, None).unwrap();
        let mut server = Server::start(loaded.config).await.unwrap();
        server.serving().await;
        server.tasks.spawn(async { panic!("on purpose") });
        let ended = timeout(STOP_MAX, server.run_until(std::future::pending())).await;
        let failure = ended.expect("it does not run on").unwrap_err();
        assert!(matches!(failure, Failure::Panic(_)), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }

    #[tokio::test]
    async fn the_port_for_clients_opens_once_its_name_has_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=zk-1\nadmin.enableServer=false\n\
             initLimit=5\nsyncLimit=5\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\n",
            dir.path().display()
        );
        let loaded = ServerConfig::read("zoo.cfg".as_ref(), &text, Some(Sid(1)));
        let config = loaded.unwrap().config;
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match nth {
                    0 => Err(io::Error::other("no such name")),
                    1.. => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
                }
            }
        });
        let now = bind_clients_now(&config, &resolver).await.unwrap();
        assert!(now.is_none(), "it has no address yet");
        let mut driver = tokio::spawn(std::future::pending());
        let later = listen_clients_later(&config, &resolver, &mut driver);
        let listener = timeout(4 * STOP_MAX, later).await.expect("it has one now");
        let address = listener.unwrap().local_addr().unwrap();
        assert!(address.ip().is_loopback());
    }

    #[test]
    fn session_ids_carry_sid_and_clock() {
        let id = first_session_id(0x0123_4567_89ab, Sid(3));
        assert_eq!(id as u64, 0x0323_4567_89ab_0000);
        assert_eq!(first_session_id(0, Sid(128)), i64::MIN + 1);
    }
}
