//! The program `sample`: draws images from a generator file.

use clap::{CommandFactory, Parser, error::ErrorKind};
use runtime::{Error, Generator, ImageShape, Options, Provider, engine_info};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Draw samples from a generator file.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// The generator, as written by `trainer --export`
    model: PathBuf,

    /// Which images: the same seed and index, the same image
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Index of the first image
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_index: u64,

    /// How many images
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Write the images as one picture (PNG)
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,

    /// Images in a row of the grid [default: as square as it gets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    columns: Option<u64>,

    /// Write the images as bytes, count x channels x height x width
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,

    /// Print what the file says of itself
    #[arg(long)]
    info: bool,

    /// Images a call
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,

    /// Where to run: auto, cpu or cuda
    #[arg(long, value_name = "NAME", default_value_t = Provider::Auto)]
    provider: Provider,

    /// Threads of one call
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

const EXAMPLES: &str = "\
Examples:
  sample gen.onnx --seed 7 --grid out.png              64 images as one picture
  sample gen.onnx --count 10000 --raw images.bin       as bytes, for a program
  sample gen.onnx --info                               what is in the file";

/// Images in the largest grid: a picture is held in memory whole.
const MAX_GRID_BYTES: u64 = 1 << 30;
/// Pixels between two images.
const GAP: usize = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.grid.is_none() && args.raw.is_none() && !args.info {
        let message = "nothing to do: give --grid FILE, --raw FILE or --info";
        Args::command().error(ErrorKind::MissingRequiredArgument, message).exit();
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let batch = args.batch.min(usize::try_from(args.count)?);
    let options = Options { provider: args.provider, threads: args.threads, max_batch: batch, ..Options::default() };
    let mut generator = Generator::open(&args.model, &options)?;
    if args.info {
        print_info(&generator)?;
    }
    if args.grid.is_none() && args.raw.is_none() {
        return Ok(());
    }
    let shape = generator.info().image;
    let mut grid = args.grid.as_deref().map(|path| Grid::new(path, shape, args)).transpose()?;
    let mut raw = args.raw.as_deref().map(Unfinished::create).transpose()?;
    let mut pixels = vec![0u8; batch * shape.len()];
    let start = Instant::now();
    let mut done = 0;
    while done < args.count {
        let n = (args.count - done).min(batch as u64) as usize;
        let pixels = &mut pixels[..n * shape.len()];
        generator.sample(args.seed, args.first_index.wrapping_add(done), pixels)?;
        if let Some(grid) = &mut grid {
            pixels.chunks_exact(shape.len()).zip(done as usize..).for_each(|(image, i)| grid.place(i, image));
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
    if let Some(raw) = raw {
        written.push(raw.finish()?);
    }
    println!(
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
    println!("image      {channels} x {height} x {width}, {}", info.precision);
    println!("latent     {} normal numbers", info.latent_dim);
    println!("data       {} ({})", info.data, info.data_sha256);
    println!("trained    on {} images, by {}", info.images_seen, info.trainer);
    if !info.quality.is_empty() {
        println!("quality    {}", info.quality);
    }
    println!("runs on    {}, {}", generator.provider(), engine.path.display());
    println!("           {}", engine.build);
    println!("recipe     ({})\n{}", info.recipe_sha256, info.recipe.trim_end());
    Ok(())
}

/// A file under a temporary name beside its own, removed unless it is finished.
struct Unfinished<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl<'a> Unfinished<'a> {
    fn create(path: &'a Path) -> Result<Self, String> {
        let name = path.file_name().ok_or_else(|| format!("{} is no name of a file", path.display()))?;
        let temporary = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file =
            File::create(&temporary).map_err(|e| format!("cannot create a file beside {}: {e}", path.display()))?;
        Ok(Self { path, temporary, file: Some(BufWriter::new(file)) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let path = self.path.display();
        let file = self.file.as_mut().ok_or_else(|| format!("{path} is finished"))?;
        file.write_all(bytes).map_err(|e| format!("cannot write {path}: {e}"))
    }

    fn finish(mut self) -> Result<String, String> {
        let path = self.path.display().to_string();
        let text = |e: std::io::Error| format!("cannot write {path}: {e}");
        if let Some(file) = self.file.take() {
            file.into_inner().map_err(|e| text(e.into_error()))?.sync_all().map_err(text)?;
        }
        std::fs::rename(&self.temporary, self.path).map_err(text)?;
        Ok(path)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Images in rows and columns.
struct Grid<'a> {
    file: Unfinished<'a>,
    shape: ImageShape,
    columns: usize,
    size: (usize, usize),
    color: png::ColorType,
    /// Height x width x channels.
    pixels: Vec<u8>,
}

impl<'a> Grid<'a> {
    fn new(path: &'a Path, shape: ImageShape, args: &Args) -> Result<Self, String> {
        let color = match shape.channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            4 => png::ColorType::Rgba,
            other => return Err(format!("images of {other} channels make no picture; use --raw")),
        };
        let most = MAX_GRID_BYTES / shape.len() as u64;
        if args.count > most {
            return Err(format!("--count is {}, a grid of these images holds at most {most}; use --raw", args.count));
        }
        let count = args.count as usize;
        let columns =
            args.columns.map_or_else(|| (count as f64).sqrt().ceil() as usize, |n| n.min(args.count) as usize);
        let size = (columns * (shape.width + GAP) + GAP, count.div_ceil(columns) * (shape.height + GAP) + GAP);
        let pixels = vec![0; size.0 * size.1 * shape.channels];
        Ok(Self { file: Unfinished::create(path)?, shape, columns, size, color, pixels })
    }

    /// Puts an image, channels x height x width, in its place.
    fn place(&mut self, index: usize, image: &[u8]) {
        let ImageShape { channels, height, width } = self.shape;
        let (left, top) = (index % self.columns * (width + GAP) + GAP, index / self.columns * (height + GAP) + GAP);
        for (at, &value) in image.iter().enumerate() {
            let (c, y, x) = (at / (height * width), at / width % height, at % width);
            self.pixels[((top + y) * self.size.0 + left + x) * channels + c] = value;
        }
    }

    fn save(mut self) -> Result<String, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, u32::try_from(self.size.0)?, u32::try_from(self.size.1)?);
        encoder.set_color(self.color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        self.file.write(&bytes)?;
        Ok(self.file.finish()?)
    }
}
