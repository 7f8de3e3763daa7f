//! Writes the generator files that `benches/peers/sampling.py` measures with: `digits`, `dcgan-64` and `dcgan-128`, each in the
//! precisions that are asked for.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use benches::generators::{Source, zoo};
use clap::Parser;
use runtime::Precision;
use std::path::PathBuf;
use std::process::ExitCode;
use trainer::{Error, Result};

/// Write generator files to measure with
#[derive(Parser)]
struct Args {
    /// Where to
    #[arg(long, value_name = "DIR", default_value = "target/generators")]
    out: PathBuf,
    /// In which precisions; int8 takes minutes
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "f16,f32")]
    precisions: Vec<Precision>,
}

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { trainer::ops::prepare_candle() };
    benches::ended(write(&Args::parse()))
}

fn write(args: &Args) -> Result<()> {
    for source in [Source::digits()?, Source::dcgan(64)?, Source::dcgan(128)?] {
        for &precision in &args.precisions {
            println!("{}", source.write(precision, &args.out)?.display());
        }
    }
    // The zoo's own file rather than one that is equal to it.
    let (from, to) = (zoo("digits/gen.onnx"), args.out.join("digits-f16.onnx"));
    std::fs::copy(&from, &to).map_err(|source| Error::Io { action: "copy the zoo's digits to", path: to, source })?;
    Ok(())
}
