//! Times Kiln's sampling, for `benches/peers/sampling.py`; `benches/peers/peer_sampling.py` does the same with what else
//! could be used, and both speak the same protocol, that of `benches::protocol` and `benches::sampling`. A call goes from a
//! seed to bytes in memory of the caller: latents and conversion are in its time.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use benches::protocol;
use benches::sampling::{Call, Sampler, versions};
use clap::Parser;
use runtime::{Options, Provider};
use std::path::PathBuf;
use std::process::ExitCode;

/// Time sampling
#[derive(Parser)]
struct Args {
    /// The generator
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// Images a call
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,

    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Let threads spin while they wait
    #[arg(long)]
    spinning: bool,
}

fn main() -> ExitCode {
    benches::ended(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<(), String> {
    let (threads, spinning) = (args.threads, args.spinning);
    let options = Options { provider: Provider::Cpu, threads, spinning, ..Options::default() };
    let sampler = Sampler::open(&args.model, options, &[args.batch], Call::SeedToBytes);
    let mut sampler = sampler.map_err(|e| e.to_string())?;
    protocol::serve(&versions().map_err(|e| e.to_string())?, |line| sampler.answer(line))
}
