//! Draws one image and ends, to be timed from outside by `benches/peers/sampling.py --cold`.
//!
//! usage: first_sample [--steady | --floor] FILE
//!
//! Opens the generator with `Start::Fast`, as a program of one image would, or with `--steady` as one of many. Prints a
//! checksum of the image and the largest memory in MB. With `--floor`, it loads ONNX Runtime and reads the file's
//! bytes but opens no generator: what no use of that library can be faster than.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark for a person at a terminal")]

use runtime::{Generator, Options, Start};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match arguments.as_slice() {
        [file] => first_sample(Path::new(file), Start::Fast),
        [mode, file] if mode == "--steady" => first_sample(Path::new(file), Start::Steady),
        [mode, file] if mode == "--floor" => floor(Path::new(file)),
        _ => Err("usage: first_sample [--steady | --floor] FILE".to_owned()),
    };
    match done {
        Ok(bytes) => {
            println!("{} {}", checksum(&bytes), benches::process::peak_memory().unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn first_sample(file: &Path, start: Start) -> Result<Vec<u8>, String> {
    let options = Options { max_batch: 1, start, ..Options::default() };
    let mut generator = Generator::open(file, &options).map_err(|e| e.to_string())?;
    let mut pixels = vec![0u8; generator.info().image.len()];
    generator.sample(7, 0, &mut pixels).map_err(|e| e.to_string())?;
    Ok(pixels)
}

fn floor(file: &Path) -> Result<Vec<u8>, String> {
    runtime::engine_info().map_err(|e| e.to_string())?;
    std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}
