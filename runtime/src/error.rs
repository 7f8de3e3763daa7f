//! What can go wrong between a file and a sample.

use std::path::PathBuf;

/// Errors of the runtime. Messages are lower-case and name the file, the shapes, the limit, and the next step.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// ONNX Runtime was not found or could not be loaded.
    #[error(
        "no usable ONNX Runtime library (1.24 or newer); looked at:\n{searched}\
         to get one: set ORT_DYLIB_PATH to the library file (it is in the Python package `onnxruntime`, folder \
         onnxruntime/capi), or place it next to the program, or build with the feature `bundled`"
    )]
    Engine {
        /// A line for each place, with what was found there.
        searched: String,
    },
    /// The file is not a generator that this crate can run.
    #[error("model {}: {what}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// The provider that was asked for does not work here.
    #[error("provider {provider} is not available: {why}")]
    Provider {
        /// Its name.
        provider: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// An argument outside its range.
    #[error("{0}")]
    Argument(String),
    /// A model that was loaded did not run to its end: ONNX Runtime failed, or [`Options::time_limit`](crate::Options) or a
    /// [`Canceller`](crate::Canceller) ended the call. The generator can be used again.
    #[error("model {}: {what}", path.display())]
    Run {
        /// The model's file.
        path: PathBuf,
        /// What happened, and what to do.
        what: String,
    },
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
