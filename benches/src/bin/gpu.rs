//! What `benches/gpu.sh` runs of Kiln's on a machine with a GPU, as one program: `benches/peers/gpu.py` tells it what to do,
//! reads its lines of JSON and times other frameworks beside it. With `--device cpu` everything works without a GPU, too.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use benches::generators;
use benches::protocol;
use benches::sampling::{Call, Sampler, versions};
use benches::stats::rounded;
use benches::training::{PRECISIONS, Training, noise};
use clap::{Args, Parser, Subcommand};
use runtime::{Generator, ImageShape, Options, Precision, Provider};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use trainer::recipe::{Override, Recipe};

/// As the trainer has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, as the trainer has it.
const PURGE_DELAY: i32 = 15;

const SEED: u64 = 7;
/// Images that both providers draw of every model.
const PARITY_IMAGES: usize = 64;
/// In batches of these sizes: one that is often asked for, one that does not divide the number of images.
const PARITY_BATCHES: [usize; 3] = [1, 24, 64];

/// Check, train and sample on a GPU
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Draw the same images on the CPU and on the device, and compare them: a line of JSON for each model
    Parity(Parity),
    /// Time training: `run N` on the standard input is answered by the seconds of N steps
    Train(Train),
    /// Time sampling, from latents to numbers: `batch N` and `run N` on the standard input
    Sample(Sample),
    /// Write generator files to measure with, in both precisions
    Generators(Generators),
}

#[derive(Args)]
struct Parity {
    /// Generator files
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,

    /// What is compared with the CPU: cuda, or cpu to try this program
    #[arg(long, value_name = "DEVICE", default_value_t = Provider::Cuda)]
    device: Provider,

    /// Whether transposed convolutions are written as ordinary ones: on or off, else as is best for the file and the device
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    rewrite: Option<bool>,
}

#[derive(Args)]
struct Train {
    /// The networks: `digits` is the default recipe, 28 x 28; `dcgan-64` the DCGAN of width 64 for 64 x 64 in colour
    #[arg(long, value_name = "NAME", value_parser = ["digits", "dcgan-64"])]
    network: String,

    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: u32,

    /// Numbers to compute with
    #[arg(long, value_name = "NAME", default_value = PRECISIONS[0], value_parser = PRECISIONS)]
    precision: String,

    /// Where: cuda or cpu
    #[arg(long, value_name = "DEVICE", default_value_t = Provider::Cuda)]
    device: Provider,

    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
}

#[derive(Args)]
struct Sample {
    /// The generator
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// Images a call, several sizes; the first is what it begins with
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1")]
    batches: Vec<usize>,

    /// Where: cuda or cpu
    #[arg(long, value_name = "DEVICE", default_value_t = Provider::Cuda)]
    device: Provider,

    /// Threads to compute with, on the CPU
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// As for `parity`
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    rewrite: Option<bool>,
}

#[derive(Args)]
struct Generators {
    /// Which: dcgan-64, dcgan-128 (random weights)
    #[arg(value_name = "NAME", required = true, value_parser = ["dcgan-64", "dcgan-128"])]
    names: Vec<String>,

    /// Where to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("allowed are on and off".into()),
    }
}

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet; the option is a number that the allocator reads when it frees.
    unsafe {
        trainer::ops::prepare_candle();
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
    let done = match Cli::parse().command {
        Command::Parity(args) => parity(&args),
        Command::Train(args) => train(&args),
        Command::Sample(args) => sample(&args),
        Command::Generators(args) => write_generators(&args),
    };
    benches::ended(done)
}

/// How far values in [-1, 1] may lie apart on two providers. The CPU computes files of f16 in f32; a GPU rounds what is
/// between layers to f16, which moved no value of these models by more than 0.004 when it was tried in numpy.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F16 => 0.02,
        Precision::F32 => 0.001,
        // Refused on a GPU.
        Precision::Int8 => 0.,
    }
}

fn parity(args: &Parity) -> Result<(), String> {
    let mut different = 0;
    for model in &args.models {
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        let result = match compare(model, args) {
            Ok(result) => result,
            Err(error) => json!({ "model": name, "device": args.device.to_string(), "failed": error.to_string() }),
        };
        different += usize::from(result["ok"] != true);
        println!("{result}");
    }
    match different {
        0 => Ok(()),
        n => Err(format!("{n} of {} models draw other images on {}", args.models.len(), args.device)),
    }
}

/// The same images by the CPU and by the device: how far they lie apart, and whether they are the same to the bit when they
/// are drawn again: plainly, as replays of what was recorded, and one beside the other.
fn compare(model: &Path, args: &Parity) -> runtime::Result<Value> {
    let options = Options { max_batch: PARITY_IMAGES, ..Options::default() };
    let mut reference = Generator::open(model, &Options { provider: Provider::Cpu, ..options.clone() })?;
    let mut generator = Generator::open(model, &Options { provider: args.device, rewrite: args.rewrite, ..options })?;
    let (image, precision) = (reference.info().image, reference.info().precision);
    let mut expected = vec![0f32; PARITY_IMAGES * image.len()];
    reference.sample(SEED, 0, &mut expected)?;
    // Sizes take turns, so that none is drawn again by what is still there.
    let draw = |generator: &mut Generator| -> runtime::Result<Vec<Vec<f32>>> {
        let drawn = PARITY_BATCHES.into_iter().rev().map(|batch| {
            let mut out = vec![f32::NAN; expected.len()];
            for (out, first) in out.chunks_mut(batch * image.len()).zip((0..).step_by(batch)) {
                generator.sample(SEED, first, out)?;
            }
            Ok(out)
        });
        drawn.collect()
    };
    let plain = [draw(&mut generator)?, draw(&mut generator)?];
    PARITY_BATCHES.iter().try_for_each(|&batch| generator.warm_up(batch))?;
    // Work that is not recorded comes between.
    generator.sample(SEED, 0, &mut vec![0f32; 7 * image.len()])?;
    let replayed = [draw(&mut generator)?, draw(&mut generator)?];
    let apart = |a: &[Vec<f32>], b: &[Vec<f32>]| a.iter().zip(b).map(|(a, b)| farthest(a, b)).fold(0., larger);
    let again = [apart(&plain[0], &plain[1]), apart(&replayed[0], &replayed[1]), apart(&plain[0], &replayed[0])];
    let all = || plain.iter().chain(&replayed).flatten();
    let largest = all().map(|found| farthest(found, &expected)).fold(0., larger);
    let mean = all().map(|found| {
        let differences = found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs()));
        differences.sum::<f64>() / expected.len() as f64
    });
    let (tolerance, repeats) = (tolerance(precision), again == [0.; 3]);
    Ok(json!({
        "model": model.file_stem().unwrap_or_default().to_string_lossy(),
        "image": [image.channels, image.height, image.width],
        "precision": precision.to_string(),
        "device": generator.provider().to_string(),
        "rewritten": generator.is_rewritten(),
        "batches": PARITY_BATCHES,
        "recorded": PARITY_BATCHES.iter().filter(|&&batch| generator.replays(batch)).count(),
        "why_not": PARITY_BATCHES.iter().find_map(|&batch| generator.why_plain(batch)),
        "largest": largest,
        "mean": mean.fold(0., f64::max),
        "tolerance": tolerance,
        "again": { "plain": again[0], "replayed": again[1], "replayed_beside_plain": again[2] },
        "repeats": repeats,
        "ok": largest <= tolerance && repeats && (args.device == Provider::Auto || generator.provider() == args.device),
    }))
}

/// The largest difference of two values.
fn farthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., larger)
}

/// Not the maximum of the standard library, which passes over NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The shape of a network's images, how many there are, and what its recipe has other than `digits`.
fn workload(args: &Train) -> trainer::Result<(Recipe, ImageShape, usize)> {
    // Without penalties: no gradient of a gradient in the peer's step either.
    let none = toml::Value::Array(Vec::new());
    let mut overrides: Vec<Override> =
        vec![("training.batch".to_owned(), args.batch.into()), ("objective.penalties".to_owned(), none)];
    if args.network == "digits" {
        let shape = ImageShape { channels: 1, height: 28, width: 28 };
        return Ok((Recipe::load("digits", &overrides)?, shape, 60_000));
    }
    // As in the paper; `NETWORKS` in benches/peers/gpu_torch.py has the same.
    let paper = [
        ("generator.latent", 100.into()),
        ("generator.width", 64.into()),
        ("discriminator.width", 64.into()),
        ("discriminator.batch_norm", true.into()),
    ];
    overrides.extend(paper.map(|(key, value)| (key.to_owned(), value)));
    for network in ["generator", "discriminator"] {
        let adam = [("lr", 2e-4), ("beta1", 0.5), ("beta2", 0.999)];
        overrides.extend(adam.map(|(key, value)| (format!("optimizer.{network}.{key}"), value.into())));
    }
    Ok((Recipe::load("digits", &overrides)?, ImageShape { channels: 3, height: 64, width: 64 }, 8_192))
}

fn train(args: &Train) -> Result<(), String> {
    // As the trainer does it.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(args.threads).use_current_thread().build_global();
    let mut training = workload(args)
        .and_then(|(recipe, shape, count)| {
            Training::start(recipe, &Arc::new(noise(shape, count, SEED)), args.device, &args.precision)
        })
        .map_err(|e| e.to_string())?;
    let run = |training: &mut Training, steps: usize| -> trainer::Result<Value> {
        training.synchronise()?;
        let (start, mut last) = (Instant::now(), None);
        for _ in 0..steps {
            last = Some(training.step()?);
        }
        training.synchronise()?;
        let seconds = start.elapsed().as_secs_f64();
        let found = last.map(|step| training.losses(step)).transpose()?;
        let losses = found.unwrap_or_default();
        Ok(json!({ "seconds": seconds, "losses": losses.map(|loss| rounded(f64::from(loss), 4)).to_vec() }))
    };
    // The first step allocates, compiles kernels, and meets all sizes.
    run(&mut training, 1).map_err(|e| e.to_string())?;
    let versions = json!({ "kiln": env!("CARGO_PKG_VERSION") });
    protocol::serve(&versions, |line| match protocol::number(line, "run") {
        Some(steps) => run(&mut training, steps).map_err(|e| e.to_string()),
        None => Err(format!("{line:?} is no command, allowed is `run N`")),
    })
}

fn sample(args: &Sample) -> Result<(), String> {
    let (provider, threads, rewrite) = (args.device, args.threads, args.rewrite);
    let options = Options { provider, threads, rewrite, ..Options::default() };
    let sampler = Sampler::open(&args.model, options, &args.batches, Call::LatentsToValues);
    let mut sampler = sampler.map_err(|e| e.to_string())?;
    if args.device != Provider::Auto && sampler.provider() != args.device {
        return Err(format!("asked for {}, it runs on {}", args.device, sampler.provider()));
    }
    protocol::serve(&versions().map_err(|e| e.to_string())?, |line| sampler.answer(line))
}

fn write_generators(args: &Generators) -> Result<(), String> {
    for name in &args.names {
        let side = name.rsplit('-').next().and_then(|side| side.parse().ok()).unwrap_or(0);
        let source = generators::Source::dcgan(side).map_err(|e| e.to_string())?;
        for precision in [Precision::F16, Precision::F32] {
            println!("{}", source.write(precision, &args.out).map_err(|e| e.to_string())?.display());
        }
    }
    Ok(())
}
