//! Placeholder.
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
pub use tokio_rustls::rustls::ServerConfig;

/// Limits.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Most.
    pub connections: usize,
    /// Head.
    pub header_time: Duration,
}

/// Port.
#[derive(Debug)]
pub struct Port(std::net::TcpListener);

impl Port {
    /// Binds.
    ///
    /// # Errors
    /// Taken.
    pub fn bind(address: SocketAddr, _tls: Option<Arc<ServerConfig>>) -> Result<Port, String> {
        let listener =
            std::net::TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        Ok(Port(listener))
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }
}

/// TLS.
///
/// # Errors
/// Not there.
pub fn tls(_certificate: &Path, _key: &Path) -> Result<Arc<ServerConfig>, String> {
    Err("not yet".to_owned())
}

/// Drain.
#[derive(Clone, Debug, Default)]
pub struct Drain;

impl Drain {
    /// New.
    pub fn new() -> Drain {
        Drain
    }

    /// Ends.
    pub async fn finish(&self, time: Duration) -> usize {
        tokio::time::sleep(time.min(Duration::from_millis(100))).await;
        0
    }
}

/// Serves.
pub async fn serve(port: Port, router: Router, _limits: ConnectionLimits, _drain: Drain) {
    let listener = tokio::net::TcpListener::from_std(port.0).expect("inside a runtime");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
