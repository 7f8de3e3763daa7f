//! The subcommand `pack`: data written as one file.

use crate::pictures::Pictures;
use clap::Parser;
use std::path::{Path, PathBuf};
use trainer::data::{self, Dataset, Splits};
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
