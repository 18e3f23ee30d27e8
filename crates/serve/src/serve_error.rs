//! Errors of starting and running a server.

/// Error that keeps a server from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port or a certificate cannot be used.
    #[error(transparent)]
    Listen(#[from] crate::listen::ListenError),
    /// Two models have the same name.
    #[error(transparent)]
    Source(#[from] crate::repository::SourceError),
    /// A model has no valid version.
    #[error(transparent)]
    Load(#[from] crate::api_error::ApiError),
    /// The system refuses a thread.
    #[error("no thread: {0}")]
    Thread(std::io::Error),
    /// A part of the server panicked.
    #[error("{0}; see the log, and report it")]
    Panicked(&'static str),
}
