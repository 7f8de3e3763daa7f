//! The C library, installed into a folder: a program finds it through pkg-config.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

#[path = "common/c_programs.rs"]
mod c_programs;

use c_programs::{compiler, said, succeed};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn an_installed_library_is_found_by_pkg_config() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    if let Err(e) = Command::new("pkg-config").arg("--version").output() {
        return eprintln!("not tested: there is no pkg-config ({e})");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("a prefix");
    // What cannot be built leaves nothing, and no header beside an older library.
    let mut failing = Command::new(format!("{ROOT}/install.sh"));
    let failed = failing.arg(&prefix).args(["--profile", "dev", "--features", "no-such"]).output().expect("starts");
    assert!(!failed.status.success() && !prefix.exists(), "{}", said(&failed));
    let mut install = Command::new(format!("{ROOT}/install.sh"));
    install.arg(&prefix).args(["--profile", "dev"]);
    assert!(said(&succeed(&mut install)).contains(&format!("installed kiln {}", env!("CARGO_PKG_VERSION"))));

    let asked = |what: &[&str]| {
        let mut pkg_config = Command::new("pkg-config");
        pkg_config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(what).arg("kiln");
        String::from_utf8(succeed(&mut pkg_config).stdout).expect("UTF-8").trim().to_owned()
    };
    assert_eq!(asked(&["--modversion"]), env!("CARGO_PKG_VERSION"));
    let program = |name: &str, flags: &str| {
        let program = folder.path().join(name);
        // As a shell reads them.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" -std=c99 -pthread \"$1\" -o \"$2\" {flags}")]);
        succeed(command.arg(&compiler).arg(format!("{ROOT}/tests/c/errors.c")).arg(&program));
        program
    };
    let run = |program: &Path, library: &Path| {
        let mut command = Command::new(program);
        command.arg(format!("{ROOT}/tests/fixtures")).env("LD_LIBRARY_PATH", library).output().expect("starts")
    };

    let shared = program("shared", &asked(&["--cflags", "--libs"]));
    assert_eq!(said(&run(&shared, &prefix.join("lib"))), "as it should be\n");
    // It asks for the library by its soname.
    let abi = concat!("libkiln.so.", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let missing = said(&run(&shared, Path::new("/nowhere")));
    assert!(missing.contains(&format!("{abi}:")), "{missing}");

    // Where there is no shared one.
    std::fs::remove_file(prefix.join("lib/libkiln.so")).expect("removes");
    let r#static = program("static", &asked(&["--static", "--cflags", "--libs"]));
    assert_eq!(said(&run(&r#static, Path::new("/nowhere"))), "as it should be\n");
}
