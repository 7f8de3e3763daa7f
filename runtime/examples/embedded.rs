//! A generator inside a program: one file to ship.
//!
//! `cargo run --release -p kiln-gan-runtime --example embedded -- 7` writes a digit of seed 7 as a PGM picture to the standard output.

use runtime::{Generator, Options, Start};
use std::io::Write;

static DIGITS: &[u8] = include_bytes!("../../models/digits/gen.onnx");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(0), |text| text.parse())?;
    let options = Options { max_batch: 1, start: Start::Fast, ..Options::default() };
    let mut generator = Generator::from_bytes(DIGITS, None, &options)?;
    let image = generator.info().image;
    let mut pixels = vec![0u8; image.len()];
    generator.sample(seed, 0, &mut pixels)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "P5 {} {} 255", image.width, image.height)?;
    Ok(out.write_all(&pixels)?)
}
