//! C programs, compiled with the system's compilers against both kinds of library.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]
#![allow(dead_code, reason = "each test uses some of them")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What a program that links the static library must link besides: the system's part of Rust's standard library.
const SYSTEM: &[&str] =
    if cfg!(target_vendor = "apple") { &["-liconv", "-lm"] } else { &["-lpthread", "-ldl", "-lm", "-lrt", "-lutil"] };

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Shared,
    Static,
}

/// The system's compiler, or nothing where there is none, which is said.
pub fn compiler(variable: &str, usual: &str) -> Option<String> {
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

pub fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", said(&output));
    output
}

/// Builds both libraries by the README's command, in the profile of this test, and gives their folder. The manifest names
/// neither kind, because then every program that depends on the crate would build them.
pub fn libraries() -> &'static Path {
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
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["rustc", "--lib", "--no-default-features"]);
        cargo.args(["--features", "capi,bundled", "--crate-type", "cdylib,staticlib", "--profile", profile]);
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

/// Compiles a source file of this crate, and gives the program.
pub fn compile(compiler: &str, standard: &str, source: &str, kind: Kind, folder: &Path) -> PathBuf {
    let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), libraries());
    let source = root.join(source);
    let name = source.file_stem().unwrap_or_default().display().to_string();
    let program = folder.join(format!("{name}-{kind:?}"));
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic"]);
    command.arg("-I").arg(root.join("include")).arg(source).arg("-o").arg(&program);
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
