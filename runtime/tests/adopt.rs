//! Generators of other tools, adopted: files that PyTorch and Keras exported (`tests/python/check_adopt.py` makes them), and
//! what those draw themselves of the same latents.

mod common;
#[allow(dead_code, reason = "what is for generator files is not for others")]
#[path = "common/mutations/mod.rs"]
mod mutations;

use common::draw;
use mutations::{dice::Dice, mutate};
use runtime::adopt::{Adopted, Distribution, Layout, Wishes, adopt, range_of};
use runtime::{Generator, Options, Provider, Request, Start};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    common::fixture("adopt")
}

fn sample(arguments: &[&str], inside: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sample")).current_dir(inside).args(arguments).output().expect("starts")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// What a tool draws: options of `sample adopt`, a tolerance, and a class, a latent and an image for each sample.
struct Expected {
    options: Vec<String>,
    tolerance: f32,
    samples: Vec<(Option<u32>, Vec<f32>, Vec<f32>)>,
}

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).expect("reads");
    let lines: Vec<&str> = text.lines().collect();
    let numbers = |line: &str| line.split(' ').map(|x| x.parse().expect("a number")).collect();
    Expected {
        options: lines[0].split_whitespace().map(String::from).collect(),
        tolerance: lines[1].parse().expect("a number"),
        samples: lines[2..].chunks_exact(3).map(|s| (s[0].parse().ok(), numbers(s[1]), numbers(s[2]))).collect(),
    }
}

/// The names of all fixtures.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).expect("lists").map(|file| file.expect("a file").file_name());
    let mut names: Vec<String> =
        files.filter_map(|name| Some(name.to_str()?.strip_suffix(".txt")?.to_owned())).collect();
    names.sort();
    names
}

fn adopted(name: &str, wishes: &Wishes) -> Adopted {
    adopt(&folder().join(format!("{name}.onnx")), wishes).unwrap_or_else(|e| panic!("{e}"))
}

/// Why a file is not adopted.
fn refused(path: &Path, wishes: &Wishes) -> String {
    adopt(path, wishes).expect_err("is not adopted").to_string()
}

#[test]
fn kiln_draws_what_the_tool_draws_that_exported_the_generator() {
    let inside = tempfile::tempdir().expect("a folder");
    let all = names();
    assert_eq!(all.len(), 23);
    for name in all {
        let Expected { options, tolerance, samples } = expected(&name);
        let source = folder().join(format!("{name}.onnx"));
        let source = source.to_str().expect("a name");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = sample(&[&["adopt", source, "gen.onnx", "--force"], &options[..]].concat(), inside.path());
        assert!(output.status.success(), "{name}: {}", said(&output));
        for start in [Start::Steady, Start::Fast] {
            let options = Options { provider: Provider::Cpu, start, ..Options::default() };
            let mut generator = Generator::open(inside.path().join("gen.onnx"), &options).expect("opens");
            for n in 1..=samples.len() {
                let samples = &samples[..n];
                let latents: Vec<f32> = samples.iter().flat_map(|(_, z, _)| z.iter().copied()).collect();
                let classes: Option<Vec<u32>> = samples.iter().map(|(class, ..)| *class).collect();
                let mut request = Request::latents(&latents);
                if let Some(classes) = &classes {
                    request = request.classes(classes);
                }
                let images: Vec<f32> = draw(&mut generator, &request, n);
                let wanted = samples.iter().flat_map(|(.., image)| image);
                let far = images.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(far <= tolerance, "{name}: {n} images differ by {far}");
            }
        }
    }
}

#[test]
fn an_adopted_file_is_used_as_any_other() {
    let inside = tempfile::tempdir().expect("a folder");
    let source = folder().join("embedded-dynamo.onnx");
    std::fs::write(inside.path().join("names.txt"), "cat\ndog\nred fox\nowl\nÜbung\n").expect("writes");
    let source = source.to_str().expect("a name");
    let output = sample(&["adopt", source, "gen.onnx", "--class-names", "names.txt"], inside.path());
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    for line in [
        "found      a file of pytorch",
        "latent     \"z\" f32 [N, 8]: 8 numbers a sample",
        "assumed    its latents are standard normal numbers (else --distribution uniform)",
        "class      \"label\" i64 [N]: 5 classes, by number",
        "range      0 to 255, as its last layers tell; brought to -1 to 1",
        "different by latent and by class",
        "written    gen.onnx",
        "next       sample gen.onnx --seed 7 --grid out.png",
    ] {
        assert!(words.lines().any(|said| said.contains(line)), "{words} lacks {line}");
    }
    let output =
        sample(&["gen.onnx", "--seed", "7", "--class", "red fox", "--count", "4", "--grid", "out.png"], inside.path());
    assert!(output.status.success() && inside.path().join("out.png").exists(), "{}", said(&output));
    let words = said(&sample(&["gen.onnx", "--info"], inside.path()));
    assert!(words.contains("0 cat, 1 dog, 2 red fox, 3 owl, 4 Übung") && words.contains("pytorch"), "{words}");
    // It carries checksums: a flipped bit of a weight is found.
    let mut bytes = std::fs::read(inside.path().join("gen.onnx")).expect("reads");
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    let error = Generator::from_bytes(bytes, None, &Options::default()).expect_err("is damaged").to_string();
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn nothing_is_replaced_or_left_half_written() {
    let inside = tempfile::tempdir().expect("a folder");
    let source = folder().join("dcgan-torchscript.onnx");
    let source = source.to_str().expect("a name");
    std::fs::write(inside.path().join("gen.onnx"), "mine").expect("writes");
    let output = sample(&["adopt", source, "gen.onnx"], inside.path());
    assert!(
        output.status.code() == Some(1) && said(&output).contains("gen.onnx is there already"),
        "{}",
        said(&output)
    );
    assert_eq!(std::fs::read(inside.path().join("gen.onnx")).expect("reads"), b"mine");
    let output =
        sample(&["adopt", source, "gen.onnx", "--range", "0..255", "--shape", "4x4x4", "--force"], inside.path());
    assert!(output.status.code() == Some(1) && said(&output).contains("--shape"), "{}", said(&output));
    assert_eq!(std::fs::read(inside.path().join("gen.onnx")).expect("reads"), b"mine");
    assert!(sample(&["adopt", source, "gen.onnx", "--force"], inside.path()).status.success());
    assert_eq!(std::fs::read_dir(inside.path()).expect("lists").count(), 1, "no temporary file is left");
    // What is a generator file is none of another tool.
    let output = sample(&["adopt", "gen.onnx", "other.onnx"], inside.path());
    assert!(said(&output).contains("is a generator file already"), "{}", said(&output));
    for (arguments, words) in [
        (&["adopt"][..], "<SOURCE>"),
        (&["adopt", source], "<TO>"),
        (&["adopt", source, "x.onnx", "--range", "1..-1"], "-1..1, 0..1 or 0..255"),
        (&["adopt", source, "x.onnx", "--input", "psi"], "NAME=VALUE"),
        (&["adopt", source, "x.onnx", "--distribution", "gamma"], "uniform:A..B"),
        (&["adopt", source, "x.onnx", "--shape", "3"], "3x64x64"),
        (&["--seed", "1", "adopt", source, "x.onnx"], "cannot be used with"),
    ] {
        let output = sample(arguments, inside.path());
        assert!(output.status.code() == Some(2) && said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
    assert!(said(&sample(&["--help"], inside.path())).contains("sample adopt other.onnx gen.onnx"));
}

#[test]
fn what_a_file_does_not_tell_is_asked_for() {
    let style = folder().join("style-torchscript.onnx");
    let error = refused(&style, &Wishes::default());
    let inputs = "\"z\" f32 [N, 6]; \"truncation_psi\" f32 []; \"noise\" f32 [N, 1, 4, 4]";
    assert!(error.contains(inputs) && error.contains("--input NAME=VALUE"), "{error}");
    // Truncation alone has a value that is meant where none is said.
    let noise = |wishes: Wishes| Wishes { inputs: vec![("noise".into(), 0.)], ..wishes };
    let report = adopted("style-torchscript", &noise(Wishes::default())).report.join("\n");
    assert!(
        report.contains("assumed    \"truncation_psi\" f32 [] is 1 (else --input \"truncation_psi\"=VALUE)"),
        "{report}"
    );
    for (wishes, words) in [
        (Wishes { latent: Some("x".into()), ..Wishes::default() }, "has no input \"x\"; it has \"z\""),
        (Wishes { latent: Some("truncation_psi".into()), ..Wishes::default() }, "cannot be the latent"),
        (Wishes { class: Some("truncation_psi".into()), ..Wishes::default() }, "cannot be the class"),
        (Wishes { image: Some("x".into()), ..Wishes::default() }, "has no output \"x\"; it has \"image\""),
        (Wishes { image: Some("w".into()), ..Wishes::default() }, "does not tell between which numbers its images are"),
        (Wishes { class_names: vec!["a".into()], ..Wishes::default() }, "has 1 names"),
        (Wishes { layout: Some(Layout::Nhwc), ..Wishes::default() }, "has no axis of channels"),
    ] {
        let error = refused(&style, &noise(wishes));
        assert!(error.contains(words), "{error}");
    }
    let rows = folder().join("one-hot-torchscript-fixed.onnx");
    assert!(refused(&rows, &Wishes::default()).contains("--shape CxHxW"));
    let inside = folder().join("one-hot-inside-dynamo.onnx");
    let error = refused(&inside, &Wishes { latent: Some("y".into()), ..Wishes::default() });
    assert!(error.contains("\"y\" i64 [N]") && error.contains("cannot be the latent"), "{error}");
    // The same values said to be of another range lie outside of it.
    let dcgan = folder().join("dcgan-torchscript.onnx");
    let error = refused(&dcgan, &Wishes { range: Some((0., 1.)), ..Wishes::default() });
    assert!(error.contains("give another --range"), "{error}");
    let report =
        adopted("dcgan-torchscript", &Wishes { range: Some((-1., 255.)), ..Wishes::default() }).report.join("\n");
    assert!(report.contains("look       all values are from"), "{report}");
}

#[test]
fn what_is_cut_off_or_not_beside_is_told() {
    let inside = tempfile::tempdir().expect("a folder");
    let path = inside.path().join("dcgan-dynamo.onnx");
    let at = |name: &str| folder().join(name);
    std::fs::copy(at("dcgan-dynamo.onnx"), &path).expect("copies");
    let error = refused(&path, &Wishes::default());
    assert!(error.contains("dcgan-dynamo.onnx.data") && error.contains("beside it"), "{error}");
    let weights = std::fs::read(at("dcgan-dynamo.onnx.data")).expect("reads");
    let beside = inside.path().join("dcgan-dynamo.onnx.data");
    std::fs::write(&beside, &weights[..weights.len() / 2]).expect("writes");
    let error = refused(&path, &Wishes::default());
    assert!(error.contains("is cut off"), "{error}");
    std::fs::write(&beside, &weights).expect("writes");
    assert!(adopt(&path, &Wishes::default()).is_ok());
    assert!(refused(&inside.path().join("nothing.onnx"), &Wishes::default()).contains("cannot be opened"));
}

/// Every prefix of a file, and the file with any one byte changed, ends in an error or a generator, never otherwise.
#[test]
fn damaged_files_end_in_an_error() {
    let inside = tempfile::tempdir().expect("a folder");
    let path = inside.path().join("x.onnx");
    let bytes = std::fs::read(folder().join("embedded-torchscript.onnx")).expect("reads");
    let wishes = Wishes::default();
    for end in (0..bytes.len()).step_by(29) {
        std::fs::write(&path, &bytes[..end]).expect("writes");
        assert!(adopt(&path, &wishes).is_err(), "{end} bytes");
    }
    let mut kept = 0;
    for at in (0..bytes.len()).step_by(61) {
        for change in [0xff, 0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            std::fs::write(&path, &changed).expect("writes");
            kept += u32::from(adopt(&path, &wishes).is_ok());
        }
    }
    assert!(kept > 0, "bytes of names and weights may be others");
}

/// The same of files that were changed where they are understood; it takes no time, and no long words.
#[test]
fn mutated_files_end_in_an_error_or_a_generator() {
    let inside = tempfile::tempdir().expect("a folder");
    let path = inside.path().join("x.onnx");
    let is_alone =
        |name: &String| expected(name).options.is_empty() && !folder().join(format!("{name}.onnx.data")).exists();
    let read = |name: String| std::fs::read(folder().join(format!("{name}.onnx"))).expect("reads");
    let healthy: Vec<Vec<u8>> = names().into_iter().filter(is_alone).map(read).collect();
    let (mut kept, count) = (0, 600);
    for number in 0..count {
        let dice = &mut Dice::new(1, number);
        let (mut file, other) = (dice.pick(&healthy), dice.pick(&healthy));
        mutate::model(dice, &mut file, &other);
        std::fs::write(&path, &file).expect("writes");
        let begun = Instant::now();
        match adopt(&path, &Wishes::default()) {
            Ok(_) => kept += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 4000 && !text.contains(char::is_control), "{number}: {text:.1000?}");
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{number} takes {:?}", begun.elapsed());
    }
    assert!((20..count - 20).contains(&kept), "{kept} of {count} are adopted");
}

#[test]
fn words_of_options_are_read() {
    let distribution = |text: &str| text.parse::<Distribution>();
    assert_eq!(distribution("normal"), Ok(Distribution::Normal));
    assert_eq!(distribution("uniform"), Ok(Distribution::Uniform(-1., 1.)));
    assert_eq!(distribution("uniform:0..1"), Ok(Distribution::Uniform(0., 1.)));
    assert_eq!(range_of("-0.5..0.5"), Ok((-0.5, 0.5)));
    for text in ["", "1", "1..1", "2..1", "a..b", "0..inf", "NaN..1", "0..1e300"] {
        assert!(range_of(text).is_err() && distribution(&format!("uniform:{text}")).is_err(), "{text}");
    }
}
