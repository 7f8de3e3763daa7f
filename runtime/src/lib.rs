//! Draws samples from a generator file, through ONNX Runtime.
//!
//! **What it guarantees.** The image is a function of the file, a seed and an index. For one file, one machine, one
//! build of ONNX Runtime and one way to open it ([`Start`], [`Options::prepack`]), it is the same bytes: in any batch,
//! in any order, with any number of threads, from any clone, [`Pool`] or [`Stream`]. Across machines, builds, starts
//! and providers the latent is the same bit for bit, and the image the same within the tolerance that the file states,
//! which is also what a GPU keeps between batches of different sizes. After a generator is opened, sampling makes no
//! Rust heap allocation, and memory is bounded by [`Options::max_batch`]. Whatever is wrong with a file is an
//! [`Error`], never a panic, a hang, or a crash inside ONNX Runtime, which never sees the file: it is read here, every
//! operator and setting is one that is known, shapes, memory and work are counted before anything is made, weights are
//! compared with their checksums, and no other file is opened than the one of its weights beside it. Nothing is
//! written, and nothing sent.
//!
//! **What it costs.** The library `onnxruntime` (found at run time, see [`engine_info`]), the file mapped into memory, ONNX
//! Runtime's working memory for the largest batch drawn so far, and for each generator buffers of `max_batch` inputs and
//! images; clones and the members of a [`Pool`] share all but the last. What may be asked for is in [`Request`]; frames that
//! are ready before they are asked for come from a [`Stream`].
//!
//! ```no_run
//! use runtime::{Generator, Options};
//!
//! fn main() -> Result<(), runtime::Error> {
//!     let mut generator = Generator::open("gen.onnx", &Options::default())?;
//!     let image = generator.info().image;
//!
//!     // Sixteen images of seed 7: [16, channels, height, width], 0 to 255, into memory of our own.
//!     let mut pixels = vec![0u8; 16 * image.len()];
//!     generator.sample(7, 0, &mut pixels)?;
//!
//!     // Number 3 of that seed alone: the same bytes.
//!     let mut one = vec![0u8; image.len()];
//!     generator.sample(7, 3, &mut one)?;
//!     assert_eq!(one, pixels[3 * image.len()..4 * image.len()]);
//!     Ok(())
//! }
//! ```
//!
//! **What it does to the process.** The first call that needs it loads ONNX Runtime, and before that puts
//! `ORT_DISABLE_TELEMETRY=1` into the environment, so that nothing is written about the user or sent; see [`engine_info`]
//! for programs that would rather do that themselves. In a child of `fork`, a generator that was opened before draws if it
//! has one thread and no time limit; else, or on a GPU, it is an error that says to open another. Dropping it does not wait
//! for threads that are not there. A [`Stream`] gives the frames that were ready and is then an error; a [`Pool`] is as
//! good as its generators, if none was lent when the process forked. Fork while no other thread is in a call of this
//! crate's.
//!
//! Features: `bundled` (on by default) fetches the official ONNX Runtime for the CPU while building, into the user's
//! data folder, where it is looked for when no other is configured; `cli` (on by default) is for the program `sample`
//! alone, an application that links the library turns it off with `default-features = false`; `capi` adds the C
//! interface that `include/kiln.h` declares; `cuda` adds sampling on NVIDIA GPUs, see [`cuda()`]; `ort-environment` is
//! for an application that also runs models of its own through the crate `ort`, see `share_environment`.

// The README's example is compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod adopt;
mod binding;
mod buffer;
#[cfg(feature = "capi")]
pub mod capi;
mod checksums;
mod classes;
mod control;
#[cfg(test)]
mod counting;
mod cpu;
mod crew;
mod cuda;
#[cfg(feature = "cuda")]
mod device;
mod engine;
mod error;
mod generator;
#[cfg(feature = "cuda")]
mod gpu;
mod graph;
mod kernels;
mod latent;
mod layout;
mod lending;
mod model;
mod operators;
mod options;
mod pixels;
mod pool;
mod request;
mod rewrite;
mod rows;
mod self_test;
mod session;
mod stream;
mod text;
mod watchdog;
mod weights;
mod wire;

pub use binding::MAX_BINDINGS;
pub use checksums::Checksums;
pub use classes::MAX_CLASS_NAME;
#[doc(hidden)]
pub use classes::listed;
pub use control::Canceller;
pub use cuda::{MAX_GRAPHS, cuda};
pub use engine::{EngineInfo, Severity, engine_info, load, log_to};
#[cfg(feature = "ort-environment")]
pub use engine::{environment, share_environment};
pub use error::{Error, ErrorKind, Result};
pub use generator::{Generator, MAX_BUFFER_BYTES, Values};
pub use half::f16;
pub use latent::{Element, fill_latent, fill_truncated, fill_truncated_towards, walk};
pub use layout::Interleaved;
pub use model::{
    FORMAT_VERSION, INPUT_CLASS, INPUT_IMAGE, INPUT_LATENT, ImageShape, InfoError, LatentDistribution, MAX_CHANNELS,
    MAX_CLASSES, MAX_LATENT_DIM, MAX_SIDE, ModelInfo, OUTPUT_IMAGE, Precision,
};
pub use options::{MAX_BATCH, MAX_THREADS, Options, Provider, Start};
pub use pixels::Pixel;
pub use pool::{MAX_POOL, Pool};
pub use request::{MAX_VALUE, Request, Tour, Walk};
pub use self_test::SelfTest;
pub use stream::{Closer, MAX_FRAMES, Stream};
#[doc(hidden)]
pub use text::{one_line, printable};
