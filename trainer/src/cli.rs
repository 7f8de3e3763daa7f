//! What the command line says.

use crate::pictures::{HEADING, Pictures};
use crate::{bench_command, evaluate, pack};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use runtime::Precision;
use std::ffi::OsString;
use std::path::PathBuf;
use trainer::device::Choice;
use trainer::keep::Which;
use trainer::recipe::Override;

/// Train a GAN on pictures, and export the generator that makes more of them.
///
/// `trainer --data photos/ --export gen.onnx` reads all pictures in a folder, says what it found and what it chose (each with
/// the option that changes it), learns for half an hour, and writes one file that `sample` and every other user of ONNX
/// draws new pictures from. Grids of samples appear in the run's folder while it learns: look at them.
///
/// Without options: learns handwritten digits (MNIST is inside the program) in one and a half to three minutes on two cores.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Something else than training
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What to learn: a folder of pictures, whatever their formats and sizes (its sub-folders are classes); a zip of them; a
    /// pack, FILE.safetensors; idx files; or mnist, which is inside the program [default: the recipe's]
    #[arg(long, value_name = "PATH", help_heading = HEADING, value_parser = OsStringValueParser::new().try_map(utf8))]
    pub data: Option<String>,

    #[command(flatten)]
    pub pictures: Pictures,

    /// How long the run is to take about, by the speed that is measured before it [default: 30 where the recipe has no
    /// length]
    #[arg(long, value_name = "N", help_heading = LENGTH, value_parser = minutes, conflicts_with_all = ["kimg", "steps", "resume"])]
    pub minutes: Option<f64>,

    /// Length of the run in thousands of images
    #[arg(long, value_name = "N", help_heading = LENGTH, conflicts_with = "steps", allow_negative_numbers = true)]
    pub kimg: Option<f64>,

    /// Length of the run in steps
    #[arg(long, value_name = "N", help_heading = LENGTH, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,

    /// Write the generator here when training ends; .onnx or .safetensors; may be given several times
    #[arg(long, value_name = "FILE", help_heading = EXPORT)]
    pub export: Vec<PathBuf>,

    /// Keep the weights of an .onnx export in a .safetensors file of the same name beside it, for generators whose weights
    /// are exchanged under one graph
    #[arg(long, help_heading = EXPORT, requires = "export")]
    pub external_weights: bool,

    /// Export this checkpoint [default: best where checkpoints were evaluated, else last]
    #[arg(long, value_name = "WHICH", help_heading = EXPORT, value_enum, requires = "export")]
    pub checkpoint: Option<Which>,

    /// Export a generator whose samples are all the same image, too
    #[arg(long, help_heading = EXPORT, requires = "export")]
    pub force: bool,

    /// Type of the exported weights, f16 or f32; or int8, for processors: most of the generator in integers, up to three times
    /// as fast, to images that differ a little
    #[arg(long, value_name = "TYPE", help_heading = EXPORT)]
    pub precision: Option<Precision>,

    /// Folder of the run [default: runs/<recipe>-<n>]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub run: Option<PathBuf>,

    /// Go on with the run in --run from its last checkpoint; --kimg and --steps make it longer, --set may change how it
    /// learns
    #[arg(long, help_heading = RUN, requires = "run", conflicts_with_all = ["recipe", "seed", "batch"])]
    pub resume: bool,

    /// What to do when the figures show that the game goes wrong (the generator has collapsed, the discriminator has won or
    /// given up, ...): warn, and go on; stop, with a checkpoint and exit code 1; rollback, to the last good checkpoint with half
    /// the rates; heal, that is, let remedies race from there, and go on with the winner
    #[arg(long, value_name = "WHAT", help_heading = RUN, value_parser = ["warn", "stop", "rollback", "heal"])]
    pub on_alarm: Option<String>,

    /// Where to train
    #[arg(long, value_name = "DEVICE", help_heading = RUN, value_enum, default_value_t)]
    pub device: Choice,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", help_heading = RUN, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// What to run: digits, fashion, pictures, pictures-conditional (images of a class that is asked for), tutorial, or a
    /// .toml file [default: digits, or pictures where --data names others]
    #[arg(long, value_name = "NAME|FILE", help_heading = RECIPE)]
    pub recipe: Option<String>,

    /// Replace any value of the recipe, such as generator.width=64; may be given several times
    #[arg(long, value_name = "KEY=VALUE", help_heading = RECIPE, value_parser = key_value)]
    pub set: Vec<Override>,

    /// Images a step
    #[arg(long, value_name = "N", help_heading = RECIPE)]
    pub batch: Option<u32>,

    /// Decides weights, order and latents: the same seed, the same generator
    #[arg(long, value_name = "N", help_heading = RECIPE, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,

    /// Print the recipe that would be run, with all that was chosen, and do nothing
    #[arg(long, help_heading = RECIPE)]
    pub print_recipe: bool,
}

const LENGTH: &str = "Length";
const EXPORT: &str = "Export";
const RUN: &str = "Run";
const RECIPE: &str = "Recipe";

/// What the program does beside training.
#[derive(Debug, Subcommand)]
pub enum Command {
    Bench(bench_command::Args),
    Evaluate(evaluate::Args),
    Pack(pack::Args),
    /// Say what losses, penalties and remedies there are, what the main numbers in the log should do, and what does not
    /// go together
    Objectives,
}

const EXAMPLES: &str = "\
Examples:
  trainer --data photos/ --export gen.onnx             your own pictures
  trainer --data photos/ --size 96x64 --minutes 120    of this size, for two hours
  trainer --data birds/ --recipe pictures-conditional  a folder a class: images of a class that is asked for
  trainer --export gen.onnx                            learn digits, export the generator
  trainer --run runs/pictures-1 --resume               go on where it was interrupted
  trainer --run runs/pictures-1 --export gen.onnx      export what a run has learned
  trainer --print-recipe > mine.toml                   a recipe to begin with; then --recipe mine.toml
  trainer pack photos/ photos.safetensors              read pictures once, into one file: see `trainer pack --help`
  trainer evaluate gen.onnx --data photos/             how far its samples are from the pictures
  trainer bench ring                                   whether training finds all modes of a known distribution";

/// `KEY=VALUE`, the value as TOML; a bare word is a string.
fn key_value(text: &str) -> Result<Override, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as generator.width=64")?;
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
    Ok((key.trim().to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))))
}

/// A time that a run can take.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.1..=1e6).contains(&minutes) => Ok(minutes),
        _ => Err("allowed are 0.1 to 1000000 minutes".into()),
    }
}

/// A path that a recipe can hold.
fn utf8(path: OsString) -> Result<String, &'static str> {
    path.into_string().map_err(|_| "the path is not UTF-8, as a recipe must be; rename it, or give a link to it")
}

impl Args {
    /// The values that replace the recipe's.
    pub fn overrides(&self) -> Vec<Override> {
        let mut all = self.set.clone();
        all.extend(self.pictures.overrides());
        let mut put = |key: &str, value: Option<toml::Value>| all.extend(value.map(|value| (key.to_owned(), value)));
        put("training.batch", self.batch.map(|n| i64::from(n).into()));
        put("training.kimg", self.kimg.map(toml::Value::from));
        put("seed", self.seed.map(|n| (n as i64).into()));
        put("export.precision", self.precision.map(|p| p.to_string().into()));
        put("training.on_alarm", self.on_alarm.clone().map(toml::Value::from));
        put("data.source", self.data.clone().map(toml::Value::from));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the README shows can be typed.
    #[test]
    fn the_command_lines_of_the_readme_are_understood() {
        let (mut inside, mut count) = (false, 0);
        for line in include_str!("../../README.md").lines() {
            if let Some(language) = line.strip_prefix("```") {
                inside = language == "sh";
                continue;
            }
            let through_cargo = || line.strip_prefix("cargo run --release -p trainer ")?.split_once("-- ");
            let words = line.strip_prefix("trainer ").or_else(|| Some(through_cargo()?.1)).filter(|_| inside);
            let Some(words) = words.and_then(|words| words.split(['#', '>']).next()) else { continue };
            let words = shlex::split(words).unwrap_or_else(|| panic!("{line}"));
            let parsed = Args::try_parse_from(std::iter::once("trainer".to_owned()).chain(words));
            parsed.unwrap_or_else(|e| panic!("{line}: {e}"));
            count += 1;
        }
        assert!(count >= 22, "only {count} were found");
    }
}
