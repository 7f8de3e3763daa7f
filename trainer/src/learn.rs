//! Training from the command line: a new run, one that goes on, or one that is exported.

use crate::cli::Args;
use crate::{command, finish};
use candle_core::Device;
use clap::{CommandFactory, error::ErrorKind};
use std::process::ExitCode;
use std::time::Instant;
use trainer::data::{self, Splits};
use trainer::export;
use trainer::keep::{self, keep};
use trainer::recipe::{Images, Recipe};
use trainer::report::{duration, print, say};
use trainer::run::Run;
use trainer::state::State;
use trainer::stop::{STOPPED, Stop};
use trainer::train::{End, train};
use trainer::watch::Hooks;
use trainer::{Error, Result, device};

/// Trains, or exports what a run has learned.
///
/// # Errors
/// All that can be wrong is found out before the first step, and before anything is written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let existing = args.run.as_deref().and_then(Run::open);
    let recipe = recipe(args, existing.as_ref())?;
    if args.print_recipe {
        print!("{}", recipe.to_toml()?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    check_exports(args)?;
    let (device, why_cpu) = device::open(args.device)?;
    if let Some(why) = why_cpu.filter(|_| cfg!(feature = "cuda")) {
        say!("no GPU: {why}");
    }
    match existing {
        Some(run) if args.resume => go_on(run, recipe, &device, args),
        Some(run) if args.export.is_empty() => {
            let what = "holds a run: add --resume to go on with it, or --export FILE to export what it has learned";
            Err(Error::Run { path: run.path().to_owned(), what: what.into() })
        }
        Some(run) => {
            let data = data::open(&recipe.data)?.splits;
            let state = keep::last(&run, &recipe, &data.train, &device)?.state;
            if state.clock.images < state.recipe.images() {
                say!("the run is not finished");
            }
            finish::finish(state, &data, &run, args)?;
            Ok(ExitCode::SUCCESS)
        }
        None => begin(recipe, &device, args),
    }
}

/// The recipe that the command line asks for.
fn recipe(args: &Args, existing: Option<&Run>) -> Result<Recipe> {
    let mut recipe = match existing {
        None if args.resume => usage(
            ErrorKind::ValueValidation,
            "--resume: there is no run in the folder given with --run; one that was killed before it began is begun without --resume",
        ),
        Some(_) if args.recipe.is_some() => usage(
            ErrorKind::ArgumentConflict,
            "--recipe: the folder given with --run holds a run, which has its recipe; give another folder for a new run",
        ),
        Some(run) => run.recipe(&args.overrides()).map_err(|error| keep::explain(run, error))?,
        None => Recipe::load(args.recipe.as_deref().unwrap_or("digits"), &args.overrides())?,
    };
    if let Some(steps) = args.steps {
        let step = recipe.training.images_a_step();
        match steps.checked_mul(step).filter(|images| *images <= Images::MOST) {
            Some(images) => recipe.training.kimg = Images(images),
            None => {
                let most = Images::MOST / step;
                let message = format!("--steps is {steps}, allowed is up to {most} of {step} images each");
                usage(ErrorKind::ValueValidation, &message)
            }
        }
    }
    recipe.data = recipe.data.absolute().map_err(|what| Error::Recipe { origin: recipe.name.clone(), what })?;
    Ok(recipe)
}

/// What would fail after the training is found out before it.
fn check_exports(args: &Args) -> Result<()> {
    export::check(&args.export, finish::weights(args))?;
    if finish::onnx_file(&args.export).is_some() {
        let _ = runtime::engine_info()?;
    }
    Ok(())
}

/// Ends the program with a message in clap's form and exit code 2.
fn usage(kind: ErrorKind, message: &str) -> ! {
    Args::command().error(kind, message).exit()
}

/// A new run.
fn begin(recipe: Recipe, device: &Device, args: &Args) -> Result<ExitCode> {
    let data = data::open(&recipe.data)?.splits;
    // What cannot be run leaves no folder behind.
    let state = State::new(recipe, &data.train, device)?;
    let hooks = Hooks::new(&state.recipe, &data)?;
    let stop = Stop::listen();
    let run = Run::create(args.run.as_deref(), &state.recipe)?;
    if let Err(error) = keep(&state, &data.train, &run).and_then(|()| run.set_recipe(&state.recipe)) {
        run.abandon();
        return Err(error);
    }
    learn(state, &data, &run, hooks, &stop, args)
}

/// A run that goes on where it was interrupted, or is made longer.
fn go_on(mut run: Run, recipe: Recipe, device: &Device, args: &Args) -> Result<ExitCode> {
    // Nothing is written, not even a lock, into a folder where nothing was learned.
    if run.checkpoints()?.is_empty() {
        return Err(keep::nothing(&run));
    }
    run.lock()?;
    let data = data::open(&recipe.data)?.splits;
    let keep::Loaded { state, changes } = keep::last(&run, &recipe, &data.train, device)?;
    let hooks = Hooks::new(&state.recipe, &data)?;
    let (images, stop) = (state.clock.images, Stop::listen());
    keep::set_aside(&run, images)?;
    run.set_recipe(&state.recipe)?;
    run.log_changes(images, &changes)?;
    for change in &changes {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".into());
        say!("changed after {images} images: {} from {} to {}", change.key, shown(&change.from), shown(&change.to));
    }
    say!("going on at {images} images");
    learn(state, &data, &run, hooks, &stop, args)
}

/// Trains to the end and exports, or stops when asked to.
fn learn(mut state: State, data: &Splits, run: &Run, hooks: Hooks, stop: &Stop, args: &Args) -> Result<ExitCode> {
    let shape = data.train.shape();
    say!(
        "training {} on {} ({} images of {}x{}), on {}, {} threads, into {}",
        state.recipe.name,
        data.train.name(),
        data.train.len(),
        shape.width,
        shape.height,
        device::name(&state.device),
        rayon::current_num_threads(),
        run.path().display()
    );
    let start = Instant::now();
    let end = train(&mut state, data, run, hooks, keep::best_evaluation(run)?, stop)?;
    let (images, seconds) = (state.clock.images, duration(start.elapsed().as_secs_f64()));
    match end {
        End::Finished(saved) => {
            say!("trained to {images} images in {seconds}");
            if let Err(error) = &saved {
                say!("warning: {error}; what was learned last is in no checkpoint");
            }
            finish::finish(state, data, run, args)?;
            saved.map(|()| ExitCode::SUCCESS)
        }
        End::Stopped => {
            say!("stopped at {images} images after {seconds}; to go on:");
            print!("  {}", command::resume(run.path(), args));
            Ok(ExitCode::from(STOPPED))
        }
    }
}
