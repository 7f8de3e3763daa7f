//! What the benchmarks share. They themselves are in `benches/`, for `cargo bench -p benches`, in `src/bin`, and in
//! `peers`, which times what else could be used.

pub mod generators;
pub mod process;
pub mod protocol;
pub mod sampling;
pub mod stats;
pub mod training;
