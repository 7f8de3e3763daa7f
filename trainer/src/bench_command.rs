//! The subcommand `bench`: how many modes of known distributions a method finds.

use clap::{Parser, ValueEnum};
use std::ops::Range;
use std::time::Instant;
use trainer::bench::{self, Method, OURS, Protocol, Report, Run, StackedMnist};
use trainer::recipe::Images;
use trainer::report::{Bar, duration, print, say};
use trainer::{Error, Result};

/// Measure how many modes of a known distribution a method of training finds
///
/// The benchmarks are those of the literature on mode collapse: 8 normal distributions on a circle, 25 on a grid, and triples
/// of handwritten digits, of which there are a thousand. Each seed learns from the beginning. Samples of the generator are
/// counted by the mode that they are of, and by whether they are close to it; the Kullback-Leibler divergence tells how
/// unevenly they fall on all modes. The same figures of real samples, beside them, are the best that can be reached.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is to be learned
    #[arg(value_enum, value_name = "BENCHMARK")]
    pub benchmark: Benchmark,

    /// How: ours; plain, the GAN of 2014 with the settings of the paper that the benchmark is from; or a .toml file
    #[arg(long, value_name = "NAME|FILE", default_value = OURS)]
    pub method: String,

    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,

    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=LAST_SEED))]
    pub seed: u64,

    /// Learn from so many thousands of samples only; the method's schedules stay what they are
    #[arg(long, value_name = "N")]
    pub kimg: Option<f64>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The last seed that can be the first of them: a recipe's seeds go to 2^63 - 1.
const LAST_SEED: u64 = i64::MAX as u64 - 1000;

/// The benchmarks by their names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Benchmark {
    /// 8 modes on the circle of radius 1, of standard deviation 0.01
    Ring,
    /// 25 modes on a grid of distance 2, of standard deviation 0.05
    Grid,
    /// Three digits of MNIST in three colours: 1000 modes
    StackedMnist,
}

const EXAMPLES: &str = "\
Examples:
  trainer bench ring                                   a table of ten seeds, seven minutes each on two cores
  trainer bench ring --method plain --seeds 3          what the first GANs do
  trainer bench stacked-mnist --seeds 1 --kimg 100     a first look
  trainer bench grid --method mine.toml --json         for programs";

/// Learns, measures and prints.
///
/// # Errors
/// No method, one that diverges, and what the system says.
pub fn run(args: &Args) -> Result<()> {
    let protocol: Box<dyn Protocol> = match args.benchmark {
        Benchmark::Ring => Box::new(bench::ring()),
        Benchmark::Grid => Box::new(bench::grid()),
        Benchmark::StackedMnist => Box::new(StackedMnist::open()?),
    };
    let mut method = Method::load(&args.method, &*protocol)?;
    if let Some(kimg) = args.kimg {
        method = method.with_kimg(kimg)?;
    }
    let (runs, failed) = until_one_fails(args.seed..args.seed + args.seeds, |seed| one(&*protocol, &method, seed));
    if !runs.is_empty() {
        let report = Report::new(&*protocol, &args.method, method, runs);
        print!("{}", if args.json { report.to_json()? } else { report.table() });
    }
    failed.map_or(Ok(()), Err)
}

/// Runs `one` seed after another: what is known of those before one that diverges took hours, and is not lost.
fn until_one_fails<T>(seeds: Range<u64>, mut one: impl FnMut(u64) -> Result<T>) -> (Vec<T>, Option<Error>) {
    let mut runs = Vec::new();
    for seed in seeds {
        match one(seed) {
            Ok(run) => runs.push(run),
            Err(error) => return (runs, Some(error)),
        }
    }
    (runs, None)
}

/// The run of one seed.
fn one(protocol: &dyn Protocol, method: &Method, seed: u64) -> Result<Run> {
    let (start, Images(all), name) = (Instant::now(), method.kimg, protocol.name());
    let mut bar = Bar::new(0, all);
    let learned = bench::learn(protocol, method, seed, &mut |images| {
        bar.update(images, || {
            let left = start.elapsed().as_secs_f64() * (all.saturating_sub(images) as f64 / images as f64);
            format!(
                "{name}, seed {seed}  {:.0}/{:.0} kimg  {} left",
                Images(images).kimg(),
                Images(all).kimg(),
                duration(left)
            )
        });
    });
    bar.end();
    let generator = learned.map_err(|error| match error {
        Error::Diverged { images, what } => Error::Evaluation(format!(
            "{name}, seed {seed}: training diverged after {images} samples: {what}; lower the method's learning rates"
        )),
        error => error,
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let (samples, floor) = (bench::measure(protocol, method, &generator, seed)?, bench::floor(protocol, seed)?);
    let quality = if protocol.judges_quality() {
        format!(", {:.2} % of high quality", 100. * samples.high_quality)
    } else {
        String::new()
    };
    say!(
        "{name}, seed {seed}: {} of {} modes{quality}, KL {:.4}, {}",
        samples.modes,
        protocol.modes(),
        samples.kl,
        duration(seconds)
    );
    Ok(Run { seed, seconds, samples, floor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_for_is_told() {
        for (arguments, words) in [
            (&["bench"][..], "<BENCHMARK>"),
            (&["bench", "torus"], "possible values: ring, grid, stacked-mnist"),
            (&["bench", "ring", "--seeds", "0"], "1..=1000"),
            (&["bench", "ring", "--seed=-1"], "--seed <N>"),
            (&["bench", "ring", "--seed", "9223372036854775807"], "9223372036854774807"),
            (&["bench", "ring", "--threads", "0"], "1..=1024"),
        ] {
            let said = Args::try_parse_from(arguments).expect_err("must be refused").to_string();
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
        for (arguments, words) in [
            (&["bench", "ring", "--method", "best"][..], "recipe best: there is no such method; give ours, plain, or"),
            (&["bench", "ring", "--kimg", "0"], "recipe --kimg: kimg is 0, allowed is 0.064 to"),
            (&["bench", "grid", "--kimg=-1"], "allowed is up to"),
        ] {
            let said = run(&Args::parse_from(arguments)).expect_err("must be refused").to_string();
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }

    #[test]
    fn seeds_before_one_that_fails_are_kept() {
        let one = |seed| if seed < 7 { Ok(seed) } else { Err(Error::Evaluation(format!("seed {seed} diverged"))) };
        let (runs, failed) = until_one_fails(5..9, one);
        assert_eq!(runs, [5, 6]);
        assert!(failed.expect("one failed").to_string().contains("seed 7 diverged"));
        let (runs, failed) = until_one_fails(5..7, one);
        assert!(runs == [5, 6] && failed.is_none());
    }

    #[test]
    fn a_short_run_ends_with_its_figures() -> Result<()> {
        let method = Method::load(OURS, &bench::ring())?.with_kimg(0.2)?;
        let run = one(&bench::ring(), &method, 1)?;
        assert!(run.samples.modes <= 8. && run.floor.modes == 8. && run.seconds > 0., "{run:?}");
        Ok(())
    }
}
