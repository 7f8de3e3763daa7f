//! The distribution of latencies over many calls, batch 1, and whether memory grows meanwhile: one line of JSON, from which
//! `benches/peers/sampling.py --jitter` makes its table.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark for a person at a terminal")]

use benches::process::memory;
use clap::Parser;
use hdrhistogram::Histogram;
use runtime::{Generator, Options};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const SEED: u64 = 7;
/// Calls before the first that counts.
const WARM_UP: u64 = 100;
/// Significant digits of the histogram's values.
const DIGITS: u8 = 3;
/// Longest latency that the histogram holds, in nanoseconds: a minute. It is made for it at once, so that memory cannot grow.
const LONGEST: u64 = 60_000_000_000;

/// Time many calls
#[derive(Parser)]
struct Args {
    /// The generator
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// Calls that are timed
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    calls: u64,

    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args.model, args.calls, args.threads) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(model: &Path, calls: u64, threads: usize) -> Result<Value, String> {
    let text = |e: runtime::Error| e.to_string();
    let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST, DIGITS).map_err(|e| e.to_string())?;
    let options = Options { threads, max_batch: 1, ..Options::default() };
    let mut generator = Generator::open(model, &options).map_err(text)?;
    let mut pixels = vec![0u8; generator.info().image.len()];
    for index in 0..WARM_UP {
        generator.sample(SEED, index, &mut pixels).map_err(text)?;
    }
    let before = memory();
    for index in WARM_UP..WARM_UP + calls {
        let start = Instant::now();
        generator.sample(SEED, index, &mut pixels).map_err(text)?;
        times.saturating_record(start.elapsed().as_nanos() as u64);
    }
    let after = memory();
    let quantile = |q: f64| times.value_at_quantile(q) as f64 / 1e3;
    Ok(json!({
        "calls": calls,
        "us": {
            "p50": quantile(0.5),
            "p90": quantile(0.9),
            "p99": quantile(0.99),
            "p99.9": quantile(0.999),
            "max": times.max() as f64 / 1e3,
        },
        "rss_before_mb": before,
        "rss_after_mb": after,
    }))
}
