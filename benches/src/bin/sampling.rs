//! Times Kiln's sampling, for `benches/peers/sampling.py`; `benches/peers/peer_sampling.py` does the same with what else
//! could be used, and both speak the same protocol.
//!
//! Once the first image is drawn, a line of JSON says so. Then each line of the standard input is answered by one: `run N`
//! by the microseconds of N calls, `check` by a latent and some values of its image. At the end of the input, a last line
//! has the largest memory. A call goes from a seed to bytes in memory of the caller: latents and conversion are in its time.

use benches::process::peak_memory;
use clap::Parser;
use runtime::{Generator, Options};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const SEED: u64 = 7;
/// Values of an image that `check` compares.
const POINTS: usize = 64;

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

struct Worker {
    generator: Generator,
    pixels: Vec<u8>,
    next_index: u64,
}

impl Worker {
    fn open(args: &Args) -> runtime::Result<Self> {
        let options =
            Options { threads: args.threads, spinning: args.spinning, max_batch: args.batch, ..Options::default() };
        let generator = Generator::open(&args.model, &options)?;
        let pixels = vec![0; args.batch * generator.info().image.len()];
        let mut worker = Self { generator, pixels, next_index: 0 };
        worker.sample()?;
        Ok(worker)
    }

    fn sample(&mut self) -> runtime::Result<()> {
        let batch = self.pixels.len() / self.generator.info().image.len();
        self.generator.sample(SEED, self.next_index, &mut self.pixels)?;
        self.next_index += batch as u64;
        Ok(())
    }

    /// Microseconds of each of `count` calls.
    fn run(&mut self, count: usize) -> runtime::Result<Value> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.sample()?;
            times.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        Ok(json!({ "us": times }))
    }

    fn check(&mut self) -> runtime::Result<Value> {
        let info = self.generator.info();
        let mut latent = vec![0f32; info.latent_dim];
        let mut image = vec![0f32; info.image.len()];
        runtime::fill_latent(SEED, 0, &mut latent);
        self.generator.sample(SEED, 0, &mut image)?;
        let points = (0..POINTS).map(|i| (2 * i + 1) * image.len() / (2 * POINTS));
        let values: Vec<f32> = points.map(|at| image[at]).collect();
        Ok(json!({ "latent": latent, "values": values }))
    }

    fn answer(&mut self, line: &str) -> Result<Value, String> {
        let done = match (line, line.strip_prefix("run ").map(str::parse)) {
            ("check", _) => self.check(),
            (_, Some(Ok(count))) => self.run(count),
            _ => return Err(format!("{line:?} is no command, allowed are `run N` and `check`")),
        };
        done.map_err(|e| e.to_string())
    }
}

fn main() -> ExitCode {
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), String> {
    let mut worker = Worker::open(args).map_err(|e| e.to_string())?;
    let engine = runtime::engine_info().map_err(|e| e.to_string())?;
    let library = engine.path.file_name().unwrap_or_default().to_string_lossy();
    let versions = json!({ "kiln": format!("{} with {library}", env!("CARGO_PKG_VERSION")) });
    let mut out = std::io::stdout();
    let mut print = |value: Value| writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|e| e.to_string());
    print(json!({ "ready": true, "versions": versions, "peak_mb": peak_memory() }))?;
    for line in std::io::stdin().lock().lines() {
        print(worker.answer(line.map_err(|e| e.to_string())?.trim())?)?;
    }
    print(json!({ "peak_mb": peak_memory() }))
}
