//! Times one training step of the trainer, for `benches/peers/compare.py`: the networks, the variants' names and the line
//! of JSON are those of `benches/peers/train_step.py`, and so is what is inside the measured time.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark for a person at a terminal")]

use benches::process::peak_memory;
use benches::stats::{quantile, rounded};
use benches::training::{Training, noise};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use runtime::{ImageShape, Provider};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use trainer::Result;
use trainer::data::{self, Dataset};
use trainer::recipe::{Override, Recipe};

/// As the trainer has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, as the trainer has it.
const PURGE_DELAY: i32 = 15;

const PEER: &str = "kiln";

/// What the discriminator has beside its layers.
#[derive(Clone, Copy, PartialEq)]
enum With {
    Nothing,
    BatchNorm,
    /// The penalty on real images, of weight 1, in every step.
    R1,
    /// The same on generated ones, too.
    R1AndR2,
    /// The Wasserstein loss with the gradient penalty of weight 10.
    WganGp,
}

impl With {
    /// Kinds and weights.
    fn penalties(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Nothing | Self::BatchNorm => &[],
            Self::R1 => &[("r1", 1.)],
            Self::R1AndR2 => &[("r1", 1.), ("r2", 1.)],
            Self::WganGp => &[("wgan-gp", 10.)],
        }
    }
}

/// The images that a network learns from.
#[derive(Clone, Copy, PartialEq)]
enum Images {
    Mnist,
    /// Noise of 64 x 64 pixels and so many channels.
    Noise(usize),
}

impl Images {
    /// Images of noise: many more than a batch, few beside the networks in memory.
    const COUNT: usize = 2000;

    fn open(self) -> Result<Dataset> {
        match self {
            Self::Mnist => Ok(data::open(&trainer::recipe::Data::at(data::MNIST.as_ref()))?.splits.train),
            Self::Noise(channels) => Ok(noise(ImageShape { channels, height: 64, width: 64 }, Self::COUNT, 0)),
        }
    }
}

/// Name, recipe, width, what the discriminator has, and what is learned.
const NETWORKS: [(&str, &str, u32, With, Images); 11] = [
    ("dcgan-64", "digits", 64, With::Nothing, Images::Mnist),
    ("dcgan-32", "digits", 32, With::Nothing, Images::Mnist),
    ("dcgan-64-bn", "digits", 64, With::BatchNorm, Images::Mnist),
    ("dcgan-32-bn", "digits", 32, With::BatchNorm, Images::Mnist),
    ("dcgan-64-r1", "digits", 64, With::R1, Images::Mnist),
    ("dcgan-32-r1", "digits", 32, With::R1, Images::Mnist),
    ("dcgan-32-r1r2", "digits", 32, With::R1AndR2, Images::Mnist),
    ("dcgan-32-gp", "digits", 32, With::WganGp, Images::Mnist),
    ("dcgan-64x64-64", "digits", 64, With::Nothing, Images::Noise(3)),
    ("dcgan-64x64-32", "digits", 32, With::Nothing, Images::Noise(1)),
    ("tutorial", "tutorial", 64, With::Nothing, Images::Mnist),
];

/// Time one training step
#[derive(Parser)]
struct Args {
    /// Print the variants, one a line
    #[arg(long)]
    list: bool,

    /// What to run
    #[arg(long, value_name = "NETWORK:SCHEDULE:PEER", required_unless_present = "list")]
    variant: Option<String>,

    /// Steps that are timed
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..))]
    steps: u32,

    /// Steps before them
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: u32,

    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,

    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: u32,
}

/// What is run under a name.
struct Variant {
    network: &'static str,
    schedule: &'static str,
    recipe: &'static str,
    overrides: Vec<Override>,
    images: Images,
}

impl Variant {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (network, recipe, width, with, images) in NETWORKS {
            // In one stage, the discriminator must not mix samples; with a penalty, one way is enough.
            let schedules: &[(&str, &str)] = match with {
                With::Nothing => &[("two-stage", "two"), ("one-stage", "one")],
                _ => &[("two-stage", "two")],
            };
            for (schedule, stages) in schedules {
                let overrides = [
                    ("generator.latent", 100.into()),
                    ("discriminator.width", width.into()),
                    ("discriminator.batch_norm", (with == With::BatchNorm).into()),
                    ("training.stages", (*stages).into()),
                ];
                let mut overrides: Vec<Override> = overrides.map(|(key, value)| (key.to_owned(), value)).into();
                // As `ADAM` in benches/peers/train_step.py.
                let adam = match recipe {
                    "tutorial" => [("lr", 2e-4), ("beta1", 0.5), ("beta2", 0.999)],
                    _ => [("lr", 1e-3), ("beta1", 0.5), ("beta2", 0.99)],
                };
                for network in ["generator", "discriminator"] {
                    overrides.extend(adam.map(|(key, value)| (format!("optimizer.{network}.{key}"), value.into())));
                }
                if recipe == "digits" {
                    overrides.push(("generator.width".to_owned(), width.into()));
                }
                let penalties = with.penalties().iter().map(|&(kind, weight)| {
                    let penalty = [("kind".to_owned(), kind.into()), ("weight".to_owned(), weight.into())];
                    toml::Value::from(toml::Table::from_iter::<[(String, toml::Value); 2]>(penalty))
                });
                overrides.push(("objective.penalties".to_owned(), penalties.collect::<Vec<_>>().into()));
                if with == With::WganGp {
                    overrides.push(("objective.loss".to_owned(), "wasserstein".into()));
                }
                all.push(Self { network, schedule, recipe, overrides, images });
            }
        }
        all
    }

    fn name(&self) -> String {
        format!("{}:{}:{PEER}", self.network, self.schedule)
    }

    fn measure(mut self, args: &Args) -> Result<Measured> {
        self.overrides.push(("training.batch".to_owned(), args.batch.into()));
        let recipe = Recipe::load(self.recipe, &self.overrides)?;
        let data = Arc::new(self.images.open()?);
        let memory_before = peak_memory();
        let mut training = Training::start(recipe, &data, Provider::Cpu, "f32")?;
        for _ in 0..args.warmup {
            training.step()?;
        }
        let mut times = Vec::new();
        loop {
            let start = Instant::now();
            let step = training.step()?;
            times.push(start.elapsed().as_secs_f64() * 1000.);
            if times.len() == args.steps as usize {
                let losses = training.losses(step)?;
                return Ok(Measured { times, losses, memory_before });
            }
        }
    }
}

/// What was found.
struct Measured {
    /// Milliseconds of each timed step.
    times: Vec<f64>,
    /// The losses of the last, of discriminator and generator.
    losses: [f32; 2],
    /// The largest memory before there was a network.
    memory_before: Option<f64>,
}

fn main() {
    // SAFETY: nothing has started a thread yet; the option is a number that the allocator reads when it frees.
    unsafe {
        trainer::ops::prepare_candle();
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
    let args = Args::parse();
    if args.list {
        Variant::all().iter().for_each(|variant| println!("{}", variant.name()));
        return;
    }
    let Some(variant) = Variant::all().into_iter().find(|v| Some(v.name()) == args.variant) else {
        Args::command().error(ErrorKind::InvalidValue, "--variant: --list prints the possible values").exit()
    };
    // As the trainer does it.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(args.threads).use_current_thread().build_global();
    let mut result = json!({
        "peer": PEER,
        "network": variant.network,
        "schedule": variant.schedule,
        "batch": args.batch,
        "threads": args.threads,
        "versions": { PEER: env!("CARGO_PKG_VERSION") },
    });
    match variant.measure(&args) {
        Ok(Measured { mut times, losses, memory_before }) => {
            times.sort_unstable_by(f64::total_cmp);
            result["median_ms"] = rounded(quantile(&times, 0.5), 3);
            result["p10_ms"] = rounded(quantile(&times, 0.1), 3);
            result["p90_ms"] = rounded(quantile(&times, 0.9), 3);
            result["steps"] = args.steps.into();
            result["rss_peak_mb"] = peak_memory().into();
            result["rss_before_mb"] = memory_before.into();
            result["losses"] = losses.map(|loss| rounded(f64::from(loss), 4)).to_vec().into();
        }
        Err(error) => result["failed"] = format!("does not work here: {error}").into(),
    }
    println!("{result}");
}
