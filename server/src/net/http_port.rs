//! A listener for HTTP that a server can do without for a while.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{BACKLOG, BindError, Resolver, bind_host};
use crate::config::HttpAddress;
use crate::failure::Port;

/// The admin or the metrics port: bound, or to be bound once it is free.
pub(crate) struct HttpPort {
    /// What it is for, as messages name it.
    what: Port,
    at: HttpAddress,
    listener: Option<TcpListener>,
    resolver: Arc<Resolver>,
}

impl HttpPort {
    /// Tries to bind the port once.
    ///
    /// # Errors
    /// Why it cannot be bound, where it `is_required`. Elsewhere that is logged,
    /// and [`HttpPort::listener`] goes on trying.
    pub(crate) async fn bind(
        what: Port,
        at: &HttpAddress,
        is_required: bool,
        resolver: Arc<Resolver>,
    ) -> Result<Self, BindError> {
        let bound = bind_host(&resolver, &at.host, at.port).await;
        let listener = match bound.and_then(|bound| Ok(bound.listen(BACKLOG)?)) {
            Ok(listener) => Some(listener),
            Err(error) if is_required => return Err(error),
            Err(error) => {
                let HttpAddress { host, port } = at;
                tracing::error!(host, port, %error, "cannot listen on the {what} port; the server goes on without it and tries again");
                None
            }
        };
        Ok(Self {
            what,
            at: at.clone(),
            listener,
            resolver,
        })
    }

    /// Where it listens; `None` while it is not bound.
    pub(crate) fn address(&self) -> io::Result<Option<SocketAddr>> {
        self.listener
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()
    }

    /// The listener, as soon as it is bound.
    pub(crate) async fn listener(self) -> TcpListener {
        if let Some(listener) = self.listener {
            return listener;
        }
        let HttpAddress { host, port } = &self.at;
        loop {
            sleep(BIND_PAUSE).await;
            let bound = bind_host(&self.resolver, host, *port).await;
            if let Ok(Ok(listener)) = bound.map(|bound| bound.listen(BACKLOG)) {
                tracing::info!(host, port, "listening on the {} port", self.what);
                return listener;
            }
        }
    }
}

/// Between two attempts to bind a port that is taken.
const BIND_PAUSE: Duration = Duration::from_secs(1);
