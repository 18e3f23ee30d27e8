//! Listening ports and their TLS certificates.

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

use super::Counts;

/// A bound port: connections queue until [`serve`](super::serve) accepts them.
#[derive(Debug)]
pub struct Port {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) counts: Arc<Counts>,
    address: SocketAddr,
}

impl Port {
    /// Binds an address (port 0: the system picks one), with TLS if a configuration is given. Must be called
    /// in a tokio runtime.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Port, ListenError> {
        let refused = |error| ListenError::Address { address, error };
        // The standard library's listener queues as many connections as the system allows; tokio's only
        // 1024.
        let listener = std::net::TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Port {
            listener: TcpListener::from_std(listener).map_err(refused)?,
            tls,
            counts: Arc::default(),
            address,
        })
    }

    /// Returns the address, with the port that the system picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns true if this port uses TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the counters of this port's connections.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    pub(super) fn into_parts(self) -> (TcpListener, Option<TlsAcceptor>, Arc<Counts>) {
        (self.listener, self.tls.map(TlsAcceptor::from), self.counts)
    }
}

/// Reads a certificate chain (the server's own first) and its private key from PEM files, for HTTP/2 and
/// HTTP/1.1 over TLS 1.2 and 1.3.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ListenError> {
    let chain = read_chain(certificate)?;
    let private = read_key(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(certificate, key, error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable(certificate, key, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unusable(certificate: &Path, key: &Path, error: rustls::Error) -> ListenError {
    ListenError::Unfit {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        what: match error {
            rustls::Error::InconsistentKeys(_) => "they do not belong together".to_owned(),
            other => other.to_string(),
        },
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ListenError> {
    fs::read(path).map_err(|error| ListenError::File {
        path: path.to_owned(),
        error,
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(ListenError::pem(path, CERTIFICATE, "has none")),
        Err(error) => Err(ListenError::pem(path, CERTIFICATE, &damage(&error))),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, ListenError> {
    let bytes = read(path)?;
    let marker = b"ENCRYPTED".as_slice();
    let is_encrypted = bytes.windows(marker.len()).any(|found| found == marker);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let what = match error {
            _ if is_encrypted => {
                "has one that is encrypted with a passphrase; decrypt it with `openssl pkey`".into()
            }
            PemError::NoItemsFound => "has none".into(),
            other => damage(&other),
        };
        ListenError::pem(path, KEY, &what)
    })
}

const CERTIFICATE: &str = "BEGIN CERTIFICATE";
const KEY: &str = "BEGIN PRIVATE KEY";

/// Describes the damage of a PEM file. (The error itself prints bytes of the file as numbers.)
fn damage(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "ends before its END line".into(),
        PemError::IllegalSectionStart { .. } => "has a damaged BEGIN line".into(),
        PemError::Base64Decode(_) => "has text that is not base64".into(),
        other => format!("is damaged: {other}"),
    }
}

/// Error of binding a port or reading its certificate.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses the address.
    #[error("cannot listen on {address}: {error}; {}", advice(error))]
    Address {
        /// The requested address.
        address: SocketAddr,
        /// Error of the system.
        error: io::Error,
    },
    /// A file cannot be read.
    #[error(
        "{}: {error}; TLS needs this file, so name one that the server may read",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// A file is not PEM, or not of the required kind.
    #[error("{}: expected \"{section}\", but the file {what}; give the PEM file", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The section that is missing or damaged.
        section: &'static str,
        /// Description of the problem.
        what: String,
    },
    /// Certificate and key cannot be used together.
    #[error(
        "the certificate {} cannot be served with the key {}: {what}; give a certificate (the server's \
         own first, then those that sign it) and the key that it was made for",
        certificate.display(), key.display()
    )]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Description of the problem.
        what: String,
    },
}

impl ListenError {
    fn pem(path: &Path, section: &'static str, what: &str) -> ListenError {
        ListenError::Pem {
            path: path.to_owned(),
            section,
            what: what.to_owned(),
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "something listens there already: stop it, or choose another port",
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has this address: 0.0.0.0 and [::] mean all of them"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one"
        }
        _ => "choose another address",
    }
}
