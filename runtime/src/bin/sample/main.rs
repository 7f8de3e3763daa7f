//! The program `sample`: draws images from a generator file.

mod adopt;
mod doctor;
mod drawing;
mod folder;
mod grid;
mod input;
mod job;
mod picture;
mod progress;
mod say;
mod seeds;
mod stop;
mod unfinished;

use clap::{CommandFactory, Parser, Subcommand, error};
use drawing::Plan;
use runtime::{
    Error, ErrorKind, Generator, ImageShape, ModelInfo, Options, Provider, Start, engine_info, listed, one_line,
};
use say::{print, say};
use seeds::Seeds;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stop::{STOPPED, Stopped};

/// Draw samples from a generator file.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The generator, as written by `trainer --export` or `sample adopt`; the doctor does without
    #[arg(required_unless_present = "doctor")]
    model: Option<PathBuf>,

    /// Which images: the same seed and index, the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// An image of each of these seeds, such as 1,5,9 or 0..1000; with --walk, the way leads through these
    #[arg(long, value_name = "LIST", conflicts_with = "seed")]
    seeds: Option<Seeds>,

    /// Index of the first image; of several seeds, of the image of each
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_index: u64,

    /// How many images [default: 64, or as many as there are seeds or frames from seed to seed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Only typical images: cut the latents' distribution off at so many standard deviations (the truncation trick)
    #[arg(long, value_name = "T")]
    truncation: Option<f32>,

    /// Images of this class, for conditional generators: its name or its number, as --info tells them [default: the classes
    /// in turn]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// Walk from image to image of the seed, or of --seeds, in N steps each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    walk: Option<u32>,

    /// Walk from the last of --seeds back to the first, too
    #[arg(long = "loop", requires = "walk", requires = "seeds")]
    closed: bool,

    /// Begin with this picture (PNG), for image-to-image generators; size and colours are those that --info tells
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Take the weights of this .safetensors file, for the same graph
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// Write the images as one picture (PNG)
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,

    /// Images in a row of the grid [default: as square as it gets]
    #[arg(long, value_name = "N", requires = "grid", value_parser = clap::value_parser!(u64).range(1..))]
    columns: Option<u64>,

    /// Write each image as a picture of its own (PNG) into this folder, named by its index, by its seed of several seeds, or by
    /// its frame. Pictures of the same that are there already are not made again
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the images as bytes, count x channels x height x width
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,

    /// Print what the file says of itself
    #[arg(long)]
    info: bool,

    /// Say what works here and what does not: ONNX Runtime, providers, and the generator's latency and memory, if one is
    /// given
    #[arg(long, conflicts_with_all = NOT_THE_DOCTORS)]
    doctor: bool,

    /// Images a call, at most [default: 64, of large images fewer]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Where to run: auto, cpu or cuda
    #[arg(long, value_name = "NAME", default_value_t = Provider::Auto)]
    provider: Provider,

    /// Threads that draw and write [default: as many as the machine has; the doctor's: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Start sooner and sample slower: for a few images. Leaves the file's self-test out
    #[arg(long)]
    fast_start: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Adopt(adopt::Args),
}

impl Args {
    /// Whether images are asked for.
    fn draws(&self) -> bool {
        self.grid.is_some() || self.out.is_some() || self.raw.is_some()
    }
}

/// What says which images, and where they go: the doctor draws its own.
const NOT_THE_DOCTORS: [&str; 13] = [
    "seed",
    "seeds",
    "first_index",
    "count",
    "truncation",
    "class",
    "walk",
    "input",
    "weights",
    "grid",
    "out",
    "raw",
    "info",
];

const EXAMPLES: &str = "\
Examples:
  sample gen.onnx --seed 7 --grid out.png              64 images as one picture
  sample gen.onnx --count 10000 --raw images.bin       as bytes, for a program
  sample gen.onnx --walk 8 --count 64 --grid walk.png  eight images, and seven steps after each
  sample gen.onnx --walk 30 --seeds 5,8,13 --loop --out film   a film through three images, and back
  sample gen.onnx --class cat --out cats               images of one class, a file each; again, and it goes on
  sample gen.onnx --input in.png --grid out.png        images made from another one
  sample gen.onnx --info                               what is in the file
  sample --doctor gen.onnx                             what works here, and how fast
  sample adopt other.onnx gen.onnx                     a generator file of one that another tool exported";

fn main() -> ExitCode {
    let args = Args::parse();
    if args.command.is_none() && !args.draws() && !args.info && !args.doctor {
        let message = "nothing to do: give --grid FILE, --out DIR, --raw FILE, --info or --doctor";
        Args::command().error(error::ErrorKind::MissingRequiredArgument, message).exit();
    }
    let ended = run(args).and_then(|()| match say::lost() {
        Some(error) => Err(format!("cannot write what was to be printed: {error}").into()),
        None => Ok(()),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            say!("{error}");
            STOPPED.into()
        }
        Err(error) => {
            say!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(Command::Adopt(args)) = args.command.take() {
        return adopt::run(args);
    }
    let start = if args.fast_start { Start::Fast } else { Start::Steady };
    let mut plan = match args.draws() {
        true => Plan::new(&args, job::count(&args)?),
        false => {
            let batch = args.batch.unwrap_or(if args.doctor { 64 } else { 1 });
            Plan { workers: 1, threads: args.threads.map_or(1, usize::from), batch }
        }
    };
    let mut options =
        Options { provider: args.provider, threads: plan.threads, max_batch: plan.batch, start, ..Options::default() };
    if args.doctor {
        return doctor::report(args.model.as_deref(), options, args.batch);
    }
    let Some(model) = &args.model else { return Ok(()) };
    let files = args.out.is_some().then(|| job::files(&args)).transpose()?;
    if let (Some(grid), Some(raw)) = (&args.grid, &args.raw)
        && std::path::absolute(grid)? == std::path::absolute(raw)?
    {
        return Err(format!("--grid and --raw are both {}: give each a file of its own", grid.display()).into());
    }
    let mut generator = open(model, &mut options, args.batch)?;
    plan.batch = options.max_batch;
    if let Some(weights) = &args.weights {
        generator.swap_weights(weights)?;
    }
    if args.info {
        print_info(&generator)?;
    }
    if args.draws() {
        drawing::draw(&args, generator, plan, files)?;
    }
    Ok(())
}

/// Opens a generator; where nobody has said how many images a call, so many that their memory is allowed.
fn open(model: &Path, options: &mut Options, batch: Option<usize>) -> Result<Generator, Box<dyn std::error::Error>> {
    loop {
        match Generator::open(model, options) {
            Err(e) if e.kind() == ErrorKind::MemoryLimit && batch.is_none() && options.max_batch > 1 => {
                options.max_batch /= 2;
            }
            Err(e) if e.kind() == ErrorKind::MemoryLimit => {
                return Err(e.to_string().replace("options.max_batch", "--batch").into());
            }
            other => return Ok(other?),
        }
    }
}

fn print_info(generator: &Generator) -> Result<(), Error> {
    let (info, engine) = (generator.info(), engine_info()?);
    let ImageShape { channels, height, width } = info.image;
    print!("image      {channels} x {height} x {width}, {}", info.precision);
    print!("latent     {} normal numbers", info.latent_dim);
    if info.classes > 0 {
        print!("classes    {}", info.classes);
    }
    if !info.class_names.is_empty() {
        print!("           {}", listed(info.class_names.iter().enumerate()));
    }
    if let Some(ImageShape { channels, height, width }) = info.image_in {
        print!("made from  an image of {channels} x {height} x {width}");
    }
    print_origin(info);
    print!("runs on    {}, {}", generator.provider(), engine.path.display());
    print!("           {}", engine.build);
    match info.recipe.trim_end() {
        "" => print!("recipe     {NOT_RECORDED}"),
        recipe => print!("recipe     ({})\n{recipe}", recorded(&info.recipe_sha256)),
    }
    Ok(())
}

const NOT_RECORDED: &str = "not recorded";

/// A text of the file that cannot pretend to be a line of its own.
fn recorded(text: &str) -> String {
    if text.is_empty() { NOT_RECORDED.into() } else { one_line(text) }
}

/// Says where the file comes from, as far as it tells.
fn print_origin(info: &ModelInfo) {
    match (&*info.data, &*info.data_sha256) {
        (name, "") => print!("data       {}", recorded(name)),
        (name, hash) => print!("data       {} ({})", recorded(name), one_line(hash)),
    }
    match (info.images_seen, &*info.trainer) {
        (Some(images), "") => print!("trained    on {images} images"),
        (Some(images), trainer) => print!("trained    on {images} images, by {}", one_line(trainer)),
        (None, "") => print!("trained    {NOT_RECORDED}"),
        (None, trainer) => print!("trained    by {}", one_line(trainer)),
    }
    if !info.quality.is_empty() {
        print!("quality    {}", one_line(&info.quality));
    }
    if !info.parity.is_empty() {
        print!("parity     {}", one_line(&info.parity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the README shows can be typed.
    #[test]
    fn the_command_lines_of_the_readme_are_understood() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("reads");
        let (mut inside, mut count) = (false, 0);
        for line in readme.lines() {
            if let Some(language) = line.strip_prefix("```") {
                inside = language == "sh";
                continue;
            }
            let through_cargo = || line.split_once("--bin sample -- ").filter(|_| line.starts_with("cargo run"));
            let words = line.strip_prefix("sample ").or_else(|| Some(through_cargo()?.1)).filter(|_| inside);
            let Some(words) = words.and_then(|words| words.split('#').next()) else { continue };
            let parsed = Args::try_parse_from(std::iter::once("sample").chain(words.split_whitespace()));
            parsed.unwrap_or_else(|e| panic!("{line}: {e}"));
            count += 1;
        }
        assert!(count >= 9, "only {count} were found");
    }
}
