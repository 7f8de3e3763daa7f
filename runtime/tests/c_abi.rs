//! The programs of examples/c, compiled with the system's compilers against both kinds of library, draw what the crate
//! draws.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

#[path = "common/c_programs.rs"]
mod c_programs;

use c_programs::{Kind, compile, compiler, said, succeed};
use runtime::{Generator, Options, Request, Walk};
use std::path::Path;
use std::process::Command;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f16.onnx");
/// Channels, height and width of its images.
const SHAPE: [usize; 3] = [3, 20, 12];

fn refused(program: &Path, arguments: &[&str], code: i32, words: &str) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program:?}: {e}"));
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    assert!(said(&output).contains(words), "{} lacks {words:?}", said(&output));
}

#[test]
fn the_c_program_draws_what_the_crate_draws() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let mut generator = Generator::open(MODEL, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let [channels, height, width] = SHAPE;
    let mut images = vec![0u8; 5 * channels * height * width];
    generator.sample(11, 0, &mut images).unwrap_or_else(|e| panic!("{e}"));
    let mut expected = format!("P6\n{width} {}\n255\n", 5 * height).into_bytes();
    for image in images.chunks_exact(channels * height * width) {
        for pixel in 0..height * width {
            expected.extend((0..channels).map(|channel| image[channel * height * width + pixel]));
        }
    }

    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c99", "examples/c/sample.c", kind, folder.path());
        let picture = folder.path().join(format!("{kind:?}.ppm"));
        let output = succeed(Command::new(&program).arg(MODEL).arg(&picture).args(["11", "5"]));
        assert!(said(&output).contains("images of 3 x 20 x 12, latents of 48, 0 classes, half"), "{}", said(&output));
        assert!(std::fs::read(&picture).expect("reads") == expected, "{kind:?}: other images");
        refused(&program, &[], 2, "usage");
        refused(&program, &["nothing.onnx", "x.ppm"], 1, "nothing.onnx: cannot be opened");
        refused(&program, &[MODEL, "x.ppm", "1", "17"], 1, "allowed is 1 to 16");
    }
}

#[test]
fn the_cpp_program_shows_the_frames_of_a_walk() {
    let Some(compiler) = compiler("CXX", "c++") else { return };
    let mut generator = Generator::open(MODEL, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let mut expected = vec![0u8; 25 * SHAPE.iter().product::<usize>()];
    let walk = Request::walk(Walk { seed: 7, first_index: 0, steps: 10 });
    generator.draw(&walk, &mut expected).unwrap_or_else(|e| panic!("{e}"));

    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c++17", "examples/c/stream.cpp", kind, folder.path());
        let raw = folder.path().join(format!("{kind:?}.raw"));
        let output = succeed(Command::new(&program).args([MODEL, "25"]).arg(&raw));
        assert!(said(&output).contains("images of 3 x 20 x 12"), "{}", said(&output));
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 2 + 25 * 21);
        assert!(std::fs::read(&raw).expect("reads") == expected, "{kind:?}: other frames");
        refused(&program, &[], 2, "usage");
        refused(&program, &["nothing.onnx"], 1, "nothing.onnx: cannot be opened");
    }
}

/// As a plug-in brings it along: beside the shared library that Kiln is a part of, where no program looks.
#[test]
#[cfg(target_os = "linux")]
fn onnx_runtime_is_found_beside_the_library_that_holds_kiln() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let engine = &runtime::engine_info().unwrap_or_else(|e| panic!("{e}")).path;
    let [programs, plug_in] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let program = compile(&compiler, "-std=c99", "examples/c/sample.c", Kind::Shared, programs.path());
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, plug_in.path().join(name)).expect("copies");
    };
    copy(&c_programs::libraries().join("libruntime.so"), "libruntime.so");
    let draw = || {
        let mut command = Command::new(&program);
        // No library of the user's is found.
        command.env_clear().env("LD_LIBRARY_PATH", plug_in.path()).args([MODEL, "a.ppm"]);
        command.current_dir(programs.path()).output().expect("starts")
    };
    let without = said(&draw());
    if !without.contains("no usable ONNX Runtime library") {
        eprintln!("not tested: where a plug-in's library is looked for, as the system has one");
        return;
    }
    let place =
        format!("next to the library that holds Kiln, {}", plug_in.path().canonicalize().expect("is there").display());
    assert!(without.contains(&place), "{without} lacks {place}");
    copy(engine, "libonnxruntime.so");
    let output = draw();
    assert!(output.status.success(), "{}", said(&output));
}
