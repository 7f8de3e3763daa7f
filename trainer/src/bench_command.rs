//! The subcommand `bench`: how many modes of known distributions a method finds.

use clap::{Parser, ValueEnum};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trainer::bench::{self, Folder, Learning, Method, OURS, Protocol, Report, Run, StackedMnist};
use trainer::recipe::Images;
use trainer::report::{Bar, duration, print, say};
use trainer::stop::{STOPPED, Stop};
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

    /// Keep the figures of every seed and the state of the one at hand in this folder; the same command goes on from there
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// A process that is killed loses so much at most.
const BETWEEN_STATES: Duration = Duration::from_secs(60);

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
  trainer bench stacked-mnist --run runs/stacked       five hours, which may be interrupted
  trainer bench grid --method mine.toml --json         for programs";

/// Learns, measures and prints.
///
/// # Errors
/// No method, one that diverges, a folder of something else, and what the system says.
pub fn run(args: &Args) -> Result<ExitCode> {
    let protocol: Box<dyn Protocol> = match args.benchmark {
        Benchmark::Ring => Box::new(bench::ring()),
        Benchmark::Grid => Box::new(bench::grid()),
        Benchmark::StackedMnist => Box::new(StackedMnist::open()?),
    };
    let mut method = Method::load(&args.method, &*protocol)?;
    if let Some(kimg) = args.kimg {
        method = method.with_kimg(kimg)?;
    }
    let stop = Stop::listen();
    let folder = args.run.as_deref().map(|path| Folder::open(path, &*protocol, &method)).transpose()?;
    let bench = Bench { protocol: &*protocol, method: &method, folder: folder.as_ref(), stop };
    let (runs, end) = until_one_ends(args.seed..args.seed + args.seeds, |seed| bench.seed(seed));
    if !runs.is_empty() {
        let report = Report::new(&*protocol, &args.method, method.clone(), runs);
        print!("{}", if args.json { report.to_json()? } else { report.table() });
    }
    match end {
        End::Done => Ok(ExitCode::SUCCESS),
        End::Stopped => {
            match args.run {
                Some(_) => say!("stopped; the same command goes on from here"),
                None => say!("stopped; what the seed at hand has learned is lost, with --run DIR it would be kept"),
            }
            Ok(ExitCode::from(STOPPED))
        }
        End::Failed(error) => Err(error),
    }
}

/// How seeds have ended.
#[derive(Debug)]
enum End {
    Done,
    Stopped,
    Failed(Error),
}

/// Runs `one` seed after another, until one is stopped or diverges: what is known of those before took hours, and is not lost.
fn until_one_ends<T>(seeds: Range<u64>, mut one: impl FnMut(u64) -> Result<Option<T>>) -> (Vec<T>, End) {
    let mut runs = Vec::new();
    for seed in seeds {
        match one(seed) {
            Ok(Some(run)) => runs.push(run),
            Ok(None) => return (runs, End::Stopped),
            Err(error) => return (runs, End::Failed(error)),
        }
    }
    (runs, End::Done)
}

/// What is the same for all seeds.
struct Bench<'a> {
    protocol: &'a dyn Protocol,
    method: &'a Method,
    folder: Option<&'a Folder>,
    stop: Stop,
}

impl Bench<'_> {
    /// The run of one seed; `None` if it was stopped.
    fn seed(&self, seed: u64) -> Result<Option<Run>> {
        let (protocol, name) = (self.protocol, self.protocol.name());
        let (run, when) = match self.folder.map(|folder| folder.done(seed)).transpose()?.flatten() {
            Some(run) => (run, ", done before"),
            None => match self.learn(seed)? {
                Some(run) => (run, ""),
                None => return Ok(None),
            },
        };
        let Run { seconds, samples, .. } = run;
        let quality = if protocol.judges_quality() {
            format!(", {:.2} % of high quality", 100. * samples.high_quality)
        } else {
            String::new()
        };
        let (found, all) = (samples.modes, protocol.modes());
        let (kl, time) = (samples.kl, duration(seconds));
        say!("{name}, seed {seed}: {found} of {all} modes{quality}, KL {kl:.4}, {time}{when}");
        Ok(Some(run))
    }

    /// The same of a seed that is not done, from its state if there is one.
    fn learn(&self, seed: u64) -> Result<Option<Run>> {
        let Self { protocol, method, folder, stop } = self;
        let (start, Images(all), name) = (Instant::now(), method.kimg, protocol.name());
        let mut learning = Learning::new(*protocol, method, seed)?;
        let state = folder.map(|folder| folder.state_path(seed));
        let before = match state.as_ref().filter(|path| path.exists()) {
            Some(path) => match learning.resume(path) {
                Ok(seconds) => seconds,
                Err(error @ Error::Damaged { .. }) => {
                    say!("warning: {error}; {name}, seed {seed} begins anew");
                    learning = Learning::new(*protocol, method, seed)?;
                    0.
                }
                Err(error) => return Err(error),
            },
            None => 0.,
        };
        let (begun, mut kept) = (learning.images(), Instant::now());
        let seconds = || before + start.elapsed().as_secs_f64();
        let mut bar = Bar::new(begun, all);
        let mut learn = || -> Result<bool> {
            while !learning.has_ended() {
                let stopped = stop.asked();
                if let Some(path) = state.as_ref().filter(|_| stopped || kept.elapsed() >= BETWEEN_STATES) {
                    learning.save(path, seconds())?;
                    kept = Instant::now();
                }
                if stopped {
                    return Ok(false);
                }
                learning.step()?;
                let images = learning.images();
                bar.update(images, || {
                    let (done, left) = ((images - begun) as f64, all.saturating_sub(images) as f64);
                    let left = duration(start.elapsed().as_secs_f64() * left / done);
                    let (now, all) = (Images(images).kimg(), Images(all).kimg());
                    format!("{name}, seed {seed}  {now:.0}/{all:.0} kimg  {left} left")
                });
            }
            Ok(true)
        };
        let learned = learn();
        bar.end();
        let ended = learned.map_err(|error| match error {
            Error::Diverged { images, what } => Error::Evaluation(format!(
                "{name}, seed {seed}: training diverged after {images} samples: {what}; lower the method's learning rates"
            )),
            error => error,
        })?;
        if !ended {
            return Ok(None);
        }
        let seconds = seconds();
        let samples = bench::measure(*protocol, method, &learning.generator()?, seed)?;
        let run = Run { seed, seconds, samples, floor: bench::floor(*protocol, seed)? };
        folder.map_or(Ok(()), |folder| folder.keep(&run))?;
        Ok(Some(run))
    }
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
        let one = |last: u64| move |seed| if seed < last { Ok(Some(seed)) } else { Ok(None) };
        assert!(matches!(until_one_ends(5..9, one(9)), (runs, End::Done) if runs == [5, 6, 7, 8]));
        assert!(matches!(until_one_ends(5..9, one(7)), (runs, End::Stopped) if runs == [5, 6]));
        let fails = |seed| if seed < 7 { Ok(Some(seed)) } else { Err(Error::Evaluation(format!("seed {seed}"))) };
        assert!(
            matches!(until_one_ends(5..9, fails), (runs, End::Failed(e)) if runs == [5, 6] && e.to_string().contains("seed 7"))
        );
    }

    #[test]
    fn a_short_run_ends_with_its_figures_and_one_that_was_stopped_with_the_same() -> Result<()> {
        let ring = bench::ring();
        let method = Method::load(OURS, &ring)?.with_kimg(0.2)?;
        let whole = Bench { protocol: &ring, method: &method, folder: None, stop: Stop::default() };
        let run = whole.seed(1)?.expect("nobody asked to stop");
        assert!(run.samples.modes <= 8. && run.floor.modes == 8. && run.seconds > 0., "{run:?}");

        let path = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(path.path(), &ring, &method)?;
        let stopped = Bench { folder: Some(&folder), ..whole };
        stopped.stop.ask();
        assert!(stopped.seed(1)?.is_none() && folder.state_path(1).exists() && folder.done(1)?.is_none());
        let resumed = Bench { stop: Stop::default(), ..stopped };
        let again = resumed.seed(1)?.expect("nobody asked to stop");
        assert_eq!((again.samples, again.floor), (run.samples, run.floor));
        // What is done is not done again.
        assert!(!folder.state_path(1).exists() && resumed.seed(1)? == Some(again));
        // What cannot be read is.
        std::fs::remove_file(path.path().join("seed-1.json")).expect("removes");
        std::fs::write(folder.state_path(1), "on the way").expect("writes");
        assert_eq!(resumed.seed(1)?.map(|run| run.samples), Some(run.samples));
        Ok(())
    }
}
