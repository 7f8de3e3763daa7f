//! The build script, with a pip that is made for the test: what it fetches, what it refuses, and how often it tries.

#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Notes that it was called; fails if $FAKE is `offline`, else brings a wheel, of the same bytes each time.
const PIP: &str = r#"
import os, sys, zipfile
open(os.environ["CALLS"], "a").write("x")
if os.environ["FAKE"] == "offline":
    sys.exit("ERROR: there is no network")
with zipfile.ZipFile(sys.argv[sys.argv.index("--dest") + 1] + "/fake.whl", "w") as wheel:
    for name in ["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/capi/lib.so"]:
        wheel.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 3, 4, 6)), name)
"#;

struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// With the fake pip in it; none where there is no Python, which is said.
    fn new() -> Option<Self> {
        if let Err(e) = Command::new("python3").arg("--version").output() {
            eprintln!("not tested: there is no python3 ({e})");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let pip = folder.path().join("modules/pip");
        std::fs::create_dir_all(&pip).expect("makes");
        std::fs::write(pip.join("__init__.py"), "").expect("writes");
        std::fs::write(pip.join("__main__.py"), PIP).expect("writes");
        Some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: impl AsRef<Path>, fake: &str) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(ROOT).env("PYTHONPATH", self.path("modules")).env("CALLS", self.path("calls"));
        command.env("FAKE", fake);
        command
    }

    /// How often pip was called.
    fn calls(&self) -> usize {
        std::fs::read(self.path("calls")).map_or(0, |calls| calls.len())
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn sha256(path: &Path) -> String {
    let script = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let output = Command::new("python3").args(["-c", script]).arg(path).output().expect("starts");
    said(&output).trim().to_owned()
}

#[test]
fn what_is_fetched_is_what_is_pinned() {
    let Some(shop) = Workshop::new() else { return };
    let library = shop.path("data/1/lib.so");
    let fetch = |fake: &str, wheel: &str, lib: &str| {
        let mut command = shop.command("python3", fake);
        command.args(["build/fetch.py", "1.0", "here", wheel, "onnxruntime/capi/lib.so", lib]).arg(&library);
        let output = command.output().expect("starts");
        (output.status.code(), said(&output))
    };
    let status = shop.command("python3", "there").args(["-m", "pip", "--dest"]).arg(shop.folder.path()).status();
    assert!(status.expect("starts").success());
    std::fs::write(shop.path("lib"), "onnxruntime/capi/lib.so").expect("writes");
    let (wheel, lib) = (sha256(&shop.path("fake.whl")), sha256(&shop.path("lib")));

    for (fake, wheel, lib, code, words) in [
        ("offline", &wheel, &lib, 1, "is there a network?): ERROR: there is no network"),
        ("there", &lib, &lib, 3, "fake.whl has the SHA-256"),
        ("there", &wheel, &wheel, 3, "lib.so has the SHA-256"),
    ] {
        let (found, said) = fetch(fake, wheel, lib);
        assert!(found == Some(code) && said.contains(words), "{found:?}: {said}");
        assert!(!library.exists());
    }
    let (found, said) = fetch("there", &wheel, &lib);
    assert!(found == Some(0) && said.is_empty(), "{found:?}: {said}");
    let folder = library.parent().expect("a folder");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("lists").map(|e| e.expect("is there").file_name()).collect();
    names.sort();
    assert_eq!(names, ["LICENSE", "ThirdPartyNotices.txt", "lib.so"]);
    for path in [folder, folder.parent().expect("a folder"), &library] {
        let mode = path.metadata().expect("is there").permissions().mode();
        assert_eq!(mode & 0o022, 0, "{}: {mode:o}", path.display());
    }
    // Older than the build, or cargo would take that for outdated.
    assert!(library.metadata().and_then(|file| file.modified()).expect("a time") < std::time::SystemTime::now());
}

#[test]
fn the_build_fails_if_another_library_comes_and_goes_on_if_none_does() {
    let Some(shop) = Workshop::new() else { return };
    let program = shop.path("build-script");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile.current_dir(ROOT).args(["--edition", "2024", "build.rs", "-o"]).arg(&program);
    let output = compile.output().expect("starts");
    assert!(output.status.success(), "{}", said(&output));

    let build = |fake: &str, variables: &[(&str, &str)]| {
        let mut command = shop.command(&program, fake);
        command.env("OUT_DIR", shop.folder.path()).env("KILN_DATA", shop.path("data"));
        command.env("CARGO_FEATURE_BUNDLED", "1").env("CARGO_CFG_TARGET_OS", "linux");
        command.env("CARGO_CFG_TARGET_ARCH", "x86_64").env("CARGO_CFG_TARGET_ENV", "gnu");
        let output = command.envs(variables.iter().copied()).output().expect("starts");
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let says = |said: &str, words: &str| assert!(said.contains(words), "{said} lacks {words:?}");

    // Nothing is pinned for other C libraries, and a folder must be the same one wherever the program is run.
    says(&build("there", &[("CARGO_CFG_TARGET_ENV", "musl")]), "no library is pinned for linux-x86_64-musl");
    says(&build("there", &[("CARGO_CFG_TARGET_OS", "android")]), "no library is pinned for android-x86_64");
    says(&build("there", &[("KILN_DATA", "data")]), "cargo::warning=no ONNX Runtime is bundled: KILN_DATA is data");
    // Where documentation is built there is no network, which is nothing to warn of.
    assert!(!build("there", &[("DOCS_RS", "1")]).contains("cargo::warning"));
    assert_eq!(shop.calls(), 0);

    // What was tried a moment ago is not tried again.
    let first = build("offline", &[]);
    says(&first, "cargo::warning=no ONNX Runtime is bundled: ");
    says(&first, "there is no network; without, opening a generator needs ORT_DYLIB_PATH");
    says(&build("offline", &[]), "it is tried again after 180s");
    assert_eq!(shop.calls(), 1);
    let other = shop.path("other");
    let other_folder = [("KILN_DATA", other.to_str().expect("UTF-8"))];
    says(
        &build("there", &other_folder),
        "cargo::error=ONNX Runtime cannot be bundled: python3: fake.whl has the SHA-256",
    );
    assert_eq!(shop.calls(), 2);
    std::fs::remove_file(shop.path("not-fetched")).expect("removes");
    says(&build("there", &[]), "cargo::error=");
    assert_eq!(shop.calls(), 3, "what was wrong is tried again");

    // What is there is not fetched again, and what anybody could have put there is no library.
    let said = build("offline", &[("KILN_DATA", shop.path("third").to_str().expect("UTF-8"))]);
    let place = said.split("KILN_ORT_PLACE=").nth(1).and_then(|rest| rest.lines().next()).expect("a place");
    let bytes = said.split("KILN_ORT_BYTES=").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
    let library = shop.path("data").join(place);
    let file = std::fs::File::create(&library).expect("makes");
    file.set_len(bytes.parse().expect("a number")).expect("lengthens");
    let calls = shop.calls();
    let allow = |mode| file.set_permissions(std::fs::Permissions::from_mode(mode)).expect("allows");
    allow(0o644);
    let said = build("there", &[]);
    assert!(!said.contains("warning") && !said.contains("error"), "{said}");
    allow(0o664);
    says(&build("there", &[]), "can be written by others");
    assert_eq!(shop.calls(), calls);
}
