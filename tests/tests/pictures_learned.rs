//! From a folder of pictures to samples: what a newcomer does with a handful of files.

use image::{ImageFormat, Rgba, RgbaImage};
use std::path::Path;
use tests::runs::{TINY, assert_same};
use tests::{fail, folder, python, read, sample, succeed, trainer};

/// A disc of this colour on nothing, or on white where it is opaque.
fn disc(path: &Path, (width, height): (u32, u32), number: u32, colour: [u8; 3], opaque: bool) {
    let picture = RgbaImage::from_fn(width, height, |x, y| {
        let far = (x as i32 - (width / 2 + number % 3) as i32).pow(2) + (y as i32 - (height / 2) as i32).pow(2);
        let [r, g, b] = colour.map(|c| c.saturating_sub((number * 7 % 50) as u8));
        match (far < (width.min(height) / 3).pow(2) as i32, opaque) {
            (true, _) => Rgba([r, g, b, 255]),
            (false, true) => Rgba([255; 4]),
            // What nobody is to see.
            (false, false) => Rgba([9, 99, 199, 0]),
        }
    });
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
    picture.save_with_format(path, ImageFormat::Png).expect("writes");
}

const SMALL: [&str; 6] =
    ["--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "generator.latent=8"];

/// A folder a class, with alpha: what was chosen is said and stands in the recipe, a killed run goes on to the same bytes, and
/// the file draws the class that is asked for by its name, with alpha.
#[test]
fn class_folders_become_a_generator_that_knows_their_names() {
    let place = folder();
    let inside = place.path();
    for (class, colour) in [("red ones", [250, 40, 30]), ("blue", [20, 40, 240])] {
        for number in 0..9 {
            let name = format!("things/{class}/{number}.png");
            disc(&inside.join(name), (20, 16), number, colour, false);
        }
    }
    let run = |name: &str, steps: &str| {
        let mut command = trainer(inside);
        command.args(["--data", "things", "--recipe", "pictures-conditional", "--run", name, "--steps", steps]);
        command.args(TINY).args(["--set", "data.flip=true", "--set", "data.balance=1.0"]);
        command
    };
    let said = succeed(run("whole", "10").args(["--export", "gen.onnx", "--force"]));
    for words in ["20x16", "--size", "conditional: of 2 classes", "generator:", "parameters", "18"] {
        assert!(said.contains(words), "{words} is not in:\n{said}");
    }
    let recipe = String::from_utf8(read(inside.join("whole/recipe.toml"))).expect("text");
    for words in ["size = \"20x16\"", "channels = 4", "conditional = true", "batch = 4", "flip = true"] {
        assert!(recipe.contains(words), "{words} is not in:\n{recipe}");
    }
    assert!(String::from_utf8_lossy(&read(inside.join("whole/data.log"))).contains("red ones"));

    succeed(&mut run("half", "5"));
    let mut resumed = trainer(inside);
    succeed(resumed.args(["--run", "half", "--resume", "--steps", "10"]));
    assert_same(&inside.join("whole"), &inside.join("half"));

    let info = succeed(sample(inside).args(["gen.onnx", "--info"]));
    assert!(info.contains("red ones") && info.contains("blue"), "{info}");
    succeed(sample(inside).args(["gen.onnx", "--class", "Red ones", "--count", "3", "--out", "drawn"]));
    let drawn = std::fs::read_dir(inside.join("drawn")).expect("lists").map(|entry| entry.expect("an entry").path());
    let drawn = drawn.filter(|path| path.extension().is_some_and(|extension| extension == "png"));
    let drawn: Vec<_> = drawn.map(|path| image::open(path).expect("a picture")).collect();
    assert_eq!(drawn.len(), 3);
    assert!(drawn.iter().all(|picture| picture.color() == image::ColorType::Rgba8 && picture.width() == 20));
    let said = fail(sample(inside).args(["gen.onnx", "--class", "green", "--count", "1", "--out", "green"]), 1);
    assert!(said.contains("red ones") && said.contains("blue"), "{said}");
    println!("{}", python(inside, "check_onnx.py", &["gen.onnx"]));

    // Its samples are compared with pictures that are read as its own were.
    let said = succeed(trainer(inside).args(["evaluate", "gen.onnx", "--data", "things", "--count", "30"]));
    assert!(said.contains("right class") && said.contains("variance") && !said.contains("other data"), "{said}");
    let said = fail(trainer(inside).args(["evaluate", "gen.onnx", "--count", "30"]), 1);
    assert!(said.contains("makes images of 4 x 16 x 20") && said.contains("--data"), "{said}");
}

/// Any number of pictures of any size, from one.
#[test]
fn few_pictures_and_odd_sizes_are_learned() {
    let place = folder();
    let inside = place.path();
    for (count, size, asked) in
        [(1, (24, 24), None), (5, (50, 50), None), (17, (31, 48), Some("37x29")), (3, (300, 200), Some("48"))]
    {
        let name = format!("of-{count}");
        for number in 0..count {
            disc(&inside.join(format!("{name}/{number}.png")), size, number, [200, 100, 50], true);
        }
        let mut command = trainer(inside);
        command.args(["--data", &name, "--steps", "3", "--run", &format!("run-{count}")]).args(SMALL);
        command.args(asked.iter().flat_map(|size| ["--size", size]));
        let file = format!("{name}.onnx");
        succeed(command.args(["--export", &file, "--force"]));
        let sides = asked.map_or(format!("{}x{}", size.0, size.1), |size| match size {
            "48" => "48x48".to_owned(),
            size => size.to_owned(),
        });
        let picture = format!("{name}.png");
        succeed(sample(inside).args([&file, "--count", "1", "--grid", &picture]));
        let recipe = String::from_utf8(read(inside.join(format!("run-{count}/recipe.toml")))).expect("text");
        assert!(recipe.contains(&format!("size = \"{sides}\"")) && recipe.contains("channels = 3"), "{recipe}");
    }
    let said = fail(trainer(inside).args(["--data", "of-5", "--size", "4", "--steps", "3"]), 1);
    assert!(said.contains("at least 5"), "{said}");
}

/// The length follows from the time there is, and is what the recipe then says.
#[test]
fn minutes_become_a_length() {
    let place = folder();
    let inside = place.path();
    (0..4).for_each(|number| disc(&inside.join(format!("few/{number}.png")), (16, 16), number, [9, 99, 9], true));
    let mut command = trainer(inside);
    command.args(["--data", "few", "--minutes", "0.1", "--print-recipe"]).args(SMALL);
    let said = succeed(&mut command);
    assert!(said.contains("--minutes or --kimg") && said.contains("kimg = ") && said.contains("batch = 8"), "{said}");
    assert!(!inside.join("runs").exists());
    let said = fail(trainer(inside).args(["--minutes", "0"]), 2);
    assert!(said.contains("0.1 to 1000000 minutes"), "{said}");
}
