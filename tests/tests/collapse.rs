//! Generators that have collapsed are told by a figure, and not shipped by mistake; the best checkpoint is kept and taken.

use std::fs;
use std::path::Path;
use tests::runs::{checkpoints, export, log, resume, tiny};
use tests::{fail, folder, read, sample, succeed, trainer};

/// Idx files of single grey pixels, two classes of them.
fn grey_pixels(folder: &Path) {
    let pixels = |count: usize| (0..count).map(|i| (i * 97 % 256) as u8).collect::<Vec<u8>>();
    let idx = |sizes: &[usize], elements: &[u8]| {
        let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()).collect();
        [&[0, 0, 8, sizes.len() as u8][..], &sizes_bytes, elements].concat()
    };
    fs::create_dir_all(folder).expect("makes");
    for (name, count) in [("train", 300), ("t10k", 200)] {
        let labels: Vec<u8> = pixels(count).iter().map(|&v| u8::from(v > 127)).collect();
        for (kind, bytes) in
            [("images-idx3", idx(&[count, 8, 8], &pixels(64 * count))), ("labels-idx1", idx(&[count], &labels))]
        {
            fs::write(folder.join(format!("{name}-{kind}-ubyte")), bytes).expect("writes");
        }
    }
}

#[test]
fn one_image_for_all_seeds_is_exported_by_force_only() {
    let folder = folder();
    let here = folder.path();
    // A discriminator that stands still drives a fast generator into saturation.
    let mut run = tiny(here, "run", 200);
    run.args(["--set", "optimizer.generator.lr=1.0", "--set", "optimizer.generator.beta1=0.9"]);
    run.args(["--set", "optimizer.discriminator.lr=1e-9"]);
    let said = fail(run.args(["--export", "gen.onnx"]), 1);
    assert!(said.contains("same image") && said.contains("--force"), "{said}");
    assert!(!here.join("gen.onnx").exists());
    let last = log(&here.join("run")).pop().expect("a line");
    let figure = |name: &str| last[name].as_f64().unwrap_or_else(|| panic!("no {name} in {last}"));
    assert!(figure("diversity") < 0.5 && figure("data_diversity") > 30., "{last}");
    let said = succeed(export(trainer(here).args(["--run", "run"]), "gen.onnx"));
    assert!(said.contains("grey levels between two samples"), "{said}");
}

#[test]
fn the_best_checkpoint_is_kept_and_exported() {
    let folder = folder();
    let here = folder.path();
    grey_pixels(&here.join("data"));
    let cache = here.join("cache");
    let evaluated = |run: &str, steps: u64| {
        let mut command = tiny(here, run, steps);
        command.env("KILN_CACHE", &cache).args(["--data", "data", "--set", "training.evaluate_kimg=0.05"]);
        command.args(["--set", "training.evaluate_samples=64"]);
        command
    };
    let said = succeed(export(&mut evaluated("run", 60), "best.onnx"));
    let run = here.join("run");
    // Ticks are of twenty images: those that pass fifty, and the last.
    let figures: Vec<(u64, f64)> = log(&run)
        .iter()
        .filter_map(|line| Some((line["images"].as_u64()?, line["frechet_distance"].as_f64()?)))
        .collect();
    assert_eq!(figures.iter().map(|(images, _)| *images).collect::<Vec<_>>(), [60, 100, 160, 200, 240]);
    let (images, distance) =
        figures.into_iter().reduce(|best, other| if other.1 < best.1 { other } else { best }).expect("figures");
    let best = run.join(format!("best-{images:09}.safetensors"));
    assert!(best.is_file() && checkpoints(&run).len() == 2, "the best is after {images} images");
    if images < 240 {
        assert!(said.contains(&format!("the best checkpoint: {images} images")), "{said}");
    }
    let info = succeed(sample(here).args(["best.onnx", "--info"]));
    assert!(info.contains(&format!("quality    Fréchet distance {distance:.3} (64 samples")), "{info}");
    assert!(info.contains(&format!("trained    on {images} images")) && info.contains("data       data "), "{info}");

    // The live average is what is exported, but for f16: evaluated as a file, it has nearly the same distance.
    let json = |arguments: &[&str]| -> f64 {
        let mut command = trainer(here);
        command.env("KILN_CACHE", &cache).args(["evaluate", "best.onnx", "--data", "data", "--json"]).args(arguments);
        let said = succeed(&mut command);
        let line = said.lines().find(|line| line.starts_with('{')).expect("an object");
        serde_json::from_str::<serde_json::Value>(line).expect("JSON")["frechet_distance"].as_f64().expect("a number")
    };
    let found = json(&["--count", "64"]);
    assert!((found - distance).abs() < 0.02 * distance, "{found} of the file, {distance} of the live average");

    // Either can be taken, and a resumed run comes to the same.
    succeed(export(trainer(here).args(["--run", "run", "--checkpoint", "last"]), "last.onnx"));
    let info = succeed(sample(here).args(["last.onnx", "--info"]));
    assert!(info.contains("trained    on 240 images"), "{info}");
    // Between 150 images and the tick that passes them.
    succeed(&mut evaluated("short", 39));
    succeed(resume(here, "short").env("KILN_CACHE", &cache).args(["--steps", "60"]));
    let same = |line: &serde_json::Value| (line["images"].clone(), line["frechet_distance"].clone());
    let short: Vec<_> = log(&here.join("short")).iter().filter(|line| line["images"] != 156).map(same).collect();
    assert_eq!(short, log(&run).iter().map(same).collect::<Vec<_>>(), "other evaluations after a resume");
    // Its end was evaluated, too, and may have been the best.
    let again = here.join("short").join(best.file_name().expect("a name"));
    let end = here.join("short/best-000000156.safetensors");
    assert!(end.is_file() || read(again) == read(best), "another best checkpoint after a resume");
}

#[test]
fn data_without_labels_is_evaluated_by_features_of_random_weights() {
    let folder = folder();
    let here = folder.path();
    grey_pixels(&here.join("data"));
    for name in ["train", "t10k"] {
        fs::remove_file(here.join(format!("data/{name}-labels-idx1-ubyte"))).expect("removes");
    }
    let mut command = tiny(here, "run", 20);
    command.args(["--data", "data", "--set", "training.evaluate_kimg=0.05", "--set", "training.evaluate_samples=64"]);
    let cache = here.join("cache");
    succeed(export(command.env("KILN_CACHE", &cache), "gen.onnx"));
    let log = log(&here.join("run"));
    let evaluated: Vec<_> = log.iter().filter(|line| line["frechet_distance"].is_f64()).collect();
    assert!(!evaluated.is_empty() && evaluated.iter().all(|line| line["class_kl"].is_null()), "{evaluated:?}");

    let evaluate = |arguments: &[&str]| {
        let mut command = trainer(here);
        command.env("KILN_CACHE", &cache).args(["evaluate", "gen.onnx", "--data", "data", "--count", "64"]);
        succeed(command.args(arguments))
    };
    let table = evaluate(&[]);
    assert!(table.contains("of random weights") && !table.contains("KL") && !table.contains("samples %"), "{table}");
    let said = evaluate(&["--json"]);
    let line = said.lines().find(|line| line.starts_with('{')).expect("an object");
    let found: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(found["classifier"]["trained"], false);
    assert!(found["class_kl"].is_null() && found["class_counts"].as_array().is_some_and(Vec::is_empty), "{found}");
    let (of_file, live) = (found["frechet_distance"].as_f64(), evaluated.last().map(|line| &line["frechet_distance"]));
    let (of_file, live) = (of_file.expect("a number"), live.and_then(serde_json::Value::as_f64).expect("a number"));
    assert!((of_file - live).abs() < 0.02 * live, "{of_file} of the file, {live} of the live average");
}
