//! Trains a GAN with candle and exports its generator to ONNX and safetensors.
//!
//! The program `trainer` is a thin shell around this library: a [`recipe::Recipe`] says what is run, [`state::State`]
//! is what changes while it runs, [`train::train`] is the loop, and [`export::export`] writes the file that the crate
//! `runtime` samples from. Everything is seeded: the same recipe, seed and number of threads give the same bytes on the
//! same machine.

pub mod bench;
pub mod checkpoint;
pub mod choose;
pub mod data;
pub mod device;
mod error;
pub mod export;
pub mod files;
pub mod game;
pub mod graph;
pub mod heal;
pub mod keep;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod objective;
pub mod onnx;
pub mod ops;
pub mod optim;
pub mod random;
pub mod recipe;
pub mod report;
pub mod run;
pub mod state;
pub mod stop;
pub mod train;
pub mod turn;
pub mod watch;

pub use error::{Error, Result};
