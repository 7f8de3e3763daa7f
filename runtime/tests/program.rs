//! The program `sample`.

use std::path::Path;
use std::process::{Command, Output};

fn sample(folder: &Path, arguments: &[&str]) -> Output {
    let [model, large] =
        ["dcgan-f16", "large"].map(|name| format!("{}/tests/fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR")));
    let named = |argument| match argument {
        "MODEL" => model.as_str(),
        "LARGE" => large.as_str(),
        other => other,
    };
    let arguments: Vec<&str> = arguments.iter().map(|argument| named(argument)).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.current_dir(folder).args(arguments).output().expect("starts")
}

/// A picture's kind, width and bytes.
fn picture(path: &Path) -> (png::ColorType, usize, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("opens"));
    let mut reader = png::Decoder::new(file).read_info().expect("a picture");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("decodes");
    (frame.color_type, frame.width as usize, pixels)
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
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
    let (_, across, pixels) = picture(&folder.path().join("out.png"));
    assert_eq!((across, pixels.len()), (4 * 14 + 2, 58 * (3 * 22 + 2) * 3));
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
fn pictures_keep_opacity_and_nothing_lies_between_the_images() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, kind, channels, height, width) in [
        ("trivial.onnx", png::ColorType::Grayscale, 1, 1, 1),
        ("grey-opacity.onnx", png::ColorType::GrayscaleAlpha, 2, 2, 3),
        ("dcgan-f16.onnx", png::ColorType::Rgb, 3, 20, 12),
        ("sprites-f16.onnx", png::ColorType::Rgba, 4, 49, 22),
    ] {
        let (model, options) =
            (fixture(name), ["--count", "6", "--columns", "3", "--first-index", "9", "--batch", "4"]);
        let arguments =
            [&[model.as_str()][..], &options, &["--grid", "out.png", "--out", "a/b", "--raw", "out.raw"]].concat();
        let output = sample(folder.path(), &arguments);
        assert!(output.status.success(), "{}", said(&output));
        let raw = std::fs::read(folder.path().join("out.raw")).expect("reads");
        let (found, across, pixels) = picture(&folder.path().join("out.png"));
        assert_eq!((found, across), (kind, 3 * (width + 2) + 2), "{name}");
        assert_eq!(pixels.len(), across * (2 * (height + 2) + 2) * channels);
        for (at, pixel) in pixels.chunks_exact(channels).enumerate() {
            let (x, y) = (at % across, at / across);
            let (column, left, row, top) = (x / (width + 2), x % (width + 2), y / (height + 2), y % (height + 2));
            let expected: Vec<u8> = match left >= 2 && top >= 2 {
                true => (0..channels)
                    .map(|c| raw[(((row * 3 + column) * channels + c) * height + top - 2) * width + left - 2])
                    .collect(),
                // Black, or, where there is opacity, nothing.
                false => vec![0; channels],
            };
            assert_eq!(pixel, expected, "{name}: {x}, {y}");
        }
        // The same, each by itself, named by their indices.
        for i in 0..6 {
            let (found, across, pixels) = picture(&folder.path().join(format!("a/b/{:06}.png", 9 + i)));
            assert_eq!((found, across, pixels.len()), (kind, width, channels * height * width));
            let image = &raw[i * pixels.len()..][..pixels.len()];
            let of = |at: usize| image[at % channels * height * width + at / channels];
            assert!(pixels.iter().enumerate().all(|(at, &value)| value == of(at)), "{name}: image {i}");
        }
        // And what they are of, by which other pictures are kept out.
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).expect("lists").count(), 7);
        std::fs::remove_dir_all(folder.path().join("a")).expect("removes");
    }
    let output = sample(folder.path(), &["MODEL", "--out", "out.png/x"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("the folder out.png/x"), "{}", said(&output));
}

#[test]
fn a_class_has_a_name_and_a_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let draw = |class: &str| {
        let output = sample(
            folder.path(),
            &[&fixture("sprites-f16.onnx"), "--class", class, "--raw", "out.raw", "--count", "2"],
        );
        assert!(output.status.success(), "{class}: {}", said(&output));
        std::fs::read(folder.path().join("out.raw")).expect("reads")
    };
    let [cats, foxes, lions] = ["0", "1", "2"].map(draw);
    assert!(cats != foxes && foxes != lions && lions != cats);
    assert!(draw("cat") == cats && draw("Red Fox") == foxes && draw("löwe") == lions);
    let refused = |model: &str, class: &str, words: &str| {
        let output = sample(folder.path(), &[&fixture(model), "--class", class, "--raw", "no.raw"]);
        assert!(output.status.code() == Some(1) && said(&output).contains(words), "{}", said(&output));
    };
    let list = "no class is called \"fox\", allowed are numbers and names: 1 red fox, 0 cat, 2 Löwe\n";
    refused("sprites-f16.onnx", "fox", list);
    refused("sprites-f16.onnx", "3", "class 3 is asked for, allowed is 0 to 2");
    refused("conditional.onnx", "cat", "the classes have no names; allowed is 0 to 9");
    refused("trivial.onnx", "cat", "a class is asked for, but the generator is unconditional");
    let output = sample(folder.path(), &[&fixture("sprites-f16.onnx"), "--info"]);
    let words = said(&output);
    assert!(
        output.status.success() && words.contains("classes    3\n           0 cat, 1 red fox, 2 Löwe\n"),
        "{words}"
    );
    let words = said(&sample(folder.path(), &[&fixture("conditional.onnx"), "--info"]));
    assert!(words.contains("classes    10\ndata "), "{words}");
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
    for (name, shown) in [(&b"a\n\x1bb"[..], "data       a\\n\\u{1b}b"), (b"a\xe2\x80\xae", "data       a\\u{202e}")] {
        let hostile = [&model[..at], name, &model[at + 4..]].concat();
        std::fs::write(folder.path().join("hostile.onnx"), hostile).expect("writes");
        let output = sample(folder.path(), &["hostile.onnx", "--info"]);
        let said = said(&output);
        assert!(output.status.success() && said.lines().any(|line| line == shown), "{said}");
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
fn a_picture_with_or_without_opacity_begins_an_image_with_opacity() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = fixture("image-to-image-opacity.onnx");
    let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
    for (kind, channels) in [(png::ColorType::Rgba, 4), (png::ColorType::Rgb, 3)] {
        let data: Vec<u8> = pixels.chunks_exact(4).flat_map(|pixel| &pixel[..channels]).copied().collect();
        let file = std::fs::File::create(folder.path().join("in.png")).expect("creates");
        let mut encoder = png::Encoder::new(file, 3, 2);
        encoder.set_color(kind);
        encoder.write_header().expect("writes").write_image_data(&data).expect("writes");
        let arguments = [&model, "--seed", "7", "--count", "5", "--raw", "out.raw", "--input", "in.png"];
        let output = sample(folder.path(), &arguments);
        assert!(output.status.success(), "{}", said(&output));
        let of = |c: usize| pixels.iter().skip(c).step_by(4).map(move |&v| if c < channels { v } else { 255 });
        let image: Vec<u8> = (0..4).flat_map(of).collect();
        let mut generator = runtime::Generator::open(&model, &runtime::Options::default()).expect("opens");
        let mut expected = [0u8; 5 * 24];
        generator.draw(&runtime::Request::seed(7).image_bytes(&image), &mut expected).expect("draws");
        assert_eq!(std::fs::read(folder.path().join("out.raw")).expect("reads"), expected, "{kind:?}");
    }
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
        (&["MODEL"][..], 2, "--grid FILE, --out DIR"),
        (&[], 2, "MODEL"),
        (&["MODEL", "--grid", "x.png", "--count", "0"], 2, "--count"),
        (&["MODEL", "--grid", "x.png", "--provider", "tpu"], 2, "auto, cpu and cuda"),
        (&["MODEL", "--grid", "x.png", "--walk", "0"], 2, "--walk"),
        (&["MODEL", "--grid", "x.png", "--truncation", "0"], 1, "truncation"),
        (&["MODEL", "--grid", "x.png", "--class", "1"], 1, "a class is asked for, but the generator is unconditional"),
        (&["MODEL", "--grid", "x.png", "--weights", "no.safetensors"], 1, "no.safetensors"),
        (&["nothing.onnx", "--info"], 1, "nothing.onnx"),
        (&["MODEL", "--info", "--batch", "0"], 1, "max_batch"),
        (&["MODEL", "--grid", "no/such/x.png"], 1, "no/such/x.png"),
        (&["MODEL", "--grid", "x.png", "--count", "10000000000"], 1, "--raw"),
        (&["MODEL", "--grid", "x.png", "--raw", "./x.png"], 1, "give each a file of its own"),
        (&["MODEL", "--grid", "x.png", "--threads", "100000"], 2, "1..=1024"),
        (&["MODEL", "--out", "d", "--columns", "4"], 2, "--grid"),
        (&["--doctor", "MODEL", "--weights", "other.safetensors"], 2, "cannot be used with"),
        (&["--doctor", "MODEL", "--seed", "1"], 2, "cannot be used with"),
        (&["LARGE", "--grid", "x.png", "--batch", "64"], 1, "--batch is 32, images this large allow at most 15"),
    ] {
        let output = sample(folder.path(), arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0, "nothing half-written is left");
}

/// As many a call as their memory allows, where nobody says how many.
#[test]
fn generators_of_large_images_are_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["LARGE", "--info"][..], &["LARGE", "--count", "3", "--threads", "1", "--raw", "x.bin"]] {
        let output = sample(folder.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(std::fs::metadata(folder.path().join("x.bin")).expect("is there").len(), 3 << 24);
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

#[test]
fn what_is_not_recorded_is_said_to_be_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bare = std::fs::read(fixture("trivial.onnx")).expect("reads");
    for key in ["recipe", "recipe_sha256", "images_seen", "data", "data_sha256", "quality", "trainer"] {
        let (key, other) = (format!("kiln.{key}\x12"), format!("else.{key}\x12"));
        let at = bare.windows(key.len()).position(|window| window == key.as_bytes()).expect("has it");
        bare[at..at + key.len()].copy_from_slice(other.as_bytes());
    }
    std::fs::write(folder.path().join("bare.onnx"), bare).expect("writes");
    let output = sample(folder.path(), &["bare.onnx", "--info"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for line in ["data       not recorded", "trained    not recorded", "recipe     not recorded"] {
        assert!(said.lines().any(|said| said == line), "{said} lacks {line:?}");
    }
    assert!(!said.contains("quality"), "{said}");
}
