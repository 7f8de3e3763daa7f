//! The programs of examples/c, compiled with the system's compilers against both kinds of library, draw what the crate draws.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

use runtime::{Generator, Options, Request, Walk};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f16.onnx");
/// Channels, height and width of its images.
const SHAPE: [usize; 3] = [3, 20, 12];

/// What a program that links the static library must link besides: the system's part of Rust's standard library.
const SYSTEM: &[&str] =
    if cfg!(target_vendor = "apple") { &["-liconv", "-lm"] } else { &["-lpthread", "-ldl", "-lm", "-lrt", "-lutil"] };

#[derive(Clone, Copy, Debug)]
enum Kind {
    Shared,
    Static,
}

/// The system's compiler, or nothing where there is none, which is said.
fn compiler(variable: &str, usual: &str) -> Option<String> {
    let name = std::env::var(variable).unwrap_or_else(|_| usual.into());
    match Command::new(&name).arg("--version").output() {
        Ok(_) if cfg!(unix) => Some(name),
        Ok(_) => {
            eprintln!("not tested: {name} is there, but its command line and libraries are known on Unix alone");
            None
        }
        Err(e) => {
            eprintln!("not tested: there is no compiler {name} ({e}); {variable} can name another");
            None
        }
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", said(&output));
    output
}

/// Builds both libraries by the README's command, in the profile of this test, and gives their folder. The manifest names
/// neither kind, because then every program that depends on the crate would build them.
fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap_or_else(|e| panic!("this test has no file: {e}"));
        let profile =
            match test.parent().and_then(Path::parent).and_then(Path::file_name).and_then(|name| name.to_str()) {
                Some("debug") => "dev",
                Some(profile) => profile,
                None => panic!("{test:?} is not where cargo puts tests"),
            };
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
            "rustc",
            "-p",
            "runtime",
            "--lib",
            "--no-default-features",
        ]);
        cargo.args(["--features", "capi", "--crate-type", "cdylib,staticlib", "--profile", profile]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        let output = succeed(&mut cargo);
        // A line of JSON for each thing built, with the files' full names in quotes.
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let file = |name: &str| {
            let found = lines.split('"').map(Path::new).find(|path| path.is_file() && path.ends_with(name));
            found.unwrap_or_else(|| panic!("cargo built no {name}:\n{lines}")).to_owned()
        };
        let (shared, r#static) = (file(&format!("libruntime{}", std::env::consts::DLL_SUFFIX)), file("libruntime.a"));
        assert_eq!(shared.parent(), r#static.parent());
        r#static.parent().unwrap_or_else(|| panic!("{} lies nowhere", r#static.display())).to_owned()
    })
}

/// Compiles an example, and gives the program.
fn compile(compiler: &str, standard: &str, source: &str, kind: Kind, folder: &Path) -> PathBuf {
    let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), libraries());
    let program = folder.join(format!("{source}-{kind:?}"));
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic"]);
    command.arg("-I").arg(root.join("include")).arg(root.join("examples/c").join(source)).arg("-o").arg(&program);
    match kind {
        Kind::Shared => {
            command.arg("-L").arg(libraries).arg("-lruntime").arg(format!("-Wl,-rpath,{}", libraries.display()))
        }
        Kind::Static => command.arg(libraries.join("libruntime.a")).args(SYSTEM),
    };
    // C++'s threads need it on older systems.
    command.arg("-pthread");
    succeed(&mut command);
    program
}

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
        let program = compile(&compiler, "-std=c99", "sample.c", kind, folder.path());
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
        let program = compile(&compiler, "-std=c++17", "stream.cpp", kind, folder.path());
        let raw = folder.path().join(format!("{kind:?}.raw"));
        let output = succeed(Command::new(&program).args([MODEL, "25"]).arg(&raw));
        assert!(said(&output).contains("images of 3 x 20 x 12"), "{}", said(&output));
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 2 + 25 * 21);
        assert!(std::fs::read(&raw).expect("reads") == expected, "{kind:?}: other frames");
        refused(&program, &[], 2, "usage");
        refused(&program, &["nothing.onnx"], 1, "nothing.onnx: cannot be opened");
    }
}
