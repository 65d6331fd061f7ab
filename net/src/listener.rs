//! A bound port and its accept loop.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::budget::MemoryBudget;
use crate::connection::{self, ConnectionInfo, ConnectionLimits, Service};
use crate::quotas::{Admission, ConnectionQuotas};
use crate::tasks::Tasks;

/// Connections that may wait for accept. The usual 128 made clients wait a second in connect storms.
const BACKLOG: u32 = 4096;
/// Pause after an accept error such as "too many open files".
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("Socket server failed to bind to {host}:{port}: {source}.")]
pub struct BindError {
    /// Host as configured.
    pub host: String,
    /// Port as configured.
    pub port: u16,
    /// What the system said.
    pub source: io::Error,
}

/// What bounds the connections of a role's listeners, each and together.
pub struct Bounds {
    /// Of each connection.
    pub limits: ConnectionLimits,
    /// How many connections there may be.
    pub quotas: Arc<ConnectionQuotas>,
    /// The memory that requests in flight share.
    pub memory: Arc<MemoryBudget>,
}

/// A bound, listening socket that accepts nothing until [`Listener::serve`].
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `host:port`; an empty host means every address, port 0 a free port.
    pub async fn bind(host: &str, port: u16) -> Result<Self, BindError> {
        let failed = |source| BindError { host: host.to_owned(), port, source };
        let addresses: Vec<SocketAddr> = if host.is_empty() {
            vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(), ([0, 0, 0, 0], port).into()]
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            vec![(ip, port).into()]
        } else {
            tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect()
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "Unresolved address");
        for address in addresses {
            match listen(address) {
                Ok(socket) => {
                    let address = socket.local_addr().map_err(failed)?;
                    return Ok(Self { socket, address });
                }
                Err(e) => last = e,
            }
        }
        Err(failed(last))
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until `tasks` is cancelled; each runs `service` in a task of its own.
    pub async fn serve<S: Service>(self, name: Arc<str>, service: Arc<S>, bounds: Arc<Bounds>, tasks: Tasks) {
        let cancelled = tasks.cancelled();
        loop {
            let accepted = tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let admitted = tokio::select! {
                        biased;
                        admitted = bounds.quotas.admit(&name, peer.ip()) => admitted,
                        () = cancelled.cancelled() => return,
                    };
                    let admission = match admitted {
                        Ok(admission) => admission,
                        Err(e) => {
                            tracing::info!("Rejected connection from {}, {e}.", peer.ip());
                            continue;
                        }
                    };
                    let info = ConnectionInfo { listener: name.clone(), peer };
                    if let Err(e) = start(stream, info, admission, &service, &bounds, &tasks) {
                        tracing::debug!(%peer, "connection lost before its first request: {e}");
                    }
                }
                Err(e) => {
                    tracing::warn!(listener = %name, "accept failed: {e}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unspecified()
    {
        // An empty host serves IPv4 as well, as a JVM's wildcard socket does.
        socket2::SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn start<S: Service>(
    stream: TcpStream,
    info: ConnectionInfo,
    admission: Admission,
    service: &Arc<S>,
    bounds: &Arc<Bounds>,
    tasks: &Tasks,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let id = admission.id();
    let (service, held, cancel) = (service.clone(), bounds.clone(), tasks.cancelled());
    let task =
        tasks.spawn(async move { connection::run(stream, info, admission, service, held, cancel).await });
    Admission::served_by(&bounds.quotas, id, task.abort_handle());
    Ok(())
}
