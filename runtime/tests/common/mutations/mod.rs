//! Mutants of files.

pub mod dice;
pub mod files;
pub mod mutate;
mod operators;
mod protobuf;
mod soup;
