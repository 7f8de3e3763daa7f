//! The subcommand `evaluate`: how far a generator's samples are from the data.

use clap::Parser;
use runtime::{Generator, ModelInfo, Options};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use trainer::Result;
use trainer::data;
use trainer::metrics::{self, Evaluation, Floor, Reference, Sampler, Samples};
use trainer::recipe::{Data, Labelled, Recipe};
use trainer::report::{print, say};

/// Measure how far a generator's samples are from the data
///
/// Samples are drawn as an application would draw them, and compared with the training images by a small classifier that
/// is trained on the data's labels once and then kept in the user's cache folder ($KILN_CACHE, or `kiln` in the system's); for
/// data without labels, by one that has learned nothing, which knows no classes.
/// The Fréchet distance is that of the classifier's features: it is 0 for equal distributions, falls with the number of
/// samples, and is comparable with distances of the same number and the same classifier only. Precision is the part of the
/// samples that lie among training images, recall the part of the training images that lie among samples (Kynkäänniemi et
/// al., 2019), of at most 5,000 of each. The floor is what the data's own test images have, if it has some.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The generator, as written by `trainer --export`
    #[arg(value_name = "FILE.onnx")]
    pub model: PathBuf,

    /// How many samples to draw
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..))]
    pub count: u64,

    /// Which samples: the same seed, the same images
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

    /// What to compare with: a folder or zip of pictures, a pack, FILE.safetensors, idx files, or mnist, which is inside the
    /// program
    #[arg(long, value_name = "PATH", default_value = data::MNIST)]
    pub data: PathBuf,

    /// Which class a picture is of: none, folders, or a CSV or JSON file [default: as when the generator learned; a file that
    /// is beside the pictures]
    #[arg(long, value_name = "WHAT")]
    pub labels: Option<Labelled>,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

const EXAMPLES: &str = "\
Examples:
  trainer evaluate gen.onnx                            a table
  trainer evaluate gen.onnx --count 50000 --json       for a program; keys as in the README";

/// Measures and prints.
///
/// # Errors
/// No generator, data that it cannot be compared with, and what the system says.
pub fn run(args: &Args) -> Result<()> {
    let threads = rayon::current_num_threads();
    let open = |max_batch: usize| Generator::open(&args.model, &Options { threads, max_batch, ..Options::default() });
    let (image, classes, own) = {
        let generator = open(1)?;
        (generator.image(), generator.classes(), read_as(generator.info(), args))
    };
    let mut generator = open(metrics::batch(image))?;
    let data = data::open(&own)?;
    data.said.iter().for_each(|line| say!("{line}"));
    let data = data.splits;
    // What would fail after the classifier is trained is found out before it.
    metrics::same_subject(image, classes, &data)?;
    let reference = Reference::new(&data, metrics::cache_folder().as_deref())?;
    let samples = Samples { count: args.count, seed: args.seed };
    let found = metrics::evaluate(&mut generator, samples, &data, &reference)?;
    if let Some(doubt) = other_data(generator.info(), &found.data.sha256) {
        say!("note: {} {doubt}", args.model.display());
    }
    print!("{}", if args.json { found.to_json()? } else { table(&found, &args.model) });
    Ok(())
}

/// What is to be said of a generator that was not, or perhaps not, trained on the data of this hash.
fn other_data(info: &ModelInfo, sha256: &str) -> Option<String> {
    match &*info.data_sha256 {
        "" => Some("does not record what data it was trained on".into()),
        own if own != sha256 => Some(format!("was trained on other data: `{}`, {own}", info.data)),
        _ => None,
    }
}

/// The data that is asked for, read as the generator's own was: its recipe says how pictures came to their size. What has
/// another shape then is other data.
fn read_as(info: &ModelInfo, Args { data: source, labels: asked, .. }: &Args) -> Data {
    let mnist = Path::new(data::MNIST);
    let recipe = Recipe::parse(&info.recipe, "the generator's recipe", &[]);
    let data = match recipe {
        // MNIST where it is not asked for is as it is, unless it was what the generator has learned.
        Ok(Recipe { data, .. }) if source != mnist || data.source == mnist => {
            // Of a file of labels the recipe keeps the name only; one of that name is found beside the pictures.
            let labels = data.labels.filter(|labels| !matches!(labels, Labelled::File(_)));
            Data { source: source.to_owned(), labels, ..data }
        }
        _ => Data::at(source),
    };
    Data { labels: asked.clone().or(data.labels), ..data }
}

const NO_TEST_IMAGES: &str = "no test images";

/// The figures for a person.
fn table(found: &Evaluation, model: &Path) -> String {
    let mut text = String::new();
    let mut line = |name: &str, rest: String| {
        let _ = writeln!(text, "{}", format!("{name:<12}{rest}").trim_end());
    };
    let Evaluation { samples, seed, data, classifier, floor, .. } = found;
    line("generator", format!("{}, {samples} samples of seed {seed}", model.display()));
    line("data", format!("{}, {} training images ({:.16})", data.name, data.training_images, data.sha256));
    let right = match (classifier.test_accuracy, floor) {
        _ if !classifier.trained => "of random weights, as the data has no labels".into(),
        (Some(part), Some(floor)) => format!("right on {:.2} % of {} test images", 100. * part, floor.samples),
        (None, Some(_)) => "whose test images have no labels".into(),
        (_, None) => NO_TEST_IMAGES.into(),
    };
    line("classifier", format!("{:.16}, {right}", classifier.sha256));
    line("", String::new());
    line(
        "Fréchet",
        format!("{:>10.3}  samples to training images, in the classifier's features", found.frechet_distance),
    );
    let floor = floor.map_or(format!("{:>10}  {NO_TEST_IMAGES}", "-"), |floor| {
        format!("{:>10.3}  the same for the {} test images", floor.frechet_distance, floor.samples)
    });
    line("floor", floor);
    let compared = (*samples).min(data.training_images).min(metrics::MOST_POINTS as u64);
    let share = |part: Option<f64>| part.map_or("-".into(), |part| format!("{part:.4}"));
    let of_floor = |part: fn(&Floor) -> Option<f64>| share(found.floor.as_ref().and_then(part));
    for (name, part, at_best, what) in [
        ("precision", found.precision, of_floor(|floor| floor.precision), "samples lie among training images"),
        ("recall", found.recall, of_floor(|floor| floor.recall), "training images lie among samples"),
    ] {
        let rest = format!("of {compared} {what} ({} neighbours); floor {at_best}", metrics::NEIGHBOURS);
        line(name, format!("{:>10}  {rest}", share(part)));
    }
    if let Some(kl) = found.class_kl {
        line("KL", format!("{kl:>10.4}  classes of the samples from those of the data, in nats"));
    }
    if let Some(accuracy) = found.class_accuracy {
        line("right class", format!("{:>10.4}  of the samples, as the classifier sees them", accuracy));
        let known: Vec<f64> = found.class_variance.iter().copied().flatten().collect();
        // Few samples have no two of a class.
        if let Some(least) = known.iter().copied().reduce(f64::min) {
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            line(
                "variance",
                format!("{mean:>10.4}  within a class, of that of the data; {least:.4} in the class of the least"),
            );
        }
    }
    if classifier.trained {
        line("", String::new());
        let columns =
            |cell: &dyn Fn(usize) -> String| (0..found.class_counts.len()).map(|i| format!("{:>6}", cell(i))).collect();
        let percent =
            |counts: &[u64], i: usize| format!("{:.1}", 100. * counts[i] as f64 / counts.iter().sum::<u64>() as f64);
        line("class", columns(&|i| i.to_string()));
        line("samples %", columns(&|i| percent(&found.class_counts, i)));
        line("data %", columns(&|i| percent(&data.class_counts, i)));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{ImageShape, Precision, SelfTest};

    fn info() -> ModelInfo {
        let self_test = SelfTest { seed: 0, index: 0, tolerance: 1., points: Vec::new() };
        ModelInfo::new(Precision::F32, 1, ImageShape { channels: 1, height: 1, width: 1 }, self_test)
    }

    /// Of its own data in its own size, however it is asked for; of others as they are, but for how pictures are read.
    #[test]
    fn data_is_read_as_the_generators_own_was() -> Result<()> {
        let read = |overrides: &[(&str, &str)], arguments: &[&str]| {
            let value = |text: &str| toml::Value::from(text);
            let overrides: Vec<_> = overrides.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect();
            let mut info = info();
            info.recipe = Recipe::load("digits", &overrides)?.to_toml()?;
            let arguments = ["evaluate", "gen.onnx"].iter().chain(arguments);
            Ok::<_, trainer::Error>(read_as(&info, &Args::parse_from(arguments)))
        };
        let size = |data: &Data| data.size.map(|size| size.to_string());
        let own = read(&[("data.size", "32")], &[])?;
        assert_eq!((size(&own).as_deref(), own.source.to_str()), (Some("32x32"), Some("mnist")));
        let photos = [("data.source", "photos"), ("data.size", "48"), ("data.labels", "a/table.csv")];
        assert_eq!(size(&read(&photos, &[])?), None, "MNIST is none of them");
        let others = read(&photos, &["--data", "others"])?;
        assert_eq!((size(&others).as_deref(), others.source.to_str()), (Some("48x48"), Some("others")));
        assert!(others.labels.is_none());
        let named = read(&photos, &["--data", "others", "--labels", "b/table.csv"])?;
        assert!(matches!(named.labels, Some(Labelled::File(file)) if file == Path::new("b/table.csv")));
        Ok(())
    }

    /// Of five samples no class need have two.
    #[test]
    fn what_is_not_known_is_not_in_the_table() {
        let found = Evaluation {
            samples: 5,
            seed: 0,
            frechet_distance: 1.,
            precision: None,
            recall: None,
            class_kl: Some(0.5),
            class_counts: vec![3, 2],
            class_accuracy: Some(0.5),
            class_variance: vec![None, None],
            floor: None,
            data: metrics::Data { name: "d".into(), sha256: "0".into(), training_images: 9, class_counts: vec![5, 4] },
            classifier: metrics::ClassifierInfo { sha256: "1".into(), trained: true, test_accuracy: None },
        };
        let table = table(&found, Path::new("gen.onnx"));
        assert!(table.contains("right class") && !table.contains("NaN") && !table.contains("variance"), "{table}");
    }

    #[test]
    fn a_generator_of_other_data_is_told() {
        let mut info = info();
        assert_eq!(other_data(&info, "ab").as_deref(), Some("does not record what data it was trained on"));
        (info.data, info.data_sha256) = ("mnist".into(), "cd".into());
        assert_eq!(other_data(&info, "ab").as_deref(), Some("was trained on other data: `mnist`, cd"));
        assert_eq!(other_data(&info, "cd"), None);
    }
}
