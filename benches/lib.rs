//! Benchmarks of the runtime; they are in `benches/`, and run with `cargo bench -p benches`.
