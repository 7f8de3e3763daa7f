//! A small application: opens a generator, draws into memory of its own, shows a picture in the terminal.
//!
//! `cargo run --release -p kiln-gan-runtime --example app -- models/digits/gen.onnx`

use runtime::{Generator, Options};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: app GENERATOR.onnx")?;
    let mut generator = Generator::open(path, &Options { max_batch: 4, ..Options::default() })?;
    generator.warm_up(4)?;
    let image = generator.info().image;
    let mut pixels = vec![0u8; 4 * image.len()];

    // From here on nothing is allocated: the loop of a game or a service.
    generator.sample(7, 0, &mut pixels)?;

    // `println!` would panic when nobody listens any more.
    let mut terminal = std::io::stdout().lock();
    let shades = b" .:-=+*#%@";
    for picture in pixels.chunks_exact(image.len()) {
        for row in picture[..image.height * image.width].chunks_exact(image.width) {
            let line = row.iter().map(|&v| char::from(shades[usize::from(v) * shades.len() / 256]));
            writeln!(terminal, "{}", line.collect::<String>())?;
        }
    }
    Ok(())
}
