//! Training from the command line: a new run, one that goes on, or one that is exported.

use crate::cli::Args;
use crate::{command, finish};
use candle_core::Device;
use clap::{CommandFactory, error::ErrorKind};
use runtime::Precision;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use trainer::data::{self, Opened, Splits};
use trainer::export;
use trainer::heal;
use trainer::keep::{self, keep};
use trainer::recipe::{Change, Draft, Images, Recipe};
use trainer::report::{duration, print, say};
use trainer::run::Run;
use trainer::state::State;
use trainer::stop::{STOPPED, Stop};
use trainer::train::{End, train};
use trainer::watch::{Hooks, OnAlarm, Trouble};
use trainer::{Error, Result, choose, device, turn};

/// Trains, or exports what a run has learned.
///
/// # Errors
/// All that can be wrong is found out before the first step, and before anything is written.
pub fn run(args: &Args) -> Result<ExitCode> {
    match args.run.as_deref().and_then(Run::open) {
        Some(run) => with_run(run, args),
        None => without_run(args),
    }
}

/// A folder that holds a run: it goes on, or what it has learned is exported.
fn with_run(mut run: Run, args: &Args) -> Result<ExitCode> {
    if args.recipe.is_some() {
        usage(
            ErrorKind::ArgumentConflict,
            "--recipe: the folder given with --run holds a run, which has its recipe; give another folder for a new run",
        )
    }
    if args.minutes.is_some() {
        usage(
            ErrorKind::ArgumentConflict,
            "--minutes: the folder given with --run holds a run, which has its length; --kimg or --steps make it longer",
        )
    }
    if !args.print_recipe {
        turn::settle(&mut run)?;
    }
    let mut recipe = turn::recipe(&run, &args.overrides()).map_err(|error| keep::explain(&run, error))?;
    recipe.data = recipe.data.absolute().map_err(|what| Error::Recipe { origin: recipe.name.clone(), what })?;
    set_steps(&mut recipe, args);
    if args.print_recipe {
        return print_recipe(&recipe);
    }
    check_exports(args, recipe.export.precision)?;
    let device = device(args)?;
    if args.resume {
        return go_on(run, recipe, &device, args);
    }
    if args.export.is_empty() {
        let what = "holds a run: add --resume to go on with it, or --export FILE to export what it has learned";
        return Err(Error::Run { path: run.path().to_owned(), what: what.into() });
    }
    let learned = |change: &Change| !change.key.starts_with("export.") && !change.key.starts_with("data.");
    if let Some(change) = recipe.differences(&run.recipe(&[])?)?.into_iter().find(learned) {
        let key = change.key;
        let what = format!(
            "is exported as it was learned, with {key} {} and not {}: add --resume to go on with that, or leave it out",
            change.from.unwrap_or_else(|| "not there".into()),
            change.to.unwrap_or_else(|| "without it".into())
        );
        return Err(Error::Run { path: run.path().to_owned(), what });
    }
    let data = data::open(&recipe.data)?.splits;
    let state = keep::last(&run, &recipe, &data.train, &device)?.state;
    if state.clock.images < state.recipe.images() {
        say!("the run is not finished");
    }
    finish::finish(state, &data, &run, args)?;
    Ok(ExitCode::SUCCESS)
}

/// A new run of the recipe that is asked for: `digits`, and of other data than MNIST `pictures`, unless it is named.
fn without_run(args: &Args) -> Result<ExitCode> {
    if args.resume {
        usage(
            ErrorKind::ValueValidation,
            "--resume: there is no run in the folder given with --run; one that was killed before it began is begun without --resume",
        )
    }
    let overrides = args.overrides();
    let source = overrides.iter().rev().find(|(key, _)| key == "data.source").map(|(_, source)| source);
    let of_mnist = source.is_none_or(|source| source.as_str() == Some(data::MNIST));
    let name = args.recipe.as_deref().unwrap_or(if of_mnist { "digits" } else { "pictures" });
    let mut draft = Draft::load(name, &overrides)?;
    choose::put_steps(&mut draft, args.steps)?;
    if let (true, None, Ok(mut recipe)) = (args.print_recipe, args.minutes, draft.clone().finish()) {
        set_steps(&mut recipe, args);
        recipe.data = draft.data()?;
        return print_recipe(&recipe);
    }
    check_exports(args, args.precision.unwrap_or(Precision::F32))?;
    let device = device(args)?;
    let opened = data::open(&draft.data()?)?;
    opened.said.iter().for_each(|line| say!("{line}"));
    draft.put_data(&opened.data)?;
    let train = Arc::new(opened.splits.train.clone());
    let (mut recipe, said) = choose::complete(draft, &train, &device, (args.minutes, args.steps))?;
    said.iter().for_each(|line| say!("{line}"));
    set_steps(&mut recipe, args);
    match args.print_recipe {
        true => print_recipe(&recipe),
        false => {
            // The recipe may say more of them than the options.
            check_exports(args, recipe.export.precision)?;
            begin(recipe, &opened, &device, args)
        }
    }
}

/// The length that is asked for in steps.
fn set_steps(recipe: &mut Recipe, args: &Args) {
    let (Some(steps), step) = (args.steps, recipe.training.images_a_step()) else { return };
    match steps.checked_mul(step).filter(|images| *images <= Images::MOST) {
        Some(images) => recipe.training.kimg = Images(images),
        None => {
            let most = Images::MOST / step;
            let message = format!("--steps is {steps}, allowed is up to {most} of {step} images each");
            usage(ErrorKind::ValueValidation, &message)
        }
    }
}

fn print_recipe(recipe: &Recipe) -> Result<ExitCode> {
    print!("{}", recipe.to_toml()?.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn device(args: &Args) -> Result<Device> {
    let (device, why_cpu) = device::open(args.device)?;
    if let Some(why) = why_cpu.filter(|_| cfg!(feature = "cuda")) {
        say!("no GPU: {why}");
    }
    Ok(device)
}

/// What would fail after the training is found out before it.
fn check_exports(args: &Args, precision: Precision) -> Result<()> {
    export::check(&args.export, finish::weights(args), precision)?;
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
fn begin(recipe: Recipe, opened: &Opened, device: &Device, args: &Args) -> Result<ExitCode> {
    let data = &opened.splits;
    // What cannot be run leaves no folder behind.
    let state = State::new(recipe, &data.train, device)?;
    let hooks = Hooks::new(&state.recipe, data)?;
    let stop = Stop::listen();
    let run = Run::create(args.run.as_deref(), &state.recipe)?;
    let kept = keep(&state, &data.train, &run).and_then(|()| run.log_data(&opened.log));
    if let Err(error) = kept.and_then(|()| run.set_recipe(&state.recipe)) {
        run.abandon();
        return Err(error);
    }
    learn(state, data, &run, hooks, &stop, args)
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
    for player in &state.players {
        let graph = player.learner.network().graph();
        let (parameters, products) = (graph.parameter_elements() as f64, graph.multiplications() as f64);
        say!("{}: {:.2} million parameters, {:.1} MFLOP an image", player.role, parameters / 1e6, 2. * products / 1e6);
    }
    let start = Instant::now();
    let end = play(&mut state, data, run, hooks, stop)?;
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
        End::Stopped | End::Alarmed(_) => {
            say!("stopped at {images} images after {seconds}; to go on:");
            print!("  {}", command::resume(run.path(), args));
            let alarmed = matches!(end, End::Alarmed(_)) && !stop.asked();
            Ok(if alarmed { ExitCode::FAILURE } else { ExitCode::from(STOPPED) })
        }
    }
}

/// Trains to the end, and does about alarms what the recipe says.
fn play(state: &mut State, data: &Splits, run: &Run, hooks: Hooks, stop: &Stop) -> Result<End> {
    let mut hooks = Some(hooks);
    loop {
        let turned = if state.recipe.training.on_alarm.turns_back() { run.healings()? } else { 0 };
        if turned >= heal::MOST {
            say!("{turned} times something was done about an alarm: from now on they are only told");
            let then = state.recipe.clone();
            state.recipe.training.on_alarm = OnAlarm::Warn;
            run.set_recipe(&state.recipe)?;
            run.log_changes(state.clock.images, &state.recipe.differences(&then)?)?;
        }
        let hooks = hooks.take().map_or_else(|| Hooks::new(&state.recipe, data), Ok)?;
        let end = train(state, data, run, hooks, keep::best_evaluation(run)?, stop);
        let on_alarm = state.recipe.training.on_alarm;
        let trouble = match &end {
            Ok(End::Alarmed(trouble)) => *trouble,
            Err(Error::Diverged { images, .. }) => Trouble::divergence(*images),
            _ => return end,
        };
        if !on_alarm.turns_back() {
            return end;
        }
        let device = state.device.clone();
        let next = match on_alarm {
            OnAlarm::Heal => heal::heal(trouble, (&*state, data), run, &device, stop)?,
            _ => Some(heal::roll_back(trouble, (&*state, data), run, &device)?),
        };
        match next {
            Some(next) => *state = next,
            None if stop.asked() => return Ok(End::Stopped),
            None => return end,
        }
    }
}
