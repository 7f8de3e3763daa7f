//! The program `sample`: draws images from a generator file.

mod doctor;
mod grid;
mod input;
mod picture;
mod say;
mod unfinished;

use clap::{CommandFactory, Parser, error::ErrorKind};
use grid::Grid;
use picture::Folder;
use runtime::{Error, Generator, ImageShape, Options, Provider, Request, Start, Walk, engine_info, listed, one_line};
use say::{print, say};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use unfinished::Unfinished;

/// Draw samples from a generator file.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// The generator, as written by `trainer --export`; the doctor does without
    #[arg(required_unless_present = "doctor")]
    model: Option<PathBuf>,

    /// Which images: the same seed and index, the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Index of the first image
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_index: u64,

    /// How many images
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Only typical images: cut the latents' distribution off at so many standard deviations (the truncation trick)
    #[arg(long, value_name = "T")]
    truncation: Option<f32>,

    /// Images of this class, for conditional generators: its name or its number, as --info tells them [default: the classes
    /// in turn]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// Walk from image to image of the seed, in N steps each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    walk: Option<u32>,

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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    columns: Option<u64>,

    /// Write each image as a picture of its own (PNG) into this folder, named by its index
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
    #[arg(long, conflicts_with_all = ["grid", "out", "raw", "info", "input"])]
    doctor: bool,

    /// Images a call
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,

    /// Where to run: auto, cpu or cuda
    #[arg(long, value_name = "NAME", default_value_t = Provider::Auto)]
    provider: Provider,

    /// Threads of one call
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Start sooner and sample slower: for a few images. Leaves the file's self-test out
    #[arg(long)]
    fast_start: bool,
}

impl Args {
    /// Whether images are asked for.
    fn draws(&self) -> bool {
        self.grid.is_some() || self.out.is_some() || self.raw.is_some()
    }
}

const EXAMPLES: &str = "\
Examples:
  sample gen.onnx --seed 7 --grid out.png              64 images as one picture
  sample gen.onnx --count 10000 --raw images.bin       as bytes, for a program
  sample gen.onnx --walk 8 --count 64 --grid walk.png  eight images, and seven steps after each
  sample gen.onnx --class cat --out cats               images of one class, a file each
  sample gen.onnx --input in.png --grid out.png        images made from another one
  sample gen.onnx --info                               what is in the file
  sample --doctor gen.onnx                             what works here, and how fast";

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.draws() && !args.info && !args.doctor {
        let message = "nothing to do: give --grid FILE, --out DIR, --raw FILE, --info or --doctor";
        Args::command().error(ErrorKind::MissingRequiredArgument, message).exit();
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let batch = args.batch.min(usize::try_from(args.count)?);
    let start = if args.fast_start { Start::Fast } else { Start::Steady };
    let options =
        Options { provider: args.provider, threads: args.threads, max_batch: batch, start, ..Options::default() };
    if args.doctor {
        return Ok(doctor::report(args.model.as_deref(), &options)?);
    }
    let Some(model) = &args.model else { return Ok(()) };
    let mut generator = Generator::open(model, &options)?;
    if let Some(weights) = &args.weights {
        generator.swap_weights(weights)?;
    }
    if args.info {
        print_info(&generator)?;
    }
    if args.draws() {
        draw(args, &mut generator, batch)?;
    }
    Ok(())
}

/// Draws what is asked for, and writes it.
fn draw(args: &Args, generator: &mut Generator, batch: usize) -> Result<(), Box<dyn std::error::Error>> {
    let shape = generator.info().image;
    let mut request = match args.walk {
        None => Request::seed(args.seed),
        Some(steps) => Request::walk(Walk { seed: args.seed, first_index: 0, steps }),
    };
    if let Some(threshold) = args.truncation {
        request = request.truncation(threshold);
    }
    if let Some(class) = &args.class {
        request = request.class(generator.info().class_named(class)?);
    }
    let image = match (&args.input, generator.info().image_in) {
        (None, None) => None,
        (Some(path), Some(shape)) => Some(input::read(path, shape)?),
        (Some(_), None) => {
            return Err("--input is given, but the generator makes images from nothing but latents".into());
        }
        (None, Some(ImageShape { height, width, .. })) => {
            let what =
                format!("the generator begins with a picture of {width} x {height} pixels: give one with --input FILE");
            return Err(what.into());
        }
    };
    if let Some(image) = &image {
        request = request.image_bytes(image);
    }
    let mut grid = args.grid.as_deref().map(|path| Grid::new(path, shape, args.count, args.columns)).transpose()?;
    let mut folder = args.out.as_deref().map(|path| Folder::new(path, shape)).transpose()?;
    let mut raw = args.raw.as_deref().map(Unfinished::create).transpose()?;
    let mut pixels = vec![0u8; batch * shape.len()];
    let start = Instant::now();
    let mut done = 0;
    while done < args.count {
        let n = (args.count - done).min(batch as u64) as usize;
        let pixels = &mut pixels[..n * shape.len()];
        generator.draw(&request.first(args.first_index.wrapping_add(done)), pixels)?;
        if let Some(grid) = &mut grid {
            pixels.chunks_exact(shape.len()).zip(done as usize..).for_each(|(image, i)| grid.place(i, image));
        }
        if let Some(folder) = &mut folder {
            for (image, i) in pixels.chunks_exact(shape.len()).zip(done..) {
                folder.write(args.first_index.wrapping_add(i), image)?;
            }
        }
        if let Some(raw) = &mut raw {
            raw.write(pixels)?;
        }
        done += n as u64;
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut written = Vec::new();
    if let Some(grid) = grid {
        written.push(grid.save()?);
    }
    written.extend(args.out.as_ref().map(|path| path.display().to_string()));
    if let Some(raw) = raw {
        written.push(raw.finish()?);
    }
    print!(
        "{done} images of seed {} in {} ({:.0} images/s on {})",
        args.seed,
        written.join(" and "),
        done as f64 / seconds,
        generator.provider()
    );
    Ok(())
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
    // None of these can pretend to be a line of its own.
    print!("data       {} ({})", one_line(&info.data), one_line(&info.data_sha256));
    print!("trained    on {} images, by {}", info.images_seen, one_line(&info.trainer));
    if !info.quality.is_empty() {
        print!("quality    {}", one_line(&info.quality));
    }
    if !info.parity.is_empty() {
        print!("parity     {}", one_line(&info.parity));
    }
    print!("runs on    {}, {}", generator.provider(), engine.path.display());
    print!("           {}", engine.build);
    print!("recipe     ({})\n{}", one_line(&info.recipe_sha256), info.recipe.trim_end());
    Ok(())
}
