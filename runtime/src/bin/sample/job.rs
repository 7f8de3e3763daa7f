//! What is to be drawn, of which every image has a number.

use crate::seeds::Seeds;
use crate::{Args, input};
use runtime::{Generator, ImageShape, ModelInfo, Provider, Request, Tour, Walk};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most stops of a tour: their seeds are written out.
const MAX_STOPS: u64 = 1 << 20;
/// Bytes of a list of seeds that are shown.
const SHOWN: usize = 60;

/// What is to be drawn.
pub struct Job<'a> {
    args: &'a Args,
    pub count: u64,
    class: Option<u32>,
    /// The image to begin with.
    image: Option<Vec<u8>>,
    /// The seeds of a tour's stops.
    stops: Vec<u64>,
}

/// How many images are asked for.
///
/// # Errors
/// More than there are.
pub fn count(args: &Args) -> Result<u64, String> {
    let Some(seeds) = &args.seeds else { return Ok(args.count.unwrap_or(64)) };
    let Some(steps) = args.walk else {
        let all = seeds.len();
        return match args.count {
            Some(count) if count > all => Err(format!("--count is {count}, and there are {all} seeds")),
            count => Ok(count.unwrap_or(all)),
        };
    };
    let stops = seeds.len();
    if !(2..=MAX_STOPS).contains(&stops) {
        return Err(format!("--walk goes through {stops} seeds, allowed are 2 to {MAX_STOPS}"));
    }
    if args.closed {
        return Ok(args.count.unwrap_or(stops * u64::from(steps)));
    }
    let frames = (stops - 1) * u64::from(steps) + 1;
    match (args.count, frames.saturating_sub(args.first_index)) {
        (None, left) if left > 0 => Ok(left),
        (Some(count), left) if count <= left => Ok(count),
        _ => Err(format!(
            "the walk has frames 0 to {}, and ends before those that are asked for; --loop goes on",
            frames - 1
        )),
    }
}

impl<'a> Job<'a> {
    pub fn new(args: &'a Args, info: &ModelInfo) -> Result<Self, Box<dyn std::error::Error>> {
        let image = match (&args.input, info.image_in) {
            (None, None) => None,
            (Some(path), Some(shape)) => Some(input::read(path, shape)?),
            (Some(_), None) => {
                return Err("--input is given, but the generator makes images from nothing but latents".into());
            }
            (None, Some(ImageShape { height, width, .. })) => {
                let what = format!(
                    "the generator begins with a picture of {width} x {height} pixels: give one with --input FILE"
                );
                return Err(what.into());
            }
        };
        let class = args.class.as_ref().map(|class| info.class_named(class)).transpose()?;
        let stops = match (&args.seeds, args.walk) {
            (Some(seeds), Some(_)) => seeds.take(0, usize::try_from(seeds.len())?),
            _ => Vec::new(),
        };
        Ok(Self { args, count: count(args)?, class, image, stops })
    }

    /// The seeds that images are of one by one.
    fn seeds(&self) -> Option<&Seeds> {
        self.args.seeds.as_ref().filter(|_| self.args.walk.is_none())
    }

    /// The numbers of `n` images: of a seed its indices, of a walk its frames, and of several seeds these.
    pub fn numbers(&self, first: u64, n: usize) -> Vec<u64> {
        match self.seeds() {
            Some(seeds) => seeds.take(first, n),
            None => (0..n as u64).map(|i| self.args.first_index.wrapping_add(first + i)).collect(),
        }
    }

    /// Draws `out.len()` bytes of images, the first of which is this one.
    pub fn draw(&self, generator: &mut Generator, first: u64, out: &mut [u8]) -> runtime::Result<()> {
        let (args, n) = (self.args, out.len() / generator.info().image.len());
        let seeds = self.seeds().map(|seeds| seeds.take(first, n));
        let request = match (&seeds, args.walk) {
            (Some(seeds), _) => Request::seeds(seeds).first(args.first_index),
            (None, Some(steps)) if args.seeds.is_some() => {
                let tour = Tour::seeds(&self.stops, steps);
                Request::tour(if args.closed { tour.closed() } else { tour })
            }
            (None, Some(steps)) => Request::walk(Walk { seed: args.seed, first_index: 0, steps }),
            (None, None) => Request::seed(args.seed),
        };
        let mut request = match seeds {
            Some(_) => request,
            None => request.first(args.first_index.wrapping_add(first)),
        };
        if let Some(threshold) = args.truncation {
            request = request.truncation(threshold);
        }
        if let Some(class) = self.class {
            request = request.class(class);
        }
        if let Some(image) = &self.image {
            request = request.image_bytes(image);
        }
        generator.draw(&request, out)
    }

    /// What the latents are, without which of them.
    fn latents(&self) -> String {
        let args = self.args;
        match (&args.seeds, args.walk) {
            (None, None) => format!("seed {}", args.seed),
            (None, Some(steps)) => format!("seed {}, a walk of {steps} steps", args.seed),
            (Some(_), None) => format!("index {} of the seed that is the number", args.first_index),
            (Some(seeds), Some(steps)) => {
                let closed = if args.closed { ", closed" } else { "" };
                format!("seeds {seeds}, a walk of {steps} steps{closed}")
            }
        }
    }

    /// What was drawn, for a sentence.
    pub fn source(&self) -> String {
        match &self.args.seeds {
            None => format!("seed {}", self.args.seed),
            Some(seeds) => match (seeds.to_string(), seeds.len()) {
                (list, _) if list.len() <= SHOWN => format!("seeds {list}"),
                (list, count) => {
                    let whole = list[..SHOWN].rfind(',').map_or(0, |end| end + 1);
                    format!("{count} seeds, {}...", &list[..whole])
                }
            },
        }
    }

    /// All that the image of a number depends on, in a few lines, but for the processor and the version of ONNX Runtime.
    ///
    /// # Errors
    /// Files that are not those that they were `before` the generator was opened.
    pub fn description(&self, before: &Files, shape: ImageShape, provider: Provider) -> Result<String, String> {
        if files(self.args)? != *before {
            return Err("the generator's file was replaced while it was opened; try again".into());
        }
        let mut text = String::from("Pictures by `sample`, which goes on with those that are missing of the same.\n");
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<11}{value}");
        };
        for (name, hash) in before {
            line(name, hash);
        }
        let ImageShape { channels, height, width } = shape;
        line("images", &format!("{channels} x {height} x {width}"));
        line("latents", &self.latents());
        if let Some(threshold) = self.args.truncation {
            line("truncation", &threshold.to_string());
        }
        if let Some(class) = self.class {
            line("class", &class.to_string());
        }
        if let Some(image) = &self.image {
            line("input", &hex(&Sha256::digest(image)));
        }
        // Roundings, of which neither says anything where it is as usual.
        if self.args.fast_start {
            line("start", "fast");
        }
        if provider == Provider::Cuda {
            line("provider", "cuda");
        }
        Ok(text)
    }
}

/// The hashes of the files that images are drawn from.
pub type Files = Vec<(&'static str, String)>;

/// Those that are there now.
pub fn files(args: &Args) -> Result<Files, String> {
    let all = [("generator", &args.model), ("weights", &args.weights)];
    all.into_iter()
        .filter_map(|(name, path)| Some((name, path.as_deref()?)))
        .map(|(name, path)| Ok((name, hash(path)?)))
        .collect()
}

/// The SHA-256 of a file.
fn hash(path: &Path) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let (mut file, mut hasher, mut piece) = (File::open(path).map_err(fail)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).map_err(fail)? {
            0 => break Ok(hex(&hasher.finalize())),
            len => hasher.update(&piece[..len]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
