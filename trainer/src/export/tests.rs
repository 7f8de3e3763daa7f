//! What is refused before anything is written.

use super::*;
use crate::net::{Init, dense};

fn network() -> candle_core::Result<Network> {
    let image = ImageShape { channels: 1, height: 8, width: 8 };
    dense::generator(&dense::Generator { latent: 4, hidden: vec![8] }, image, &mut Init::new(1))
}

fn origin() -> Origin {
    Origin {
        recipe: String::new(),
        images_seen: 0,
        data: String::new(),
        data_sha256: String::new(),
        quality: String::new(),
        class_names: Vec::new(),
    }
}

#[test]
fn names_that_cannot_be_written_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder.onnx")).expect("a folder");
    let error =
        |paths: &[PathBuf], weights| check(paths, weights, Precision::F16).expect_err("must be refused").to_string();
    let inside = Weights::Inside;
    assert!(error(&[path("a.png")], inside).contains("must end in .onnx or .safetensors"));
    assert!(error(&[path("no/a.onnx")], inside).contains("no does not exist"));
    assert!(error(&[path("folder.onnx")], inside).contains("folder.onnx is a folder; give the name of a file"));
    let both = [path("a.onnx"), path("a.safetensors")];
    check(&both, inside, Precision::F16)?;
    assert!(error(&both, Weights::Beside).contains("two exports would write") && !both[1].exists());
    let again = [path("a.onnx"), path("folder.onnx/../a.onnx")];
    assert!(error(&again, inside).contains("two exports would write"));
    // Int8 is one ONNX file.
    check(&both[..1], inside, Precision::Int8)?;
    for (paths, weights) in [(&both[1..], inside), (&both[..1], Weights::Beside)] {
        let error = check(paths, weights, Precision::Int8).expect_err("must be refused").to_string();
        assert!(error.contains("int8 is a form of whole ONNX files"), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "something was left");
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_cannot_be_written_to_and_names_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    // Nobody, not even root, makes files there.
    let error =
        check(&["/proc/self/a.onnx".into()], Weights::Inside, Precision::F16).expect_err("not there").to_string();
    assert!(error.contains("cannot create a file beside /proc/self/a.onnx"), "{error}");
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join(std::ffi::OsString::from_vec(b"a\xff.onnx".to_vec()));
    assert!(check(std::slice::from_ref(&odd), Weights::Inside, Precision::F16).is_ok());
    let error = check(&[odd], Weights::Beside, Precision::F16).expect_err("no UTF-8").to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}

/// In both formats, with the tensor's name, and before there is a file.
#[test]
fn weights_that_a_file_cannot_hold_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |value: f32| -> Result<Network> {
        Ok(network()?.map(|parameter, t| match parameter.name.as_str() {
            "dense2.bias" => {
                let mut values = t.to_vec1::<f32>()?;
                values[3..6].fill(value);
                Tensor::new(values, &Device::Cpu)
            }
            _ => Ok(t.clone()),
        })?)
    };
    for name in ["gen.onnx", "gen.safetensors"] {
        let path = folder.path().join(name);
        let written = |value: f32, precision| {
            export(&with(value)?, precision, &origin(), Weights::Inside, std::slice::from_ref(&path))
        };
        for (value, precision, expected) in [
            (f32::NAN, Precision::F32, "the generator's dense2.bias holds 3 numbers that are not finite"),
            (f32::INFINITY, Precision::F16, "the generator's dense2.bias holds 3 numbers that are not finite"),
            (70_000., Precision::F16, "the generator's dense2.bias holds 3 numbers beyond 65504"),
        ] {
            let error = written(value, precision).expect_err("must be refused").to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0, "something was written");
        }
        written(65504., Precision::F16)?;
        std::fs::remove_file(&path).expect("removes");
    }
    Ok(())
}

/// Of images with a background that is the same in all, a gradient that varies little, and a figure.
#[test]
fn the_self_test_looks_where_images_differ() {
    let (len, count) = (400, 8);
    let image = |i: usize| {
        (0..len).map(move |at| match at {
            // A quarter of all: the figure.
            100..200 => (i as f32 * 1.7 + at as f32).sin(),
            200..300 => 0.01 * (i as f32 + at as f32).sin(),
            _ => -1.,
        })
    };
    let images: Vec<f32> = (0..count).flat_map(image).collect();
    let shape = |width: usize| ImageShape { channels: 1, height: 1, width };
    let points = telling(&images, shape(len));
    assert_eq!(points.len(), SELF_TEST_POINTS);
    assert!(points.iter().all(|at| (100..200).contains(at)), "{points:?}");
    assert!(points.windows(2).all(|pair| pair[0] < pair[1]), "each once: {points:?}");
    assert!(points[0] < 104 && points[SELF_TEST_POINTS - 1] >= 195, "spread: {points:?}");
    // Fewer values than points: each once.
    assert_eq!(telling(&[0., 1., 2., 0., 3., 2.], shape(3)), [0, 1, 2]);
}

/// Half of the pixels can be seen in the first image: the points are theirs, or alphas.
#[test]
fn the_self_test_looks_where_something_can_be_seen() {
    let image = ImageShape { channels: 4, height: 10, width: 40 };
    let value = |i: usize, at: usize| match (at / 400, i) {
        (3, 0) => {
            if at.is_multiple_of(2) {
                0.5
            } else {
                -0.9
            }
        }
        _ => (i as f32 * 1.7 + at as f32 * 3.1).sin(),
    };
    let images: Vec<f32> = (0..8).flat_map(|i| (0..1600).map(move |at| value(i, at))).collect();
    let points = telling(&images, image);
    assert!(points.iter().all(|&at| at >= 1200 || at.is_multiple_of(2)), "{points:?}");
}

/// The file gives straight colours of a generator that learned them multiplied by alpha, in both precisions.
#[test]
fn alpha_is_straight_in_the_file() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let image = ImageShape { channels: 4, height: 8, width: 9 };
    let generator = dense::generator(&dense::Generator { latent: 4, hidden: vec![8] }, image, &mut Init::new(1))?;
    for precision in [Precision::F32, Precision::F16] {
        let path = folder.path().join("gen.onnx");
        export(&generator, precision, &origin(), Weights::Inside, std::slice::from_ref(&path))?;
        let mut file = runtime::Generator::open(&path, &runtime::Options::default())?;
        let mut drawn = vec![0f32; image.len()];
        file.draw(&runtime::Request::seed(3), &mut drawn)?;
        let learned = generator.forward(&[&latents_of(3, 0, 1, 4)?])?.flatten_all()?.to_vec1::<f32>()?;
        for (i, pixel) in learned.chunks_exact(4).enumerate() {
            let alpha = (pixel[3] + 1.) / 2.;
            let plane = |c: usize| (drawn[c * 72 + i] + 1.) / 2.;
            assert!((plane(3) - alpha).abs() < 2e-3);
            for (c, colour) in pixel[..3].iter().enumerate() {
                let straight = ((colour + 1.) / 2. / alpha.max(1. / 16.)).min(1.);
                assert!((plane(c) - straight).abs() < 0.02, "{precision} {i} {c}: {} {straight} {alpha}", plane(c));
            }
        }
    }
    Ok(())
}
