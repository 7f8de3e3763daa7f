//! The program `sample`.

use std::path::Path;
use std::process::{Command, Output};

fn sample(folder: &Path, arguments: &[&str]) -> Output {
    let model = format!("{}/tests/fixtures/dcgan-f16.onnx", env!("CARGO_MANIFEST_DIR"));
    let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "MODEL" { model.as_str() } else { a }).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.current_dir(folder).args(arguments).output().expect("starts")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[test]
fn it_writes_grids_and_raw_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["MODEL", "--seed", "7", "--count", "10", "--grid", "out.png", "--raw", "out.raw", "--batch", "4"];
    let output = sample(folder.path(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let raw = std::fs::read(folder.path().join("out.raw")).expect("reads");
    assert_eq!(raw.len(), 10 * 3 * 20 * 12);

    // 4 columns and 3 rows of 12 x 20 pixels in colour; the second image of the second row is number 5.
    let file = std::io::BufReader::new(std::fs::File::open(folder.path().join("out.png")).expect("opens"));
    let mut reader = png::Decoder::new(file).read_info().expect("a picture");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("decodes");
    assert_eq!((frame.width, frame.height), (4 * 14 + 2, 3 * 22 + 2));
    let (x, y) = (14 + 2 + 3, 22 + 2 + 6);
    for c in 0..3 {
        assert_eq!(pixels[(y * 58 + x) * 3 + c], raw[((5 * 3 + c) * 20 + 6) * 12 + 3]);
    }

    let output = sample(folder.path(), &["MODEL", "--seed", "7", "--count", "10", "--raw", "one.raw", "--batch", "1"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(std::fs::read(folder.path().join("one.raw")).expect("reads") == raw, "the batch changes the images");
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 3, "no temporary file is left");
}

#[test]
fn it_describes_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = sample(folder.path(), &["MODEL", "--info"]);
    let said = said(&output);
    assert!(output.status.success() && said.contains("3 x 20 x 12, f16") && said.contains("onnxruntime"), "{said}");
}

#[test]
fn what_a_file_says_of_itself_cannot_pretend_to_be_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = std::fs::read(format!("{}/tests/fixtures/trivial.onnx", env!("CARGO_MANIFEST_DIR"))).expect("reads");
    // The name of its data, of which there is no other occurrence.
    let at = model.windows(4).position(|bytes| bytes == b"none").expect("is there");
    for (name, shown) in
        [(&b"a\n\x1bb"[..], "data       a\\n\\u{1b}b ("), (b"a\xe2\x80\xae", "data       a\\u{202e} (")]
    {
        let hostile = [&model[..at], name, &model[at + 4..]].concat();
        std::fs::write(folder.path().join("hostile.onnx"), hostile).expect("writes");
        let output = sample(folder.path(), &["hostile.onnx", "--info"]);
        let said = said(&output);
        assert!(output.status.success() && said.lines().any(|line| line.starts_with(shown)), "{said}");
    }
}

#[test]
fn the_doctor_tells_what_works_and_how_fast() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = sample(folder.path(), &["--doctor", "MODEL", "--batch", "4"]);
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    for word in [
        "ONNX Runtime 1.",
        "CPUExecutionProvider",
        "cuda       does not work",
        "self-test passes",
        "batch 1 ",
        "batch 4 ",
        "p99",
    ] {
        assert!(words.contains(word), "{words} lacks {word:?}");
    }
    let output = sample(folder.path(), &["--doctor"]);
    assert!(output.status.success() && said(&output).contains("none given"), "{}", said(&output));
    let output = sample(folder.path(), &["--doctor", "nothing.onnx"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("nothing.onnx"), "{}", said(&output));
}

#[test]
fn the_doctor_replays_the_self_test_whatever_the_start() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let folder = tempfile::tempdir().expect("a folder");
    let failing = format!("{fixtures}/failing-self-test.onnx");
    for options in [&[][..], &["--fast-start"]] {
        let output = sample(folder.path(), &[&["--doctor", &failing], options].concat());
        let words = said(&output);
        assert!(output.status.code() == Some(1) && words.contains("fails its self-test"), "{words}");
        let output = sample(folder.path(), &[&["--doctor", "MODEL", "--batch", "1"], options].concat());
        assert!(output.status.success() && said(&output).contains("self-test passes"), "{}", said(&output));
    }
    // One that begins with an image is measured, too.
    let output = sample(folder.path(), &["--doctor", &format!("{fixtures}/image-to-image.onnx"), "--batch", "1"]);
    assert!(output.status.success() && said(&output).contains("batch 1 "), "{}", said(&output));
}

#[test]
fn images_are_made_from_a_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let pixels = [0, 50, 100, 150, 200, 255];
    let file = std::fs::File::create(folder.path().join("in.png")).expect("creates");
    let mut encoder = png::Encoder::new(file, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().expect("writes").write_image_data(&pixels).expect("writes");
    for name in ["image-to-image.onnx", "conditional-image-to-image.onnx"] {
        let model = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let draw = |options: &[&str]| {
            let arguments = [&[&model, "--seed", "7", "--count", "5", "--raw", "out.raw"], options].concat();
            sample(folder.path(), &arguments)
        };
        let output = draw(&["--input", "in.png", "--batch", "2"]);
        assert!(output.status.success(), "{}", said(&output));
        let mut generator = runtime::Generator::open(&model, &runtime::Options::default()).expect("opens");
        let mut expected = [0u8; 5 * 6];
        generator.draw(&runtime::Request::seed(7).image_bytes(&pixels), &mut expected).expect("draws");
        assert_eq!(std::fs::read(folder.path().join("out.raw")).expect("reads"), expected, "{name}");
        let output = draw(&[]);
        assert!(output.status.code() == Some(1) && said(&output).contains("--input FILE"), "{}", said(&output));
        let output = draw(&["--input", "no.png"]);
        assert!(output.status.code() == Some(1) && said(&output).contains("no.png"), "{}", said(&output));
    }
    let output = sample(folder.path(), &["MODEL", "--input", "in.png", "--raw", "x.raw"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("--input"), "{}", said(&output));
}

#[test]
fn walks_truncation_and_a_fast_start_are_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let draw = |options: &[&str]| {
        let arguments = [&["MODEL", "--seed", "7", "--count", "9", "--raw", "out.raw"], options].concat();
        let output = sample(folder.path(), &arguments);
        assert!(output.status.success(), "{}", said(&output));
        std::fs::read(folder.path().join("out.raw")).expect("reads")
    };
    let len = 3 * 20 * 12;
    let (images, walk, typical) = (draw(&[]), draw(&["--walk", "4"]), draw(&["--truncation", "0.5"]));
    assert!(images[len..2 * len] == walk[4 * len..5 * len] && images[2 * len..3 * len] == walk[8 * len..]);
    assert_ne!(images, typical);
    let fast = draw(&["--fast-start"]);
    assert!(images.iter().zip(&fast).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn mistakes_end_with_a_line_and_the_right_code() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, code, words) in [
        (&["MODEL"][..], 2, "--grid FILE"),
        (&[], 2, "MODEL"),
        (&["MODEL", "--grid", "x.png", "--count", "0"], 2, "--count"),
        (&["MODEL", "--grid", "x.png", "--provider", "tpu"], 2, "auto, cpu and cuda"),
        (&["MODEL", "--grid", "x.png", "--walk", "0"], 2, "--walk"),
        (&["MODEL", "--grid", "x.png", "--truncation", "0"], 1, "truncation"),
        (&["MODEL", "--grid", "x.png", "--class", "1"], 1, "unconditional"),
        (&["MODEL", "--grid", "x.png", "--weights", "no.safetensors"], 1, "no.safetensors"),
        (&["nothing.onnx", "--info"], 1, "nothing.onnx"),
        (&["MODEL", "--info", "--batch", "0"], 1, "max_batch"),
        (&["MODEL", "--grid", "no/such/x.png"], 1, "no/such/x.png"),
        (&["MODEL", "--grid", "x.png", "--count", "10000000000"], 1, "--raw"),
    ] {
        let output = sample(folder.path(), arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0, "nothing half-written is left");
}

#[test]
fn a_named_library_that_does_not_work_is_an_error_not_passed_over() {
    let model = format!("{}/tests/fixtures/trivial.onnx", env!("CARGO_MANIFEST_DIR"));
    for library in ["no-such-library.so", model.as_str()] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
        let output = command.args([&model, "--info"]).env("ORT_DYLIB_PATH", library).output().expect("starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("ORT_DYLIB_PATH") && said.contains("pip") | said.contains("Python package"), "{said}");
    }
}
