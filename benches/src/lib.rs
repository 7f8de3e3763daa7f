//! What the benchmarks share. They themselves are in `benches/`, for `cargo bench -p benches`, in `src/bin`, and in
//! `peers`, which times what else could be used.

pub mod generators;
pub mod process;
pub mod protocol;
pub mod sampling;
pub mod stats;
pub mod training;

use std::fmt::Display;
use std::process::ExitCode;

/// What a program ends with; what went wrong is said.
#[allow(clippy::print_stderr, reason = "a benchmark for a person at a terminal")]
pub fn ended(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
