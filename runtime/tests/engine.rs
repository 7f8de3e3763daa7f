//! Which ONNX Runtime is loaded, what is said of one that is not, and what it may do to the user.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

use runtime::engine_info;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/trivial.onnx");

/// The program `sample`, in an environment of its own, so that nothing that the tests are run with matters.
fn sample(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The library that the tests are run with.
fn library() -> &'static Path {
    &engine_info().unwrap_or_else(|e| panic!("{e}")).path
}

fn compile(folder: &Path, arguments: &[&str]) {
    let status = Command::new("cc").args(["-shared", "-fPIC"]).args(arguments).current_dir(folder).status();
    assert!(status.expect("the tests need a C compiler, as building the trainer does").success());
}

/// What `sample` says of a library that it is told to take.
fn refusal(folder: &Path, library: &OsStr) -> String {
    let output = sample(folder).env("ORT_DYLIB_PATH", library).args([MODEL, "--info"]).output().expect("starts");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: no usable ONNX Runtime library (1.24 or newer); looked at:\n"), "{said}");
    assert!(!said.contains('\x1b'), "no log of anybody's: {said}");
    said.lines().nth(1).expect("a line of the place").to_owned()
}

#[test]
fn each_thing_that_is_no_library_to_use_has_a_sentence_of_its_own() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, content: &[u8]| std::fs::write(path(name), content).expect("writes");
    std::fs::create_dir(path("folder")).expect("makes");
    write("text.so", b"libonnxruntime");
    write("empty.so", b"");
    write("windows.so", b"MZ and so on");
    write("cut.so", &std::fs::read(library()).expect("reads")[..100]);
    write("empty.c", b"int kiln_empty(void) { return 0; }\n");
    compile(folder.path(), &["-o", "other.so", "empty.c"]);
    compile(folder.path(), &["-o", "libkiln_gone.so.12", "-Wl,-soname,libkiln_gone.so.12", "empty.c"]);
    compile(folder.path(), &["-o", "needy.so", "empty.c", "-Wl,--no-as-needed", "./libkiln_gone.so.12"]);
    std::fs::remove_file(path("libkiln_gone.so.12")).expect("removes");
    for (name, version, gives) in [("old.so", "1.23.2", 23), ("odd.so", "1.24.0", 23)] {
        let source = format!(
            "static const void *api(unsigned version) {{ return version > {gives} ? 0 : &api; }}\n\
             static const char *version(void) {{ return \"{version}\"; }}\n\
             static const struct {{ const void *(*api)(unsigned); const char *(*version)(void); }} base = {{ api, version }};\n\
             const void *OrtGetApiBase(void) {{ return &base; }}\n"
        );
        write("base.c", source.as_bytes());
        compile(folder.path(), &["-o", name, "base.c"]);
    }

    for (name, words) in [
        ("nothing.so", "nothing.so does not exist"),
        ("folder", "folder is a folder; name the library file in it"),
        ("text.so", "text.so is no library: it begins like no ELF file"),
        ("empty.so", "empty.so is no library"),
        ("windows.so", "windows.so is a library or program of another system: Windows, here it must be ELF"),
        ("cut.so", "cut.so cannot be loaded: "),
        ("needy.so", "needy.so needs another library, libkiln_gone.so.12, which the system's loader does not find"),
        ("other.so", "other.so is not ONNX Runtime: it has no function OrtGetApiBase"),
        ("old.so", "old.so is ONNX Runtime 1.23.2, needed is 1.24 or newer"),
        ("odd.so", "odd.so is ONNX Runtime 1.24.0, which has not the interface of 1.24"),
    ] {
        let line = refusal(folder.path(), path(name).as_os_str());
        let place = format!("  ORT_DYLIB_PATH: {}/", folder.path().display());
        assert!(line.starts_with(&place) && line.contains(words), "{line:?} lacks {words:?}");
    }
    // Relative to the current folder, as whoever types it means it; a bare name is the loader's to find.
    let line = refusal(folder.path(), OsStr::new("./text.so"));
    assert!(line.contains("./text.so is no library"), "{line}");
    let line = refusal(folder.path(), OsStr::new("libkiln_gone.so.12"));
    assert!(line.contains("the system's loader does not find libkiln_gone.so.12"), "{line}");
    let relative = Path::new(".").join(library().file_name().expect("a name"));
    let mut command = sample(library().parent().expect("a folder"));
    let output = command.env("ORT_DYLIB_PATH", relative).args([MODEL, "--info"]).output().expect("starts");
    assert!(output.status.success(), "{}", said(&output));
}

/// What fails while it runs, which ONNX Runtime would write into its log, in colour.
#[test]
fn the_log_of_onnx_runtime_is_not_printed() {
    const CHILD: &str = "KILN_TEST_LOG";
    if std::env::var_os(CHILD).is_some() {
        let environment = runtime::environment().unwrap_or_else(|e| panic!("{e}"));
        let model = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conditional.onnx"));
        let mut session = ort::session::Session::builder(environment)
            .and_then(|mut builder| builder.commit_from_memory(&model.expect("reads")))
            .unwrap_or_else(|e| panic!("{e}"));
        // The table has ten rows.
        let z = ort::value::Tensor::from_array(([1usize, 6], vec![0f32; 6])).expect("a tensor");
        let class = ort::value::Tensor::from_array(([1usize], vec![50i64])).expect("a tensor");
        let error = session.run(ort::inputs!["z" => z, "class" => class]).map(drop).expect_err("no such row");
        assert!(error.to_string().contains("idx=50"), "{error}");
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["the_log_of_onnx_runtime_is_not_printed", "--exact", "--nocapture"]);
    let output = command.env(CHILD, "1").env("ORT_DYLIB_PATH", library()).output().expect("starts");
    let said = said(&output);
    assert!(output.status.success() && !said.contains("onnxruntime") && !said.contains("idx=50"), "{said}");
}

/// Whatever the environment says, once, and no other after it.
#[test]
fn an_application_names_its_library() {
    const CHILD: &str = "KILN_TEST_LOAD";
    if let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) {
        let refused = path.with_file_name("text.so");
        std::fs::write(&refused, b"libonnxruntime").expect("writes");
        let error = runtime::load(&refused).expect_err("is no library").to_string();
        assert!(error.contains("  asked for: ") && error.contains("text.so is no library"), "{error}");
        for _ in 0..2 {
            assert_eq!(runtime::load(&path).unwrap_or_else(|e| panic!("{e}")).path, path, "tried again, and again");
        }
        assert_eq!(library(), path);
        let error = runtime::load(&refused).expect_err("another one").to_string();
        assert!(error.contains("is loaded already") && error.contains("call this first"), "{error}");
        return;
    }
    let folder = folder();
    let path = folder.path().join("own-name.so");
    std::fs::copy(library(), &path).expect("copies");
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["an_application_names_its_library", "--exact", "--nocapture"]);
    let output = command.env(CHILD, &path).env("ORT_DYLIB_PATH", "/nowhere.so").output().expect("starts");
    assert!(output.status.success(), "{}", said(&output));
}

/// Who loads ONNX Runtime by Python has nobody else to silence it.
#[test]
fn scripts_that_load_onnx_runtime_silence_it() {
    let mut seen = 0;
    for folder in ["../benches/peers", "../tests/python", "tests/fixtures"] {
        for file in all(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let Some(script) =
                std::fs::read_to_string(&file).ok().filter(|_| file.extension().is_some_and(|e| e == "py"))
            else {
                continue;
            };
            // By name as well as by an import.
            if script.contains("import onnxruntime")
                || script.contains("numpy, onnxruntime")
                || script.contains("\"onnxruntime\", ")
            {
                seen += 1;
                assert!(
                    script.contains("ORT_DISABLE_TELEMETRY\"] = \"1\"")
                        || script.contains("ORT_DISABLE_TELEMETRY\": \"1\""),
                    "{}",
                    file.display()
                );
            }
        }
    }
    assert!(seen >= 4, "{seen}");
}

/// Everything below a folder.
fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("is there").path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], all(&path)].concat() } else { vec![path] })
        .collect()
}

#[test]
fn nothing_is_written_about_the_user_and_nothing_sent() {
    let traced = Command::new("strace").arg("-V").output().is_ok();
    if !traced {
        eprintln!("not tested: whether it opens connections, as there is no strace");
    }
    // Unless told otherwise; even if told otherwise.
    for value in [None, Some("0"), Some("1")] {
        let (home, trace) = (folder(), tempfile::NamedTempFile::new().expect("a file"));
        let mut command = sample(home.path());
        if traced {
            command = Command::new("strace");
            command.env_clear().env("HOME", home.path()).current_dir(home.path()).args(["-f", "-o"]).arg(trace.path());
            command.args(["-e", "trace=socket,connect,execve", env!("CARGO_BIN_EXE_sample")]);
        }
        if let Some(value) = value {
            command.env("ORT_DISABLE_TELEMETRY", value);
        }
        let arguments = [MODEL, "--count", "2000", "--raw", "images", "--batch", "1"];
        let output = command.env("ORT_DYLIB_PATH", library()).args(arguments).output().expect("starts");
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(all(home.path()), [home.path().join("images")], "{value:?}");
        let calls = std::fs::read_to_string(trace.path()).expect("reads");
        assert_eq!(calls.contains("execve("), traced, "{calls}");
        assert!(!calls.contains("socket(") && !calls.contains("connect("), "{calls}");
    }
}

#[test]
#[cfg(feature = "bundled")]
fn the_library_of_the_users_folder_is_found_again_when_the_program_runs() {
    use std::os::unix::fs::PermissionsExt;

    let fetched = library().ancestors().take(4).collect::<Vec<_>>();
    let [file, .., parent, kiln] = fetched[..] else { panic!("{fetched:?}") };
    if !parent.ends_with("onnxruntime") || std::env::var_os("ORT_DYLIB_PATH").is_some() {
        eprintln!("not tested: how the fetched library is found, as {} was taken", file.display());
        return;
    }
    // Nothing of where it was fetched to is in the program.
    let program = std::fs::read(env!("CARGO_BIN_EXE_sample")).expect("reads");
    let contains = |text: &str| program.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(contains("onnxruntime/1.") && !contains(&kiln.to_string_lossy()), "{}", kiln.display());

    let data = folder();
    let place = data.path().join("kiln").join(file.strip_prefix(kiln).expect("lies there"));
    let run = |name: &str, value: &Path| {
        sample(data.path()).env(name, value).args([MODEL, "--info"]).output().expect("starts")
    };
    let takes = |name: &str, value: &Path| {
        let output = run(name, value);
        let said = said(&output);
        assert!(output.status.success() && said.contains(&*place.to_string_lossy()), "{said}");
    };
    let refuses = |value: &Path, words: &str| {
        let output = run("KILN_DATA", value);
        let said = said(&output);
        // The system may have a library, which is taken then.
        let other = output.status.success() && !said.contains(&*place.to_string_lossy());
        assert!(other || said.contains(words), "{said} lacks {words:?}");
    };
    let kiln = data.path().join("kiln");
    refuses(&kiln, "does not exist; build again");
    for folder in [&kiln, &kiln.join("onnxruntime"), place.parent().expect("a folder")] {
        std::fs::create_dir(folder).expect("makes");
        // Whatever the umask made of it.
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("allows");
    }
    std::fs::copy(file, &place).expect("copies");
    takes("KILN_DATA", &kiln);
    takes("XDG_DATA_HOME", data.path());
    // Once it was right, too.
    let mut content = std::fs::read(&place).expect("reads");
    *content.last_mut().expect("a byte") ^= 1;
    std::fs::write(&place, content).expect("writes");
    refuses(&kiln, "has the SHA-256");
    refuses(Path::new("kiln"), "allowed is an absolute path");
}
