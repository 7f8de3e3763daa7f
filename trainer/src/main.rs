//! The program `trainer`: reads the command line, calls the library, reports.

mod cli;
mod evaluate;

use candle_core::Device;
use clap::{CommandFactory, Parser, error::ErrorKind};
use cli::{Args, Command};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use trainer::data::{Dataset, mnist};
use trainer::export::{self, Format, Origin, Weights};
use trainer::recipe::Recipe;
use trainer::report::{duration, grid, print, say};
use trainer::run::Run;
use trainer::state::{STATISTICS_LATENTS, State};
use trainer::train::{End, train};
use trainer::{Error, Result, checkpoint, device};

/// Tensors are large and live for a part of a step: their memory is to be kept for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`: milliseconds until free memory goes back to the system, never with -1.
const PURGE_DELAY: i32 = 15;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet; the option is a number that the allocator reads when it frees.
    unsafe {
        trainer::ops::prepare_candle();
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    match &args.command {
        None => {
            use_threads(args.threads);
            train_or_export(args)
        }
        Some(Command::Evaluate(args)) => {
            use_threads(args.threads);
            evaluate::run(args)
        }
    }
}

/// Computes with this many threads, or one a core. The main thread is one of them: it computes instead of waiting to be
/// woken after every operator.
fn use_threads(threads: Option<u16>) {
    // It fails only if there is a pool already.
    let threads = threads.map_or(0, usize::from);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
}

/// Trains, or exports what a run has learned.
fn train_or_export(args: &Args) -> Result<()> {
    let existing = args.run.as_deref().and_then(Run::open);
    if args.resume && existing.is_none() {
        usage(ErrorKind::ValueValidation, "--resume: there is no run in the folder given with --run");
    }
    let mut recipe = match &existing {
        Some(run) => run.recipe(&args.overrides())?,
        None => Recipe::load(&args.recipe, &args.overrides())?,
    };
    if let Some(steps) = args.steps {
        recipe.training.kimg = (steps * recipe.training.images_a_step()) as f64 / 1000.;
    }
    recipe.data.folder = recipe.data.folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
    if args.print_recipe {
        print!("{}", recipe.to_toml()?.trim_end());
        return Ok(());
    }

    // What would fail after the training is found out before it.
    export::check(&args.export, weights(args))?;
    if onnx_file(&args.export).is_some() {
        let _ = runtime::engine_info()?;
    }

    let (device, why_cpu) = device::open(args.device)?;
    if let Some(why) = why_cpu.filter(|_| cfg!(feature = "cuda")) {
        say!("no GPU: {why}");
    }
    let data = Arc::new(mnist::load(recipe.data.folder.as_deref())?);
    match existing {
        Some(run) if args.resume => {
            run.set_recipe(&recipe)?;
            let state = last_checkpoint(&run, recipe, &data, &device)?;
            say!("going on at {} images", state.clock.images);
            learn(state, &data, &run, args)
        }
        Some(run) => {
            if args.export.is_empty() {
                let what = "holds a run: add --resume to go on with it, or --export FILE to export what it has learned";
                return Err(Error::Run { path: run.path().to_owned(), what: what.into() });
            }
            let state = last_checkpoint(&run, recipe, &data, &device)?;
            if state.clock.images < state.recipe.images() {
                say!("the run is not finished: exporting what it learned from {} images", state.clock.images);
            }
            finish(&state, &data, &run, args)
        }
        None => {
            // What cannot be run leaves no folder behind.
            let state = State::new(recipe, &data, &device)?;
            let run = Run::create(args.run.as_deref(), &state.recipe)?;
            learn(state, &data, &run, args)
        }
    }
}

/// Ends the program with a message in clap's form and exit code 2.
fn usage(kind: ErrorKind, message: &str) -> ! {
    Args::command().error(kind, message).exit()
}

fn last_checkpoint(run: &Run, recipe: Recipe, data: &Dataset, device: &Device) -> Result<State> {
    match run.checkpoints()?.last() {
        Some(path) => checkpoint::load(path, recipe, data, device),
        None => {
            let what = "has no checkpoint yet; begin again without --run, or with another folder";
            Err(Error::Run { path: run.path().to_owned(), what: what.into() })
        }
    }
}

/// Trains to the end and exports, or stops when asked to.
fn learn(mut state: State, data: &Arc<Dataset>, run: &Run, args: &Args) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let handler = stop.clone();
    let asked = ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say!("\nstopping after this step; once more to stop at once, losing what came after the last checkpoint");
    });
    if let Err(e) = asked {
        say!("warning: cannot catch Ctrl-C ({e}); it will lose what comes after the last checkpoint");
    }
    say!(
        "training {} on {} ({} images of {}x{}), on {}, {} threads, into {}",
        state.recipe.name,
        data.name(),
        data.len(),
        data.shape().width,
        data.shape().height,
        device::name(&state.device),
        rayon::current_num_threads(),
        run.path().display()
    );
    let start = Instant::now();
    let end = train(&mut state, data, run, &stop)?;
    let seconds = duration(start.elapsed().as_secs_f64());
    match end {
        End::Finished => {
            say!("trained to {} images in {seconds}", state.clock.images);
            finish(&state, data, run, args)
        }
        End::Stopped => {
            let mut exports: String = args.export.iter().map(|path| format!(" --export {}", path.display())).collect();
            if args.external_weights {
                exports += " --external-weights";
            }
            say!("stopped at {} images after {seconds}; to go on:", state.clock.images);
            print!("  cargo run --release -p trainer -- --run {} --resume{exports}", run.path().display());
            Ok(())
        }
    }
}

/// Exports and says where everything is.
fn finish(state: &State, data: &Dataset, run: &Run, args: &Args) -> Result<()> {
    let sampler = state.sampler(STATISTICS_LATENTS)?;
    let samples = run.path().join("samples.png");
    let latents = state.latents("samples", 0, state.images_in_grid(100))?;
    grid::write(&samples, &state.images(&sampler, &latents)?, 10)?;
    // Files are written from the memory of this machine.
    let sampler = sampler.map(|_, t| t.to_device(&Device::Cpu))?;
    let mut recipe = state.recipe.clone();
    // Where the data was on this machine is nobody else's business.
    recipe.data.folder = None;
    let origin = Origin {
        recipe: recipe.to_toml()?,
        images_seen: state.clock.images,
        data: data.name().to_owned(),
        data_sha256: data.sha256().to_owned(),
    };
    let exported = export::export(&sampler, recipe.export.precision, &origin, weights(args), &args.export)?;

    print!("run      {}", run.path().display());
    print!("samples  {}", samples.display());
    for file in &exported {
        let checked = file.parity.map(|p| format!(", ONNX Runtime agrees with candle within {p:.1e}"));
        print!(
            "export   {} ({} KB, {}{})",
            file.path.display(),
            file.bytes / 1000,
            recipe.export.precision,
            checked.unwrap_or_default()
        );
    }
    match onnx_file(&args.export) {
        Some(path) => {
            print!("\nto sample from it:");
            print!(
                "  cargo run --release -p runtime --bin sample -- {} --seed 7 --count 64 --grid out.png",
                path.display()
            );
        }
        None => {
            print!("\nto export the generator:");
            print!("  cargo run --release -p trainer -- --run {} --export gen.onnx", run.path().display());
        }
    }
    Ok(())
}

/// Where an ONNX file's weights go.
fn weights(args: &Args) -> Weights {
    if args.external_weights { Weights::Beside } else { Weights::Inside }
}

fn onnx_file(exports: &[PathBuf]) -> Option<&Path> {
    exports.iter().map(PathBuf::as_path).find(|path| matches!(Format::of(path), Ok(Format::Onnx)))
}
