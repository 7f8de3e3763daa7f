//! Mutants of files.

pub mod dice;
pub mod files;
mod mutate;
mod operators;
mod protobuf;
mod soup;
