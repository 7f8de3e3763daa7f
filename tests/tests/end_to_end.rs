//! Train, export, sample: the whole way, with real processes and real data.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use tests::process::Running;
use tests::{fail, folder, python, read, sample, succeed, trainer};

/// A run that takes seconds: narrow networks, a few steps.
const SMALL: [&str; 8] = [
    "--set",
    "generator.width=8",
    "--set",
    "discriminator.width=8",
    "--set",
    "training.tick_kimg=0.5",
    "--set",
    "training.checkpoint_kimg=0.5",
];

fn raw(folder: &Path, model: &str, arguments: &[&str]) -> Vec<u8> {
    succeed(sample(folder).args([model, "--raw", "out.raw"]).args(arguments));
    read(folder.join("out.raw"))
}

#[test]
fn digits_are_trained_exported_and_sampled() {
    let folder = folder();
    let here = folder.path();
    let run = ["--steps", "120", "--export", "gen.onnx", "--export", "gen.safetensors"];
    let said = succeed(trainer(here).args(SMALL).args(run));
    assert!(said.contains("agrees with candle"), "{said}");
    assert!(said.contains("--bin sample -- gen.onnx --seed 7"), "{said}");

    // What a run leaves behind.
    let run = here.join("runs/digits-1");
    for name in ["recipe.toml", "stats.jsonl", "reals.png", "fakes-000000000.png", "fakes-000007680.png", "samples.png"]
    {
        assert!(run.join(name).is_file(), "{name}");
    }
    assert!(read(run.join("fakes-000000000.png")) != read(run.join("fakes-000007680.png")), "it learned nothing");

    // The same seed: the same bytes twice, in any batch, with any number of threads; another one: others.
    let whole = raw(here, "gen.onnx", &["--seed", "7", "--count", "70"]);
    assert_eq!(whole.len(), 70 * 28 * 28);
    for other in [["--batch", "1"], ["--batch", "7"], ["--batch", "64"], ["--threads", "2"]] {
        let mut arguments = vec!["--seed", "7", "--count", "70"];
        arguments.extend(other);
        assert!(raw(here, "gen.onnx", &arguments) == whole, "{other:?} changes the images");
    }
    let middle = raw(here, "gen.onnx", &["--seed", "7", "--first-index", "30", "--count", "5"]);
    assert!(middle == whole[30 * 784..35 * 784], "an index is not the same image in another call");
    assert!(raw(here, "gen.onnx", &["--seed", "8", "--count", "70"]) != whole);

    // Samples are pictures, neither flat nor all alike.
    let spread = |image: &[u8]| image.iter().max().copied().unwrap_or(0) - image.iter().min().copied().unwrap_or(0);
    assert!(whole.chunks_exact(784).all(|image| spread(image) > 100));
    assert!(whole[..784] != whole[784..1568]);

    let said = succeed(sample(here).args(["gen.onnx", "--info", "--grid", "out.png"]));
    assert!(said.contains("1 x 28 x 28, f16") && said.contains("7680 images"), "{said}");
    assert!(read(here.join("out.png")).starts_with(b"\x89PNG"));

    // A finished run only exports; the file is the same but for its precision.
    let said = succeed(trainer(here).args(["--run", "runs/digits-1", "--export", "again.onnx"]));
    assert!(!said.contains("training digits"), "{said}");
    assert!(read(here.join("again.onnx")) == read(here.join("gen.onnx")), "exporting again gives another file");
    succeed(trainer(here).args(["--run", "runs/digits-1", "--export", "wide.onnx", "--precision", "f32"]));
    let wide = raw(here, "wide.onnx", &["--seed", "7", "--count", "70"]);
    let far = whole.iter().zip(&wide).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(far <= Some(3), "f16 and f32 differ by {far:?} of 255");
}

#[test]
fn weights_beside_the_model_are_exchanged_under_it() {
    let folder = folder();
    let here = folder.path();
    for seed in ["1", "2"] {
        let export = ["--seed", seed, "--steps", "3", "--export", &format!("gen{seed}.onnx"), "--external-weights"];
        let said = succeed(trainer(here).args(SMALL).args(export));
        assert!(said.contains("agrees with candle") && said.contains(&format!("gen{seed}.safetensors")), "{said}");
        assert!(
            here.join(format!("gen{seed}.onnx")).metadata().expect("is there").len() < 10_000,
            "weights are inside"
        );
    }
    // The same bytes as a file that has them inside, and as each other under either graph.
    succeed(trainer(here).args(["--run", "runs/digits-2", "--export", "inside.onnx"]));
    let (first, second) = (raw(here, "gen1.onnx", &["--seed", "7"]), raw(here, "gen2.onnx", &["--seed", "7"]));
    assert!(raw(here, "inside.onnx", &["--seed", "7"]) == second);
    assert!(first != second);
    for model in ["gen1.onnx", "inside.onnx"] {
        assert!(raw(here, model, &["--seed", "7", "--weights", "gen2.safetensors"]) == second, "{model}");
        assert!(raw(here, model, &["--seed", "7", "--weights", "gen1.safetensors"]) == first, "{model}");
    }
    let names = fs::read_dir(here).expect("lists").map(|entry| entry.expect("lists").file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0, "something unfinished is left");
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let folder = folder();
    let here = folder.path();
    let long = |run: &str, steps: &str| {
        let mut command = trainer(here);
        command.args(SMALL).args(["--run", run, "--steps", steps]);
        command
    };
    succeed(&mut long("whole", "80"));

    // Ended by Ctrl-C after its first checkpoint.
    let mut running = Running::start(&mut long("stopped", "80"));
    running.wait_until("a checkpoint", || here.join("stopped/checkpoint-000000512.safetensors").exists());
    running.signal("INT");
    let (status, said) = running.wait();
    assert!(status.code() == Some(130) && said.contains("--run stopped --resume"), "{said}");

    // Killed without a chance to write anything.
    let mut running = Running::start(&mut long("killed", "80"));
    running.wait_until("a checkpoint", || here.join("killed/checkpoint-000001024.safetensors").exists());
    running.kill();

    for run in ["stopped", "killed"] {
        // Nor does the number of threads change a bit.
        succeed(trainer(here).args(["--run", run, "--resume", "--threads", "1"]));
        let last = "checkpoint-000005120.safetensors";
        assert!(read(here.join(run).join(last)) == read(here.join("whole").join(last)), "{run} went another way");
    }
}

#[test]
fn a_run_is_made_longer_by_resuming_it() {
    let folder = folder();
    let here = folder.path();
    succeed(trainer(here).args(SMALL).args(["--run", "long", "--steps", "60"]));
    succeed(trainer(here).args(SMALL).args(["--run", "short", "--steps", "30"]));
    succeed(trainer(here).args(["--run", "short", "--resume", "--steps", "60"]));
    let last = "checkpoint-000003840.safetensors";
    assert!(read(here.join("short").join(last)) == read(here.join("long").join(last)));
    let said = fail(trainer(here).args(["--run", "short"]), 1);
    assert!(said.contains("--resume") && said.contains("--export"), "{said}");
    let said = fail(trainer(here).args(["--run", "short", "--resume", "--set", "generator.width=16"]), 1);
    assert!(said.contains("another recipe"), "{said}");
}

#[test]
fn the_tutorial_recipe_runs() {
    let folder = folder();
    let here = folder.path();
    let run = ["--recipe", "tutorial", "--set", "discriminator.width=8", "--steps", "20", "--export", "gen.onnx"];
    succeed(trainer(here).args(run));
    assert_eq!(raw(here, "gen.onnx", &["--count", "3"]).len(), 3 * 784);
}

#[test]
fn mistakes_are_told_before_any_work() {
    let folder = folder();
    let here = folder.path();
    for (arguments, code, words) in [
        (&["--export", "gen.bin"][..], 1, ".onnx or .safetensors"),
        (&["--export", "no/such/gen.onnx"], 1, "does not exist"),
        (&["--set", "generator.widht=3"], 1, "widht"),
        (&["--set", "training.batch=0"], 1, "allowed is 2 to 4096"),
        (&["--recipe", "faces"], 1, "digits, fashion, pictures"),
        (&["--data", "."], 1, "train-images-idx3-ubyte"),
        (&["--data", "nothing"], 1, "nothing"),
        (&["--data", "/dev/zero"], 1, "it is a device"),
        (&["--set", "data.source="], 1, "data.source is empty"),
        (&["pack", "mnist", "pack.bin"], 1, ".safetensors"),
        (&["pack", "nothing", "pack.safetensors"], 1, "nothing"),
        (&["--kimg", "1", "--steps", "1"], 2, "cannot be used with"),
        (&["--resume"], 2, "--run"),
        (&["--run", "nothing", "--resume"], 2, "no run"),
        (&["--no-such-option"], 2, "--no-such-option"),
    ] {
        let said = fail(trainer(here).args(arguments), code);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!here.join("runs").exists(), "{arguments:?} left a run");
    }
    let recipe = succeed(trainer(here).args(["--print-recipe", "--kimg", "5", "--set", "objective.loss=minimax"]));
    assert!(recipe.contains("kimg = 5.0") && recipe.contains("loss = \"minimax\""), "{recipe}");
    // A recipe is text, and so must a path in it be.
    #[cfg(unix)]
    {
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.safetensors");
        let said = fail(trainer(here).arg("--data").arg(name), 2);
        assert!(said.contains("--data") && said.contains("is not UTF-8"), "{said}");
    }
}

/// From idx files, and from the pack that is made of them.
#[test]
fn other_data_is_packed_and_learned() {
    let folder = folder();
    let here = folder.path();
    let pixels = (0..5 * 128 * 128).map(|i| (i * 31 % 256) as u8).collect::<Vec<u8>>();
    write_idx(&here.join("letters/train-images-idx3-ubyte"), &[5, 128, 128], pixels.clone());
    write_idx(&here.join("letters/train-labels-idx1-ubyte"), &[5], vec![1, 26, 2, 3, 4]);
    let said = succeed(trainer(here).args(["pack", "letters", "letters.safetensors"]));
    assert!(said.contains("letters, 128 x 128 x 1: 5 images of 27 classes, no test images"), "{said}");
    let pack = read(here.join("letters.safetensors"));
    assert!(pack.ends_with(&pixels), "the images are not in it as they are");
    succeed(trainer(here).args(["pack", "letters.safetensors", "again.safetensors"]));
    let said = succeed(trainer(here).args(["pack", "letters", "letters.safetensors"]));
    assert!(said.contains("letters.safetensors") && read(here.join("letters.safetensors")) == pack, "{said}");

    // Fewer images than a batch; the same data, wherever it comes from. With one thread, which waits for batches that are large
    // enough to be made by several: those need to be others.
    let learn = |data: &str, model: &str| {
        let run = ["--data", data, "--batch", "16", "--steps", "3", "--threads", "1", "--export", model];
        succeed(trainer(here).args(SMALL).args(run))
    };
    assert!(learn("letters", "a.onnx").contains("5 images of 128x128"));
    learn("letters.safetensors", "b.onnx");
    assert!(read(here.join("a.onnx")) == read(here.join("b.onnx")), "the pack is other data");
    // What was on this machine is nobody else's business; a run goes on with data that has moved.
    let said = succeed(sample(here).args(["a.onnx", "--info"]));
    assert!(said.contains("letters") && !said.contains(&*here.to_string_lossy()), "{said}");
    fs::rename(here.join("letters"), here.join("moved")).unwrap_or_else(|e| panic!("{e}"));
    let resume = ["--run", "runs/pictures-1", "--resume", "--steps", "4"];
    assert!(fail(trainer(here).args(resume), 1).contains("letters"));
    succeed(trainer(here).args(resume).args(["--data", "moved"]));

    // No test images: no floor.
    let evaluate = ["evaluate", "a.onnx", "--count", "20", "--data", "letters.safetensors"];
    let said = succeed(trainer(here).env("KILN_CACHE", here.join("cache")).args(evaluate));
    assert!(said.contains("no test images") && !said.contains("other data"), "{said}");
    let said = succeed(trainer(here).env("KILN_CACHE", here.join("cache")).args(evaluate).arg("--json"));
    assert!(said.contains("\"floor\":null") && said.contains("\"test_accuracy\":null"), "{said}");
}

/// A generator of single grey pixels against data of single grey pixels: everything but the size is as with real data.
#[test]
fn a_generator_is_evaluated_against_the_data_that_is_named() {
    let folder = folder();
    let here = folder.path();
    let pixels = |count: usize| (0..count).map(|i| (i * 97 % 256) as u8).collect::<Vec<u8>>();
    let labels = |count: usize| pixels(count).iter().map(|&v| u8::from(v > 127)).collect();
    for (name, count) in [("train", 300), ("t10k", 200)] {
        write_idx(&here.join(format!("data/{name}-images-idx3-ubyte")), &[count, 1, 1], pixels(count));
        write_idx(&here.join(format!("data/{name}-labels-idx1-ubyte")), &[count], labels(count));
    }
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/trivial.onnx");
    let evaluate = |arguments: &[&str]| {
        let mut command = trainer(here);
        command.env("KILN_CACHE", here.join("cache")).arg("evaluate").arg(&model).args(["--data", "data"]);
        command.args(["--count", "150"]).args(arguments).stderr(Stdio::piped()).stdout(Stdio::piped());
        let output = command.output().unwrap_or_else(|e| panic!("{e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        (out, err)
    };
    let (first, said) = evaluate(&["--json"]);
    assert!(said.contains("training a classifier") && said.contains("150/150 samples"), "{said}");
    assert!(said.contains("does not record what data it was trained on"), "{said}");
    for part in ["{\"samples\":150,\"seed\":0,\"frechet_distance\":", "\"training_images\":300,", "\"test_accuracy\":"]
    {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    assert_eq!(first.lines().count(), 1);
    let found: serde_json::Value = serde_json::from_str(&first).unwrap_or_else(|e| panic!("{e}: {first}"));
    for place in ["/precision", "/recall", "/floor/precision", "/floor/recall"] {
        let part = found.pointer(place).and_then(serde_json::Value::as_f64);
        assert!(part.is_some_and(|part| (0. ..=1.).contains(&part)), "{place} is {part:?} in {first}");
    }

    // The classifier is kept, the figures are the same with any number of threads; another seed gives others.
    let (again, said) = evaluate(&["--json", "--threads", "1"]);
    assert!(!said.contains("training a classifier") && again == first, "{said}{again}{first}");
    assert!(evaluate(&["--json", "--seed", "1"]).0 != first);
    let (table, _) = evaluate(&[]);
    for part in ["Fréchet", "150 samples of seed 0", "of 150 training images lie among samples"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }

    // A file that was cut short is made again.
    let kept = fs::read_dir(here.join("cache")).into_iter().flatten().flatten().map(|entry| entry.path());
    let kept = kept.collect::<Vec<_>>();
    assert_eq!(kept.len(), 1, "{kept:?}");
    fs::write(&kept[0], &read(&kept[0])[..1000]).unwrap_or_else(|e| panic!("{e}"));
    let (again, said) = evaluate(&["--json"]);
    assert!(said.contains("damaged") && again == first, "{said}{again}{first}");
}

fn write_idx(path: &Path, sizes: &[usize], elements: Vec<u8>) {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    bytes.extend(elements);
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, bytes))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[test]
fn mistakes_in_an_evaluation_are_told_before_any_work() {
    let folder = folder();
    let here = folder.path();
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/gen.onnx");
    let colour = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/dcgan-f32.onnx");
    let (zoo, colour) = (zoo.to_string_lossy(), colour.to_string_lossy());
    for (arguments, code, words) in [
        (&["evaluate"][..], 2, "FILE.onnx"),
        (&["evaluate", &zoo, "--count", "1"], 2, "--count"),
        (&["evaluate", &zoo, "--export", "x.onnx"], 2, "--export"),
        (&["--export", "x.onnx", "evaluate", &zoo], 2, "cannot be used with"),
        (&["evaluate", "nothing.onnx"], 1, "nothing.onnx"),
        (&["evaluate", &zoo, "--data", "."], 1, "train-images-idx3-ubyte"),
        (&["evaluate", &colour], 1, "3 x 20 x 12"),
    ] {
        let said = fail(trainer(here).env("KILN_CACHE", here.join("cache")).args(arguments), code);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(fs::read_dir(here).map(Iterator::count).unwrap_or(0), 0, "{arguments:?} left something");
    }
    let said = succeed(trainer(here).arg("--help"));
    assert!(said.contains("trainer evaluate gen.onnx"), "{said}");
    let said = succeed(trainer(here).args(["evaluate", "--help"]));
    assert!(said.contains("--json") && said.contains("KILN_CACHE"), "{said}");
}

/// Standard tools take the exported file: the ONNX checker, ONNX Runtime from Python, OpenVINO, tract. Skipped, with the reason,
/// where Python lacks them.
#[test]
fn other_tools_take_the_file() {
    let folder = folder();
    let here = folder.path();
    for (precision, file) in [("f16", "half.onnx"), ("f32", "single.onnx"), ("int8", "int8.onnx")] {
        let run = ["--steps", "2", "--export", file, "--precision", precision];
        succeed(trainer(here).args(SMALL).args(run));
        raw(here, file, &["--count", "5", "--seed", "3"]);
        println!("{}", python(here, "check_onnx.py", &[file]));
    }
}
