//! The end of a run: which checkpoint is exported, the files, and where everything is.

use crate::cli::Args;
use crate::command;
use candle_core::Device;
use std::path::{Path, PathBuf};
use trainer::data::{self, Order, Splits};
use trainer::export::{self, Format, Origin, Weights};
use trainer::keep::{self, Which};
use trainer::recipe::Labelled;
use trainer::report::{print, say};
use trainer::run::Run;
use trainer::state::{STATISTICS_LATENTS, State};
use trainer::watch::{grid, mean_distance};
use trainer::{Error, Result};

/// Images in the picture of samples at most, and in one of its rows.
const SAMPLES: (usize, usize) = (100, 10);

/// Grey levels between two samples on average below which they are one image, and between two images of the data above which
/// that is not what was to be learned.
const ALIKE: (f64, f64) = (0.5, 1.);

/// Bytes of the names of all classes at most: readers take no longer metadata.
const MOST_NAMES: usize = 1 << 20;

/// Exports the best checkpoint or `state`, the last, and says where everything is.
///
/// # Errors
/// A generator that is not worth a file; what the system says.
pub fn finish(state: State, data: &Splits, run: &Run, args: &Args) -> Result<()> {
    let state = choose(state, data, run, args)?;
    let sampler = state.sampler(STATISTICS_LATENTS)?;
    let (columns, rows) = grid::layout(data.train.shape());
    let count = (columns * rows).min(SAMPLES.0);
    let samples = state.images(&sampler, &state.inputs_in_columns("samples", count, columns.min(SAMPLES.1))?)?;
    let reals = data::images(
        &data.train,
        &mut Order::of_training(&data.train, state.recipe.seed, state.recipe.data.balance),
        0,
        count,
    )?;
    let (found, wanted) = (mean_distance(&samples)?, mean_distance(&reals)?);
    let picture = run.path().join("samples.png");
    print!("run      {}", run.path().display());
    match grid::write(&picture, &samples, columns.min(SAMPLES.1)) {
        Ok(()) => print!("samples  {}", picture.display()),
        Err(error) => say!("warning: there is no picture of samples: {error}"),
    }
    print!("spread   {found:.1} grey levels between two samples, {wanted:.1} between two images of the data");
    if args.export.is_empty() {
        print!("\nto export the generator:");
        print!("  {}", command::trainer(&format!("--run {} --export gen.onnx", command::quoted(run.path()))));
        return Ok(());
    }
    if !found.is_finite() {
        let what = "samples are no numbers: the generator has diverged; --checkpoint takes another one, --resume goes on with \
                    lower learning rates (--set optimizer.generator.lr=...)";
        return Err(Error::Export { path: args.export[0].clone(), what: what.into() });
    }
    if found < ALIKE.0 && wanted > ALIKE.1 && !args.force {
        let what = format!(
            "all samples are the same image ({found:.2} grey levels between two of them, the data has {wanted:.1}): the \
             generator has collapsed, and is not exported but with --force"
        );
        return Err(Error::Export { path: args.export[0].clone(), what });
    }
    // Files are written from the memory of this machine.
    let sampler = sampler.map(|_, t| t.to_device(&Device::Cpu))?;
    let mut recipe = state.recipe.clone();
    // Where the data was on this machine is nobody else's business.
    recipe.data.source = data.train.name().into();
    if let Some(Labelled::File(path)) = &mut recipe.data.labels {
        *path = path.file_name().unwrap_or_default().into();
    }
    let origin = Origin {
        recipe: recipe.to_toml()?,
        images_seen: state.clock.images,
        data: data.train.name().to_owned(),
        data_sha256: data.train.sha256()?.to_owned(),
        class_names: class_names(data),
        quality: state.evaluation().map(|found| found.to_string()).unwrap_or_default(),
    };
    for file in &export::export(&sampler, recipe.export.precision, &origin, weights(args), &args.export)? {
        let checked = file.parity.map(|p| format!(", ONNX Runtime agrees with candle within {p:.1e}"));
        let psnr = file.psnr.map(|psnr| format!(", PSNR {psnr:.1} dB to f32"));
        print!(
            "export   {} ({} KB, {}{}{})",
            file.path.display(),
            file.bytes / 1000,
            recipe.export.precision,
            psnr.unwrap_or_default(),
            checked.unwrap_or_default()
        );
    }
    if let Some(path) = onnx_file(&args.export) {
        print!("\nto sample from it:");
        let file = command::quoted(path);
        print!("  cargo run --release -p kiln-gan-runtime --bin sample -- {file} --seed 7 --count 64 --grid out.png");
    }
    Ok(())
}

/// What the classes are called, where the data says it and a file has room for it.
fn class_names(data: &Splits) -> Vec<String> {
    let names = data.train.labels().and_then(|labels| labels.names.clone()).unwrap_or_default();
    if names.iter().map(|name| name.len() + 1).sum::<usize>() <= MOST_NAMES {
        return names;
    }
    say!("warning: the names of {} classes are too long for a file: it has their numbers only", names.len());
    Vec::new()
}

/// The state that is exported: the best, or the last.
fn choose(last: State, data: &Splits, run: &Run, args: &Args) -> Result<State> {
    let best = match args.checkpoint {
        _ if args.export.is_empty() => None,
        Some(Which::Last) => None,
        _ => keep::best(run, &last.recipe, &data.train, &last.device)?.map(|best| best.state),
    };
    let said = |state: &State| match state.evaluation() {
        Some(found) => format!("{} images, {found}", state.clock.images),
        None => format!("{} images", state.clock.images),
    };
    match best {
        Some(best) if best.clock.images != last.clock.images => {
            say!(
                "exporting the best checkpoint: {} (the last: {}; --checkpoint last takes it)",
                said(&best),
                said(&last)
            );
            Ok(best)
        }
        None if args.checkpoint == Some(Which::Best) => {
            let what = "has no best checkpoint, since none was evaluated; training.evaluate_kimg says when to";
            Err(Error::Run { path: run.path().to_owned(), what: what.into() })
        }
        _ => {
            if !args.export.is_empty() {
                say!("exporting the last checkpoint: {}", said(&last));
            }
            Ok(last)
        }
    }
}

/// Where the command line wants the weights of ONNX files.
pub fn weights(args: &Args) -> Weights {
    if args.external_weights { Weights::Beside } else { Weights::Inside }
}

/// The first export that `runtime` samples from.
pub fn onnx_file(exports: &[PathBuf]) -> Option<&Path> {
    exports.iter().map(PathBuf::as_path).find(|path| matches!(Format::of(path), Ok(Format::Onnx)))
}
