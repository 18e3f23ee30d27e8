use ncs_features::system::advice;
use safetensors::tensor::Dtype;
use std::io;
use std::path::{Path, PathBuf};

/// An error in writing or reading a tensor file.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The disk, or the user's quota, is full.
    #[error(
        "{}: no space left: free some and run again; the previous file is untouched",
        path.display()
    )]
    DiskFull {
        /// The file to be written.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(
        "{}: cannot be written ({source}): {}; the previous file is untouched",
        path.display(),
        advice(source, "check that its folder exists and may be written to")
    )]
    Unwritten {
        /// The file to be written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is in place, but might not survive a power loss.
    #[error(
        "{}: written, but its folder could not be flushed to disk ({source}): {}",
        path.display(),
        advice(source, "check the disk and run again")
    )]
    Unflushed {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The format cannot hold the entries or the metadata: a mistake of the calling code.
    #[error("{}: cannot be written: {problem}", path.display())]
    Unwritable {
        /// The file to be written.
        path: PathBuf,
        /// The problem and its place.
        problem: String,
    },
    /// The file cannot be read.
    #[error(
        "{}: cannot be read ({source}): {}",
        path.display(),
        advice(source, "check that it exists and may be read")
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is truncated, its header has changed, or another program wrote it.
    #[error(
        "{}: damaged, or not a file of ncs4cvr: {problem}; restore a copy, or create it again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The bytes of a tensor have changed.
    #[error(
        "{}: tensor {tensor:?} is damaged: its bytes do not match their checksum; restore a \
         copy of the file, or create it again",
        path.display()
    )]
    DamagedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// There is no tensor of this name.
    #[error(
        "{}: no tensor {tensor:?}; it has {names}: use a file of this version and kind",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The requested tensor.
        tensor: String,
        /// The tensors in the file.
        names: String,
    },
    /// A tensor has values of another type.
    #[error(
        "{}: tensor {tensor:?} is of {found}, not {expected}: use a file of this version and kind",
        path.display()
    )]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: Dtype,
        /// The expected type.
        expected: Dtype,
    },
}

impl TensorFileError {
    pub(crate) fn unwritten(path: &Path, source: io::Error) -> TensorFileError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                TensorFileError::DiskFull { path }
            }
            _ => TensorFileError::Unwritten { path, source },
        }
    }
}
