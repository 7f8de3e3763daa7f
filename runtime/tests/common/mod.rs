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

/// A field of a protobuf message whose content has a length.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![number << 3 | 2], content.len());
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [&out, content].concat()
}
