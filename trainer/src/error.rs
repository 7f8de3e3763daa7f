//! What can go wrong in a run.

use std::path::{Path, PathBuf};

/// Errors of the trainer. Messages are lower-case and name the file, the key or the tensor, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that cannot be run.
    #[error("recipe {origin}: {what}")]
    Recipe {
        /// Where the recipe came from: a file, or a name.
        origin: String,
        /// The key, and what is allowed.
        what: String,
    },
    /// A data set that is damaged or of another kind.
    #[error("data {}: {what}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint or run folder that cannot be used.
    #[error("run {}: {what}", path.display())]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// A checkpoint that is not what was written.
    #[error("run {}: is damaged or no checkpoint ({what})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that is known.
        what: String,
    },
    /// An export that cannot be made.
    #[error("export {}: {what}", path.display())]
    Export {
        /// The file to be written.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// An evaluation that cannot be made.
    #[error("evaluation: {0}")]
    Evaluation(String),
    /// The device that was asked for cannot be used.
    #[error("--device cuda: {why}; ask for cpu or auto to train on the CPU")]
    Device {
        /// Why not.
        why: String,
    },
    /// Training left the numbers that exist.
    #[error(
        "training diverged at {images} images: {what}; look at stats.jsonl for where it began, and try lower learning \
         rates: begin again with them, or go on from the last checkpoint with --run DIR --resume \
         --set optimizer.generator.lr=... --set optimizer.discriminator.lr=..."
    )]
    Diverged {
        /// Real images seen.
        images: u64,
        /// What is no number any more.
        what: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// An operation on tensors failed.
    #[error("computation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The runtime refused the exported file, or ONNX Runtime is not there.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A loss or another quantity that is no number after so many images.
    pub(crate) fn diverged(images: u64, what: String) -> Self {
        Self::Diverged { images, what }
    }

    /// For `map_err`: an I/O failure with what was attempted, on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
