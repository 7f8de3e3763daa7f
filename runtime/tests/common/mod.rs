//! What several tests need.
#![allow(dead_code)]

use runtime::{Generator, Options, Pixel, Request};
use std::path::PathBuf;

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Opens a fixture.
pub fn open(name: &str, options: &Options) -> Generator {
    Generator::open(fixture(name), options).unwrap_or_else(|e| panic!("{e}"))
}

/// The first `n` images of a request.
pub fn draw<T: Pixel>(generator: &mut Generator, request: &Request<'_>, n: usize) -> Vec<T> {
    let mut out = vec![T::default(); n * generator.info().image.len()];
    generator.draw(request, &mut out).unwrap_or_else(|e| panic!("{e}"));
    out
}
