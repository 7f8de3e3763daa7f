//! Generators of other tools made generator files: `sample adopt`.

use crate::say::print;
use crate::unfinished::Unfinished;
use runtime::ImageShape;
use runtime::adopt::{Distribution, Layout, Wishes, adopt, range_of};
use std::path::PathBuf;

/// Most bytes of a file of class names.
const MAX_NAMES_BYTES: u64 = 16 << 20;

/// Make a generator file of one that another tool exported to ONNX: it says what it finds and what it assumes, asks for
/// what it cannot tell, and draws from the new file before it is there
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the other tool exported; weights may be in files beside it
    source: PathBuf,

    /// The generator file
    to: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    /// The input that is the latent [default: told by types, shapes and names]
    #[arg(long, value_name = "NAME")]
    latent: Option<String>,

    /// The input that is the class, by number or one-hot [default: told as the latent]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// How many classes there are, where the file does not tell
    #[arg(long, value_name = "N")]
    classes: Option<usize>,

    /// The classes' names, a text file with a line for each
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,

    /// Fix an input: all of its values are this number
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, f64)>,

    /// How latents are distributed: normal, uniform (from -1 to 1) or uniform:A..B [default: normal]
    #[arg(long, value_name = "NAME")]
    distribution: Option<Distribution>,

    /// The output that is the image [default: told by its shape]
    #[arg(long, value_name = "NAME")]
    image: Option<String>,

    /// Between which numbers images are: -1..1, 0..1, 0..255 [default: told by the last layers]
    #[arg(long, value_name = "A..B", value_parser = range_of, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,

    /// The images' shape, where the output is a row of numbers
    #[arg(long, value_name = "CxHxW", value_parser = shape)]
    shape: Option<ImageShape>,

    /// The order of the images' axes: nchw or nhwc [default: told by their sizes]
    #[arg(long, value_name = "ORDER")]
    layout: Option<Layout>,
}

const EXAMPLES: &str = "\
Examples:
  sample adopt dcgan.onnx gen.onnx                                        an output of Tanh or Sigmoid, one input
  sample adopt cgan.onnx gen.onnx --class-names names.txt                 of classes that have names
  sample adopt keras.onnx gen.onnx --distribution uniform --range 0..1    what no file tells
  sample adopt stylegan.onnx gen.onnx --input truncation_psi=0.7          other inputs, fixed";

fn input(text: &str) -> Result<(String, f64), String> {
    // Names have equals signs more often than numbers do.
    let found = text.rsplit_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse::<f64>().ok()?)));
    found
        .filter(|(_, value)| value.is_finite())
        .ok_or_else(|| "it is written as NAME=VALUE, VALUE a finite number".into())
}

fn shape(text: &str) -> Result<ImageShape, String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
    match sizes.as_deref() {
        Some(&[channels, height, width]) => Ok(ImageShape { channels, height, width }),
        _ => Err("it is written as channels x height x width: 3x64x64".into()),
    }
}

/// Makes the file, and says what was found and how to go on.
pub fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let to = args.to.display();
    let is_there = || args.to.symlink_metadata().is_ok();
    let check = || match is_there() && !args.force {
        true => Err(format!("{to} is there already: give another name, or --force to replace it")),
        false => Ok(()),
    };
    check()?;
    let class_names = match &args.class_names {
        None => Vec::new(),
        Some(path) => {
            let fail = |e: &dyn std::fmt::Display| format!("{} cannot be read: {e}", path.display());
            let size = path.metadata().map_err(|e| fail(&e))?.len();
            if size > MAX_NAMES_BYTES {
                return Err(fail(&format!("it has {size} bytes, allowed are {MAX_NAMES_BYTES}")).into());
            }
            let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
            text.lines().map(str::to_owned).collect()
        }
    };
    let wishes = Wishes {
        latent: args.latent,
        class: args.class,
        image: args.image,
        inputs: args.inputs,
        classes: args.classes,
        class_names,
        range: args.range,
        distribution: args.distribution,
        shape: args.shape,
        layout: args.layout,
    };
    let adopted = adopt(&args.source, &wishes)?;
    for line in &adopted.report {
        print!("{line}");
    }
    let mut file = Unfinished::create(&args.to)?;
    file.write_at(0, &adopted.bytes)?;
    // It may have come meanwhile.
    check()?;
    print!("written    {}", file.finish()?);
    print!("next       sample {to} --seed 7 --grid out.png");
    Ok(())
}
