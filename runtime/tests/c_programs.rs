//! Programs in C, C++ and Python that were written from the header alone.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

#[path = "common/c_programs.rs"]
mod c_programs;
mod common;

use c_programs::{Kind, compile, compiler, libraries, said, succeed};
use common::{draw, fixture, open};
use runtime::{Options, Request, Tour, Walk, fill_latent, fill_truncated_towards, walk};
use std::path::Path;
use std::process::Command;

const MODEL: &str = "dcgan-f32.onnx";
const SEEDS: [u64; 3] = [5, 1, 9];

fn source(name: &str) -> String {
    format!("{}/tests/c/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Latents of the seeds 5 and 1, one in the middle, and one of seed 9 around that.
fn latents() -> (Vec<f32>, Vec<f32>) {
    let (mut z, mut mean) = (vec![0f32; 3 * 48], vec![0f32; 48]);
    let (a, rest) = z.split_at_mut(48);
    let (b, c) = rest.split_at_mut(48);
    fill_latent(5, 0, a);
    fill_latent(1, 0, b);
    walk(a, b, 0.5, &mut mean);
    fill_truncated_towards(9, 0, 0.5, &mean, c);
    (z, mean)
}

#[test]
fn the_c_program_uses_every_function() {
    let header = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/kiln.h")).expect("reads");
    let program = std::fs::read_to_string(source("everything.c")).expect("reads");
    let declared = header.lines().filter(|line| !line.starts_with("//")).filter_map(|line| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        name.starts_with("kiln_").then_some(name)
    });
    let (used, missing): (Vec<&str>, Vec<&str>) = declared.partition(|name| program.contains(&format!("{name}(")));
    assert!(used.len() > 30 && missing.is_empty(), "tests/c/everything.c lacks {missing:?}");

    let Some(compiler) = compiler("CC", "cc") else { return };
    let ((z, mean), mut generator) = (latents(), open(MODEL, &Options::default()));
    let around = |request: Request<'static>| request.truncation(0.5);
    let mut expected: Vec<u8> = Vec::new();
    let seed = |seed: u64| Request::seed(seed);
    let walk = Walk { seed: 0, first_index: 0, steps: 3 };
    for (request, n) in [
        (seed(7), 2),
        (Request::latents(&z), 3),
        (Request::tour(Tour::latents(&z, 3).closed()).first(5), 4),
        (around(Request::seeds(&SEEDS)).truncation_mean(&mean), 3),
        (around(Request::tour(Tour::seeds(&SEEDS, 3))).truncation_mean(&mean), 4),
        (Request::walk(walk), 3),
        (seed(8), 3),
    ] {
        expected.extend(draw::<u8>(&mut generator, &request, n));
    }
    generator.swap_weights(fixture("pair.safetensors")).unwrap_or_else(|e| panic!("{e}"));
    expected.extend(draw::<u8>(&mut generator, &seed(7), 2));

    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c99", "tests/c/everything.c", kind, folder.path());
        let out = folder.path().join(format!("{kind:?}.bin"));
        let mut command = Command::new(&program);
        command.args([fixture(MODEL), fixture("pair.safetensors"), fixture("sprites-f16.onnx"), out.clone()]);
        let said = said(&succeed(&mut command));
        assert!(said.contains("class 1: red fox\n") && said.contains("ONNX Runtime: 1."), "{said}");
        assert!(std::fs::read(out).expect("reads") == expected, "{kind:?}: other images");
    }
}

#[test]
fn the_readmes_program_draws_and_says_why_it_cannot() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("reads");
    let program = readme.split("```c\n").nth(1).and_then(|after| after.split("```").next()).expect("a program");
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("app.c");
    std::fs::write(&source, program).expect("writes");
    let program = compile(&compiler, "-std=c99", source.to_str().expect("a name"), Kind::Static, folder.path());
    let mut command = Command::new(program);
    command.current_dir(folder.path());
    let output = command.output().expect("starts");
    assert_eq!((output.status.code(), said(&output).contains("gen.onnx")), (Some(1), true), "{}", said(&output));
    std::fs::copy(fixture(MODEL), folder.path().join("gen.onnx")).expect("copies");
    assert_eq!(said(&succeed(&mut command)), "");
}

#[test]
fn the_cpp_program_draws_in_many_threads_and_closes_under_who_waits() {
    let Some(compiler) = compiler("CXX", "c++") else { return };
    let expected: Vec<u8> = draw(&mut open(MODEL, &Options::default()), &Request::seed(7), 24);
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(&compiler, "-std=c++17", "tests/c/threads.cpp", Kind::Static, folder.path());
    let out = folder.path().join("out.bin");
    let output = succeed(Command::new(program).args([fixture(MODEL), fixture("slow.onnx"), out.clone()]));
    assert_eq!(said(&output), "who waited has status 6\n");
    assert!(std::fs::read(out).expect("reads") == expected);
}

#[test]
fn the_python_program_draws_what_the_crate_draws() {
    let name = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&name).args(["-c", "import ctypes"]).output();
    match has {
        Ok(output) if output.status.success() && cfg!(unix) => (),
        Ok(output) => return eprintln!("not tested: {name} has no ctypes, or this is no Unix: {}", said(&output)),
        Err(e) => return eprintln!("not tested: there is no {name} ({e}); PYTHON can name another"),
    }
    let (_, mean) = latents();
    let tour = Request::tour(Tour::seeds(&SEEDS, 3).closed()).truncation(0.5).truncation_mean(&mean);
    let expected: Vec<u8> = draw(&mut open(MODEL, &Options::default()), &tour, 4);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.bin");
    let library = libraries().join(format!("libruntime{}", std::env::consts::DLL_SUFFIX));
    let mut command = Command::new(name);
    command.arg(source("draw.py")).args([library, fixture(MODEL), out.clone()]);
    let said = said(&succeed(&mut command));
    assert!(said.contains("3 x 20 x 12, a recipe of "), "{said}");
    assert!(std::fs::read(out).expect("reads") == expected.repeat(3));
}
