//! What the layers that the runtime computes itself are worth: times of calls with them to times without, in alternation, as
//! a Markdown table; and the largest difference between both images.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use clap::Parser;
use runtime::{Error, Generator, Options, Provider};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const BATCHES: [usize; 3] = [1, 16, 64];

/// Measure generators with the runtime's own layers and without
#[derive(Parser)]
struct Args {
    /// Generator files, such as `cargo run --release -p benches --bin generators` writes
    #[arg(required = true)]
    models: Vec<PathBuf>,

    /// Threads of a call
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,

    /// Seconds for a size of batch
    #[arg(long, value_name = "S", default_value_t = 3.)]
    seconds: f64,
}

fn main() -> ExitCode {
    benches::ended(measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<(), Error> {
    println!("| model | threads | batch | ONNX Runtime's, ms | ours, ms | ratio | difference, of 255 |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for model in &args.models {
        for &threads in &args.threads {
            for batch in BATCHES {
                let ([theirs, ours], difference) = compare(model, threads, batch, args.seconds)?;
                let (name, ratio) = (model.file_stem().unwrap_or_default().display(), ours / theirs);
                println!("| {name} | {threads} | {batch} | {theirs:.3} | {ours:.3} | {ratio:.2} | {difference} |");
            }
        }
    }
    Ok(())
}

/// Median times of a call without and with them, in milliseconds, and the largest difference of a byte.
fn compare(model: &Path, threads: usize, batch: usize, seconds: f64) -> Result<([f64; 2], u8), Error> {
    let open = |ours: bool| {
        let options =
            Options { rewrite: Some(ours), threads, max_batch: batch, provider: Provider::Cpu, ..Options::default() };
        let mut generator = Generator::open(model, &options)?;
        generator.warm_up(batch)?;
        Ok::<_, Error>(generator)
    };
    let mut generators = [open(false)?, open(true)?];
    let len = batch * generators[0].info().image.len();
    let (mut images, mut times) = ([vec![0u8; len], vec![0u8; len]], [Vec::new(), Vec::new()]);
    let (start, mut difference) = (Instant::now(), 0);
    for seed in 0.. {
        for ((generator, image), times) in generators.iter_mut().zip(&mut images).zip(&mut times) {
            // The first call after the other's finds its weights where they are slow.
            generator.sample(seed, 0, image)?;
            let call = Instant::now();
            generator.sample(seed, 0, image)?;
            times.push(call.elapsed().as_secs_f64() * 1e3);
        }
        let far = images[0].iter().zip(&images[1]).map(|(a, b)| a.abs_diff(*b)).max();
        difference = difference.max(far.unwrap_or(0));
        if seed > 10 && start.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    Ok((medians, difference))
}
