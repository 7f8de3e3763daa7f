//! Images a second of one caller and of two, with one thread a call and with two: prints a Markdown table.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use clap::Parser;
use runtime::{Error, Options, Pool};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Callers, and threads of one call. All variants are measured in turn, round by round.
const VARIANTS: [(usize, usize); 3] = [(1, 1), (1, 2), (2, 1)];
const BATCHES: [usize; 3] = [1, 16, 64];
const MODELS: [&str; 2] = ["digits", "dcgan-64"];

/// Measure how many images one and two callers get
#[derive(Parser)]
struct Args {
    /// Rounds through all variants
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,

    /// Seconds of a variant in a round
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    seconds: f64,

    /// Where `cargo run --release -p benches --bin generators` has written the generators
    #[arg(long, value_name = "DIR", default_value = "target/generators")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    benches::ended(measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    println!("| model | batch | 1 caller, 1 thread | 1 caller, 2 threads | 2 callers, 1 thread each |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for model in MODELS {
        let path = args.folder.join(format!("{model}-f16.onnx"));
        for batch in BATCHES {
            let pools = VARIANTS.map(|(callers, threads)| open(&path, callers, threads, batch));
            let pools = pools.into_iter().collect::<Result<Vec<_>, _>>()?;
            let mut found = vec![Vec::new(); VARIANTS.len()];
            for _ in 0..args.rounds {
                for (pool, found) in pools.iter().zip(&mut found) {
                    found.push(images_per_second(pool, batch, Duration::from_secs_f64(args.seconds))?);
                }
            }
            let medians = found.iter_mut().map(|rates| {
                rates.sort_by(f64::total_cmp);
                format!("{:.0}", rates[rates.len() / 2])
            });
            let cells: Vec<String> = medians.collect();
            println!("| {model} | {batch} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

fn open(path: &Path, callers: usize, threads: usize, batch: usize) -> Result<Pool, Error> {
    let options = Options { threads, max_batch: batch, ..Options::default() };
    let pool = Pool::open(path, &options, callers)?;
    pool.warm_up(batch)?;
    Ok(pool)
}

/// As many callers as the pool has generators, each as fast as it can.
fn images_per_second(pool: &Pool, batch: usize, length: Duration) -> Result<f64, Error> {
    let start = Instant::now();
    let call = |caller: usize| -> Result<usize, Error> {
        let mut pixels = vec![0u8; batch * pool.info().image.len()];
        let mut drawn = 0;
        while start.elapsed() < length {
            pool.sample(caller as u64, drawn as u64, &mut pixels)?;
            drawn += batch;
        }
        Ok(drawn)
    };
    let call = &call;
    let drawn = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..pool.size()).map(|caller| scope.spawn(move || call(caller))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap_or(Ok(0))).sum::<Result<usize, Error>>()
    })?;
    Ok(drawn as f64 / start.elapsed().as_secs_f64())
}
