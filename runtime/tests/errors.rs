//! Every kind of error, from a file or a condition that an application may meet. That a call is ended before its time is in
//! `limits`, a fork in `fork`.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

mod common;

use common::{field, fixture};
use runtime::{Error, ErrorKind, Generator, Options, Provider, Request, Start, Stream};
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIGITS: &str = "../../../models/digits/gen.onnx";

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn refusal(path: impl AsRef<Path>) -> Error {
    let path = path.as_ref();
    // Which start it is makes no difference to what is wrong with a file.
    let [steady, fast] = [Start::Steady, Start::Fast].map(|start| Generator::open(path, &Options { start, ..cpu() }));
    let error = steady.expect_err("must be refused");
    if error.kind() != ErrorKind::SelfTest {
        let fast = fast.expect_err("must be refused");
        assert_eq!((fast.kind(), fast.to_string()), (error.kind(), error.to_string()));
    }
    error
}

/// With which a file is looked at before a library is.
fn cpu() -> Options {
    Options { provider: Provider::Cpu, ..Options::default() }
}

#[track_caller]
fn is(error: &Error, kind: ErrorKind, file: &str, words: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.path().is_some_and(|path| path.ends_with(file)), "{error}");
    assert_eq!(error.to_string(), format!("model {}: {}", error.path().expect("a path").display(), error.what()));
    assert!(error.what().contains(words), "{error} lacks {words:?}");
}

/// A folder to put files into that are wrong.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.at(name), content).expect("writes");
        self.at(name)
    }
}

#[test]
fn files_that_are_not_there() {
    let folder = Folder::new();
    let error = refusal(folder.at("none.onnx"));
    is(&error, ErrorKind::NotFound, "none.onnx", "cannot be opened");
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).expect("the system's");
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains(&source.to_string()), "{error}");
    // A part of the path that is a file.
    let file = folder.with("file", "x");
    is(&refusal(file.join("gen.onnx")), ErrorKind::NotFound, "gen.onnx", "cannot be opened");
    // The weights of a file that is there.
    is(&refusal(folder.with("pair.onnx", bytes("pair.onnx"))), ErrorKind::NotFound, "pair.onnx", "pair.safetensors");
    let mut generator = common::open("pair.onnx", &Options::default());
    let error = generator.swap_weights(folder.at("none.safetensors")).expect_err("not there");
    is(&error, ErrorKind::NotFound, "none.safetensors", "cannot be opened");
}

#[test]
#[cfg(unix)]
fn what_the_system_does_not_let_be_read() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new();
    symlink("loop.onnx", folder.at("loop.onnx")).expect("a link");
    let error = refusal(folder.at("loop.onnx"));
    is(&error, ErrorKind::Io, "loop.onnx", "cannot be opened");
    assert!(error.source().is_some());

    let closed = folder.with("closed.onnx", bytes("trivial.onnx"));
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).expect("sets");
    match Generator::open(&closed, &cpu()) {
        Err(error) => is(&error, ErrorKind::Permission, "closed.onnx", "cannot be opened"),
        Ok(_) => {
            // Root may read anything; another user runs this test once more.
            use std::os::unix::process::CommandExt;
            std::fs::set_permissions(folder.0.path(), PermissionsExt::from_mode(0o755)).expect("sets");
            let mut child = again("the_file_in_the_environment");
            child.env("KILN_TEST_FILE", &closed).env("KILN_TEST_KIND", "Permission").uid(65534);
            match child.output() {
                Ok(output) => ended_well(&output),
                Err(e) => eprintln!("not tested: a file without permission, as no other user can run this test ({e})"),
            }
        }
    }
}

/// This test program once more, with one of its tests.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", test, "--nocapture"]);
    command
}

fn ended_well(output: &std::process::Output) {
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// What other tests run in a process of its own, where conditions are others.
#[test]
fn the_file_in_the_environment() {
    let Some(file) = std::env::var_os("KILN_TEST_FILE") else { return };
    let expected = std::env::var("KILN_TEST_KIND").expect("a kind");
    let max_batch = std::env::var("KILN_TEST_BATCH").map_or(1, |n| n.parse().expect("a number"));
    let error = Generator::open(file, &Options { max_batch, ..cpu() })
        .and_then(|mut generator| generator.sample(0, 0, &mut vec![0u8; max_batch * generator.info().image.len()]))
        .expect_err("must fail");
    assert_eq!(format!("{:?}", error.kind()), expected, "{error}");
}

#[test]
fn a_process_without_a_library() {
    let mut child = again("the_file_in_the_environment");
    child.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    child.env("KILN_TEST_FILE", fixture("trivial.onnx")).env("KILN_TEST_KIND", "Engine");
    ended_well(&child.output().expect("starts"));
}

/// A batch takes eight gigabytes where the process may have four.
#[test]
#[cfg(target_os = "linux")]
fn onnx_runtime_that_fails_in_a_call() {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -v 4000000 && exec "$@""#, "sh"]).arg(std::env::current_exe().expect("a path"));
    shell.args(["--exact", "the_file_in_the_environment", "--nocapture"]);
    shell.env("KILN_TEST_FILE", fixture("wide.onnx")).env("KILN_TEST_KIND", "Run").env("KILN_TEST_BATCH", "512");
    ended_well(&shell.output().expect("starts"));
}

#[test]
fn what_is_no_model() {
    let folder = Folder::new();
    let png = std::fs::read(fixture("../../../models/digits/samples.png")).expect("reads");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let found: [(&str, &[u8]); 9] = [
        ("empty.onnx", b""),
        ("page.onnx", b"<!DOCTYPE html>\n<html><body>404 not found</body></html>\n"),
        ("text.onnx", b"{\"error\": \"Invalid username or password.\"}"),
        ("picture.onnx", &png),
        ("archive.onnx", b"PK\x03\x04\x14\0\0\0\x08\0 gen.onnx"),
        ("pointer.onnx", pointer.as_bytes()),
        ("zeros.onnx", &[0; 4096]),
        // A message of another kind, or none: it begins as an ONNX file does.
        ("eight.onnx", &[8, 7, 8, 7, 8, 7, 0]),
        ("weights.onnx", &bytes("pair.safetensors")),
    ];
    for (name, content) in found {
        is(&refusal(folder.with(name, content)), ErrorKind::NotAModel, name, "is");
    }
    std::fs::create_dir(folder.at("folder.onnx")).expect("a folder");
    is(&refusal(folder.at("folder.onnx")), ErrorKind::NotAModel, "folder.onnx", "is no file");
    // In the place of weights.
    let model = folder.with("pair.onnx", bytes("pair.onnx"));
    for (name, content) in found.into_iter().filter(|(name, _)| *name != "weights.onnx") {
        folder.with("pair.safetensors", content);
        is(
            &refusal(&model),
            ErrorKind::NotAModel,
            "pair.safetensors",
            if name == "empty.onnx" { "no file" } else { "is" },
        );
    }
    folder.with("pair.safetensors", bytes("pair.onnx"));
    is(&refusal(&model), ErrorKind::NotAModel, "pair.safetensors", "is no safetensors file");
}

#[test]
fn models_of_others() {
    is(&refusal(fixture("no-metadata.onnx")), ErrorKind::Foreign, "no-metadata.onnx", "kiln.format");
    // With an operator that is not known, too: whose file it is comes first.
    let folder = Folder::new();
    let mut other = bytes("no-metadata.onnx");
    let at = other.windows(4).position(|window| window == b"Tanh").expect("is there");
    other[at..at + 4].copy_from_slice(b"Conk");
    is(&refusal(folder.with("other.onnx", &other)), ErrorKind::Foreign, "other.onnx", "");
    let domain = [&other[..], &field(8, &field(1, b"com.example"))].concat();
    is(&refusal(folder.with("domain.onnx", domain)), ErrorKind::Foreign, "domain.onnx", "com.example");
}

#[test]
fn generators_that_are_damaged() {
    let folder = Folder::new();
    for (name, whole) in [("digits", bytes(DIGITS)), ("fixture", bytes("dcgan-f16.onnx"))] {
        // A download that was cut off.
        for end in [3, 40, whole.len() / 3, whole.len() - 1000, whole.len() - 1] {
            is(&refusal(folder.with("cut.onnx", &whole[..end])), ErrorKind::Damaged, "cut.onnx", "damaged");
        }
        assert!(Generator::open(folder.with(name, whole), &cpu()).is_ok());
    }
    let mut flipped = bytes(DIGITS);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    is(&refusal(folder.with("bit.onnx", flipped)), ErrorKind::Damaged, "bit.onnx", "is damaged: the weight");
    let mut recipe = bytes(DIGITS);
    let at = recipe.windows(9).position(|window| window == b"[training").expect("has a recipe");
    recipe[at + 1] = b'T';
    is(&refusal(folder.with("recipe.onnx", recipe)), ErrorKind::Damaged, "recipe.onnx", "kiln.recipe_sha256");
    let (model, weights) = (folder.with("pair.onnx", bytes("pair.onnx")), bytes("pair.safetensors"));
    for end in [100, weights.len() / 2, weights.len() - 1] {
        folder.with("pair.safetensors", &weights[..end]);
        is(&refusal(&model), ErrorKind::Damaged, "pair.safetensors", "damaged");
    }
}

#[test]
fn what_is_there_and_cannot_be_run() {
    for (name, words) in [
        ("wrong-rank.onnx", ""),
        ("other-latent.onnx", ""),
        ("outside-branch.onnx", ""),
        ("huge-image.onnx", "kiln.image_shape"),
        ("nan-self-test.onnx", "kiln.self_test"),
    ] {
        is(&refusal(fixture(name)), ErrorKind::Unsupported, name, words);
    }
    let mut generator = common::open("dcgan-f16.onnx", &Options::default());
    let error = generator.swap_weights(fixture("pair.safetensors")).expect_err("of another precision");
    is(&error, ErrorKind::Unsupported, "pair.safetensors", "another architecture");
    is(&refusal(fixture("failing-self-test.onnx")), ErrorKind::SelfTest, "failing-self-test.onnx", "self-test");
}

#[test]
fn files_of_later_versions() {
    let folder = Folder::new();
    let mut next = bytes("trivial.onnx");
    let at = next.windows(11).position(|window| window == b"kiln.format").expect("is there");
    assert_eq!(next[at + 11..at + 14], *b"\x12\x011");
    next[at + 13] = b'2';
    let error = refusal(folder.with("next.onnx", &next));
    is(&error, ErrorKind::NewerFormat, "next.onnx", "says that this file has format 2; this version reads 1: update");
    next[at + 13] = b'0';
    is(
        &refusal(folder.with("none.onnx", &next)),
        ErrorKind::Unsupported,
        "none.onnx",
        "is \"0\", this version reads 1",
    );

    let with = |key: &str| {
        let entry = field(14, &[field(1, key.as_bytes()), field(2, b"yes")].concat());
        [bytes("trivial.onnx"), entry].concat()
    };
    let error = refusal(folder.with("must.onnx", with("kiln.must.turn_upside_down")));
    is(&error, ErrorKind::NewerFormat, "must.onnx", "metadata \"kiln.must.turn_upside_down\" must be understood");
    assert!(Generator::open(folder.with("may.onnx", with("kiln.mustard")), &cpu()).is_ok(), "may be left alone");
    assert!(Generator::open(folder.with("any.onnx", with("must")), &cpu()).is_ok(), "is another's");
}

#[test]
fn what_a_program_asks_for() {
    let error = Generator::open(fixture("trivial.onnx"), &Options { max_batch: 0, ..cpu() }).expect_err("none");
    assert_eq!((error.kind(), error.path()), (ErrorKind::Argument, None));
    assert_eq!(error.to_string(), error.what());
    let cuda = Options { provider: Provider::Cuda, ..cpu() };
    let error = Generator::open(fixture("trivial.onnx"), &cuda).expect_err("the tests' library has no CUDA");
    assert_eq!((error.kind(), error.path()), (ErrorKind::Provider, None));
    assert_eq!(error.to_string(), format!("provider cuda is not available: {}", error.what()));
    let error = Generator::open(fixture("wide.onnx"), &Options { max_batch: 4096, ..cpu() }).expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::MemoryLimit, "{error}");
    let generator = common::open("trivial.onnx", &cpu());
    let error = Stream::<u8>::start(generator, Request::latents(&[0.]), 1).expect_err("has an end");
    assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
    let missing = Generator::from_bytes(bytes("pair.onnx"), None, &cpu()).expect_err("has no weights");
    is(&missing, ErrorKind::Argument, "in memory", "must be given beside it");
}
