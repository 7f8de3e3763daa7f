//! What is refused is refused before anything is written, and nothing that was there is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::runs::{checkpoints, export, resume, tiny};
use tests::{fail, folder, read, succeed, trainer};

/// Every file of a folder with its bytes.
fn all(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).expect("lists").map(|entry| entry.expect("lists").path());
    paths.map(|path| (path.clone(), read(path))).collect()
}

#[test]
fn a_refused_resume_leaves_the_run_as_it_was() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "run", 20));
    let run = here.join("run");
    let before = all(&run);
    for (arguments, words) in [
        (&["--set", "generator.width=8"][..], "another recipe: generator.width is 4 in it and 8 here"),
        (&["--set", "training.batch=8"], "training.batch"),
        (&["--set", "optimizer.generator.kind=sgd"], "unknown field"),
        (&["--set", "training.kimg=1e300"], "allowed"),
        (&["--steps", "100", "--export", "no/such/folder/g.onnx"], "does not exist"),
    ] {
        let said = fail(resume(here, "run").args(arguments), 1);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(all(&run) == before, "{arguments:?} has changed the run");
    }
    // And it can be resumed and exported after all that.
    succeed(export(resume(here, "run").args(["--steps", "24"]), "gen.safetensors"));
    assert!(read(run.join("checkpoint-000000096.safetensors")).len() > 1000);
}

#[test]
fn a_recipe_is_no_run() {
    let folder = folder();
    let here = folder.path();
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tutorial");
    fs::create_dir(here.join("zoo")).expect("makes");
    fs::copy(zoo.join("recipe.toml"), here.join("zoo/recipe.toml")).expect("copies");
    let before = all(&here.join("zoo"));
    for arguments in [&["--resume"][..], &["--resume", "--set", "export.precision=f32"], &["--export", "x.onnx"]] {
        let said = fail(trainer(here).args(["--run", "zoo"]).args(arguments), 1);
        assert!(said.contains("no checkpoint") && said.contains("--recipe"), "{said}");
        assert!(all(&here.join("zoo")) == before, "{arguments:?} has changed the zoo");
    }
}

/// A run of a version whose recipes were others.
#[test]
fn a_run_of_another_version_is_told_from_a_damaged_one() {
    let folder = folder();
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("makes");
    fs::write(run.join("recipe.toml"), "name = \"digits\"\nseed = 0\nsome_older_key = 1\n").expect("writes");
    let header = r#"{"__metadata__":{"kiln.checkpoint":"2"}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(run.join("checkpoint-000002.safetensors"), bytes).expect("writes");
    let before = all(&run);
    for arguments in [&["--resume"][..], &["--export", "x.onnx"]] {
        let said = fail(trainer(folder.path()).args(["--run", "run"]).args(arguments), 1);
        assert!(said.contains("has format 2") && said.contains("older formats are read by"), "{said}");
    }
    assert!(all(&run) == before);
}

#[test]
fn other_data_is_told_from_damage() {
    let folder = folder();
    let here = folder.path();
    let write = |name: &str, images: usize, side: usize, value: u8| {
        let bytes = images * side * side;
        let header =
            format!(r#"{{"images":{{"dtype":"U8","shape":[{images},{side},{side},1],"data_offsets":[0,{bytes}]}}}}"#);
        let pixels: Vec<u8> = (0..bytes).map(|i| (i * 7 % 251) as u8 ^ value).collect();
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &pixels].concat();
        fs::write(here.join(name), file).expect("writes");
    };
    write("a.safetensors", 20, 28, 0);
    write("other.safetensors", 20, 28, 1);
    write("more.safetensors", 21, 28, 0);
    write("larger.safetensors", 20, 32, 0);
    succeed(tiny(here, "run", 10).args(["--data", "a.safetensors"]));
    for (data, words) in [("other", "data.sha256"), ("more", "data."), ("larger", "data.")] {
        let said = fail(resume(here, "run").args(["--data", &format!("{data}.safetensors")]), 1);
        assert!(said.contains("other data") && said.contains(words) && !said.contains("damaged"), "{data}: {said}");
    }
    // The same data under another name is the same data.
    fs::rename(here.join("a.safetensors"), here.join("b.safetensors")).expect("renames");
    let said = fail(&mut resume(here, "run"), 1);
    assert!(said.contains("a.safetensors"), "{said}");
    succeed(resume(here, "run").args(["--data", "b.safetensors", "--steps", "12"]));
}

#[test]
fn lengths_are_whole_numbers_from_the_command_line_to_the_end() {
    let folder = folder();
    let here = folder.path();
    let said = succeed(tiny(here, "run", 161).args(["--batch", "100", "--set", "training.checkpoint_kimg=1000"]));
    assert!(said.contains("trained to 16100 images"), "{said}");
    succeed(resume(here, "run").args(["--steps", "163"]));
    assert_eq!(checkpoints(&here.join("run")).last(), Some(&here.join("run/checkpoint-000016300.safetensors")));
    for (length, code, words) in [
        (["--steps", "288230376151711744"], 2, "--steps is 288230376151711744, allowed is up to 15625000000"),
        (["--steps", "99999999999"], 2, "allowed is up to"),
        (["--steps", "0"], 2, "--steps"),
        (["--kimg", "nan"], 1, "allowed"),
        (["--kimg", "-1"], 1, "allowed is up to"),
        (["--kimg", "1e10"], 1, "allowed is up to 1000000000 kimg"),
        (["--kimg", "0.0005"], 1, "whole numbers of images"),
    ] {
        let said = fail(trainer(here).args(length), code);
        assert!(said.contains(words), "{length:?}: {said}");
    }
    assert!(!here.join("runs").exists());
}

/// Learning rates far too large for the first: what is no number is never kept, and what was kept before is.
#[test]
fn numbers_that_are_none_end_a_run_and_are_not_kept() {
    let folder = folder();
    let here = folder.path();
    let mut wild = tiny(here, "wild", 400);
    for role in ["generator", "discriminator"] {
        for (key, value) in [("lr", "1.0"), ("beta1", "0.999"), ("beta2", "0.0"), ("eps", "1e-16")] {
            wild.args(["--set", &format!("optimizer.{role}.{key}={value}")]);
        }
    }
    let said = fail(export(wild.args(["--set", "training.checkpoint_kimg=0.004"]), "wild.onnx"), 1);
    assert!(said.contains("diverged") && said.contains("--resume"), "{said}");
    assert!(!here.join("wild.onnx").exists());
    // What is there is whole, though no learning rate mends it.
    let said = fail(&mut resume(here, "wild"), 1);
    assert!(said.contains("diverged") && said.contains("going on at") && !said.contains("damaged"), "{said}");
}

#[test]
fn a_run_may_learn_on_in_another_way() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "run", 10));
    let changes = ["--set", "optimizer.generator.lr=1e-4", "--set", "optimizer.discriminator_clip.norm=5.0"];
    let said = succeed(resume(here, "run").args(changes).args(["--steps", "20"]));
    assert!(said.contains("changed after 40 images: optimizer.generator.lr from 0.002 to 0.0001"), "{said}");
    let changes = String::from_utf8(read(here.join("run/changes.jsonl"))).expect("text");
    assert!(
        changes.contains(r#"{"images":40,"key":"optimizer.generator.lr","from":"0.002","to":"0.0001"}"#),
        "{changes}"
    );
    // It stays so, and is not told again.
    let said = succeed(resume(here, "run").args(["--steps", "22"]));
    assert!(said.contains("training.kimg") && !said.contains("optimizer.generator.lr"), "{said}");
}

#[test]
fn what_would_be_ignored_is_refused() {
    let folder = folder();
    let here = folder.path();
    succeed(&mut tiny(here, "run", 4));
    let said = fail(trainer(here).args(["--run", "run", "--export", "x.onnx", "--recipe", "tutorial"]), 2);
    assert!(said.contains("--recipe"), "{said}");
    let said = fail(trainer(here).args(["--run", "run", "--export", "x.onnx", "--checkpoint", "best"]), 1);
    assert!(said.contains("training.evaluate_kimg"), "{said}");
    let said = fail(trainer(here).args(["--run", "run", "--checkpoint", "best"]), 2);
    assert!(said.contains("--export"), "{said}");
}
