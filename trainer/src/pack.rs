//! The subcommand `pack`: data written as one file.

use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use trainer::data::{self, Dataset, Splits};
use trainer::recipe::{BadFiles, Colour, Data, Fit, Labelled, Size};
use trainer::report::{print, say};
use trainer::{Error, Result};

/// Write data as a pack: one safetensors file of images, labels and test images
///
/// A pack is read in place, whatever its size; a gzipped file is unpacked, and pictures are read, every time.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to write: mnist (inside the program), a folder or a zip archive of pictures, a picture, a folder with idx files,
    /// an idx file of images, or another pack
    #[arg(value_name = "DATA")]
    pub data: PathBuf,

    #[command(flatten)]
    pub pictures: Pictures,

    /// The pack; a file of this name is replaced
    #[arg(value_name = "FILE.safetensors")]
    pub pack: PathBuf,
}

/// How pictures become images of one shape.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Pictures {
    /// Sides in pixels, such as 64 or 96x64 [default: the pictures' own up to 256 if all have the same, else at most 64]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Size>,

    /// 1 (grey), 2 (grey with alpha), 3 (red, green, blue) or 4 (with alpha) [default: what the pictures need]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub channels: Option<u8>,

    /// How pictures of other proportions come to that size
    #[arg(long, value_name = "HOW", value_enum)]
    pub fit: Option<How>,

    /// What lies behind transparent pixels where alpha is not learned, and beside padded pictures [default: #ffffff]
    #[arg(long, value_name = "COLOUR")]
    pub background: Option<Colour>,

    /// Which class a picture is of: none, folders, or a CSV or JSON file [default: such a file in the folder, or folders]
    #[arg(long, value_name = "WHAT")]
    pub labels: Option<Labelled>,

    /// What is done about pictures that cannot be read [default: go on without them up to one of a hundred]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub on_bad_file: Option<OnBadFile>,
}

/// [`Fit`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum How {
    /// Cut to the right proportions, the middle stays [default]
    Crop,
    /// Kept whole, in the middle of the background
    Pad,
    /// Kept whole, the proportions change
    Stretch,
}

/// [`BadFiles`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OnBadFile {
    /// Go on without them
    Skip,
    /// End with any
    Fail,
}

impl Pictures {
    /// The data at `source`, read so.
    pub fn at(&self, source: &Path) -> Data {
        let fit = self.fit.map(|how| match how {
            How::Crop => Fit::Crop,
            How::Pad => Fit::Pad,
            How::Stretch => Fit::Stretch,
        });
        let bad_files = self.on_bad_file.map(|what| match what {
            OnBadFile::Skip => BadFiles::Skip,
            OnBadFile::Fail => BadFiles::Fail,
        });
        Data {
            size: self.size,
            channels: self.channels.map(usize::from),
            fit: fit.unwrap_or_default(),
            background: self.background.unwrap_or_default(),
            labels: self.labels.clone(),
            bad_files,
            ..Data::at(source)
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  trainer pack photos/ photos.safetensors --size 96x64
  trainer pack downloads/emnist-letters-train-images-idx3-ubyte.gz letters.safetensors
  trainer --data letters.safetensors --export gen.onnx";

/// Reads and writes.
///
/// # Errors
/// A name that is not a pack's, data that cannot be read, and what the system says.
pub fn run(args: &Args) -> Result<()> {
    let Args { data: source, pictures, pack } = args;
    if pack.extension().is_none_or(|ending| ending != "safetensors") || pack.is_dir() {
        let what = "a pack is a file that ends in .safetensors; give another name";
        return Err(Error::Data { path: pack.clone(), what: what.into() });
    }
    let data::Opened { splits: data, said: found, .. } = data::open(&pictures.at(source))?;
    found.iter().for_each(|line| say!("{line}"));
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    data::pack::write(&data, &name, pack)?;
    print!("{}", said(&data, pack));
    Ok(())
}

fn said(Splits { train, test }: &Splits, pack: &Path) -> String {
    let part = |data: &Dataset, what: &str| match data.labels() {
        Some(labels) => format!("{} {what}images of {} classes", data.len(), labels.classes),
        None => format!("{} {what}images without labels", data.len()),
    };
    let shape = train.shape();
    let test = test.as_ref().map_or("no test images".into(), |test| part(test, "test "));
    let (name, train) = (train.name(), part(train, ""));
    format!("{}  {name}, {} x {} x {}: {train}, {test}", pack.display(), shape.height, shape.width, shape.channels)
}
