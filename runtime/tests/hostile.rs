//! Files that once crashed, hung, read what they must not, or took gigabytes: refused, in words.

mod common;

use common::{field, fixture};
use runtime::{Generator, Options, Start};
use std::path::Path;

fn refusal(path: &Path) -> String {
    for start in [Start::Steady, Start::Fast] {
        let error = Generator::open(path, &Options { start, ..Options::default() }).expect_err("must be refused");
        assert_eq!(error.path(), Some(path), "{error}");
        let what = error.what().to_owned();
        if start == Start::Fast {
            return what;
        }
    }
    unreachable!("the second start returns")
}

#[test]
fn files_that_broke_something_are_refused() {
    for (name, words) in [
        // A panic, as a side of an image was negative; its metadata is missing, too.
        ("01-panic-negative-output", "kiln.format"),
        // Each function calls the next one twice.
        ("02-hang-functions", "domain \"f\""),
        // Signals inside ONNX Runtime.
        ("03-sigsegv-gathernd", "empty weight"),
        ("04-sigfpe-div", "Div"),
        ("05-sigabrt-uniform", "RandomUniformLike"),
        ("06-sigabrt-normal", "RandomNormalLike"),
        ("07-memory-sparse", "sparse"),
        // 2^62 times.
        ("Loop-2^62", "control flow"),
        // An initialiser and a constant in another file, by a tag that ONNX Runtime cuts to 32 bits.
        ("beside", "damaged"),
        ("attr", "damaged"),
        ("batch-mean", "mix samples"),
        ("expand-folded", "Expand"),
        ("random", "RandomNormalLike"),
        ("12-blames-weights", "Nothing"),
    ] {
        let error = refusal(&fixture(&format!("hostile/{name}.onnx")));
        assert!(error.contains(words), "{name}: {error}");
    }
}

/// What ONNX Runtime takes for a model in its own format, in a field that ONNX does not know.
#[test]
fn a_model_behind_the_model_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let whole = std::fs::read(fixture("trivial.onnx")).expect("reads");
    let hidden = [&b"\x0a\x14\x00\x00ORTM"[..], &[0; 14], &whole].concat();
    std::fs::write(&path, hidden).expect("writes");
    let error = refusal(&path);
    assert!(error.contains("field 1 of a model"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refusal(folder.path()).contains("is no file"));
    #[cfg(unix)]
    {
        assert!(refusal(Path::new("/dev/zero")).contains("is no file"));
        let pipe = folder.path().join("pipe.onnx");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("starts");
        assert!(made.success());
        // Opening it would wait for a writer.
        assert!(refusal(&pipe).contains("is no file"));
    }
}

/// An open file by its number, which has no name any more.
#[cfg(target_os = "linux")]
#[test]
fn open_files_without_a_name_are_generators_like_others() {
    use std::os::fd::AsRawFd;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    std::fs::copy(fixture("dcgan-f32.onnx"), &path).expect("copies");
    let file = std::fs::File::open(&path).expect("opens");
    std::fs::remove_file(&path).expect("removes");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Generator::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
}

/// Whoever replaces a file by renaming another one over it never gives the weights of one to the graph of the other.
#[test]
fn files_may_be_replaced_while_they_are_opened() {
    use common::{draw, open};
    use runtime::Request;
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // The same generator twice, with weights at other places in the file.
    let names = ["dcgan-f32.onnx", "dcgan-leaky.onnx"];
    let expected = names.map(|name| draw::<f32>(&mut open(name, &Options::default()), &Request::seed(1), 2));
    assert_ne!(expected[0], expected[1]);
    std::fs::copy(fixture(names[0]), at("model.onnx")).expect("copies");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for name in names.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                std::fs::copy(fixture(name), at("next")).expect("copies");
                std::fs::rename(at("next"), at("model.onnx")).expect("renames");
            }
        });
        for i in 0..60 {
            let start = if i % 2 == 0 { Start::Fast } else { Start::Steady };
            let mut generator = Generator::open(at("model.onnx"), &Options { start, ..Options::default() });
            let drawn = draw::<f32>(generator.as_mut().expect("opens"), &Request::seed(1), 2);
            let far = |other: &[f32]| drawn.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(far(&expected[0]) < 1e-5 || far(&expected[1]) < 1e-5, "images of neither file");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn pointers_of_git_lfs_are_called_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 476549\n";
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("model.onnx"), pointer).expect("writes");
    assert!(refusal(&at("model.onnx")).contains("git lfs pull"));
    std::fs::copy(fixture("pair.onnx"), at("pair.onnx")).expect("copies");
    std::fs::write(at("pair.safetensors"), pointer).expect("writes");
    let error = Generator::open(at("pair.onnx"), &Options::default()).expect_err("no weights").to_string();
    assert!(error.contains("pair.safetensors: is a pointer of Git LFS"), "{error}");
}

/// A list of sizes of one byte each is refused before it is as long in memory as the file is large.
#[test]
fn lists_of_sizes_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let dims = field(1, &vec![1; 8 << 20]);
    let model = [field(8, &[0x10, 17]), field(7, &field(5, &dims))].concat();
    std::fs::write(&path, model).expect("writes");
    assert!(refusal(&path).contains("more than 8 sizes"));
}

/// An error is as long as a line, whatever is in the file: here the name of an input, beside the right description.
#[test]
fn errors_are_short_and_plain() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let whole = std::fs::read(fixture("trivial.onnx")).expect("reads");
    // Its metadata comes last in it.
    let key = b"kiln.format";
    let metadata = whole.windows(key.len()).position(|window| window == key).expect("has metadata") - 4;
    for (name, shown) in [("T".repeat(1 << 20), "TTTT"), ("T\u{1b}[2J\u{202e}".into(), "\\u{202e}")] {
        let kind = field(2, &field(1, &[0x08, 1]));
        let graph = field(7, &field(11, &[field(1, name.as_bytes()), kind].concat()));
        let model = [&field(8, &[0x10, 17]), &graph, &whole[metadata..]].concat();
        std::fs::write(&path, model).expect("writes");
        let error = Generator::open(&path, &Options::default()).expect_err("no generator").to_string();
        assert!(error.contains(shown), "{error:.300}");
        assert!(error.len() < 2000 && !error.contains(|c: char| c.is_control() || c == '\u{202e}'), "{error:.300}");
    }
}
