//! The table of the zoo is that of the files in it; `KILN_BLESS=1 cargo test -p tests --test zoo` writes it anew.

use runtime::{Generator, Options};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# The zoo

Generators that the trainer made, a folder each: the recipe, the file, its weights, samples, and a card that says how it was
trained, of whose data, and what it is worth. This table is made from the files and the cards by
`KILN_BLESS=1 cargo test -p tests --test zoo`, and compared with them by the tests.

| | samples | images | classes | file | shown in training | data | quality |
| --- | --- | --- | --- | --- | --- | --- | --- |
";

#[test]
fn the_table_is_that_of_the_files() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let entries = std::fs::read_dir(&models).expect("lists").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("gen.onnx").is_file()).collect();
    folders.sort();
    assert!(folders.len() > 1, "{folders:?}");
    let table: String =
        HEAD.chars().chain(folders.iter().map(|folder| row(folder)).collect::<String>().chars()).collect();
    let path = models.join("README.md");
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, &table).expect("writes");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, table, "models/README.md is of other files: KILN_BLESS=1 cargo test -p tests --test zoo");
}

fn row(folder: &Path) -> String {
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let generator = Generator::open(folder.join("gen.onnx"), &Options::default()).expect("a generator");
    let info = generator.info();
    let image = info.image;
    let card = std::fs::read_to_string(folder.join("card.md")).unwrap_or_else(|e| panic!("{name}: card.md: {e}"));
    let of_card = |key: &str| {
        let line = card.lines().find_map(|line| line.strip_prefix(&format!("| {key} | "))?.strip_suffix(" |"));
        line.unwrap_or_else(|| panic!("{name}: card.md has no row `{key}`")).to_owned()
    };
    for file in ["recipe.toml", "gen.safetensors", "samples.png"] {
        assert!(folder.join(file).is_file(), "{name} has no {file}");
    }
    assert!(!info.quality.is_empty(), "{name}: the file has no figure of its quality");
    let colours = ["grey", "grey and alpha", "colour", "colour and alpha"][image.channels - 1];
    let size = folder.join("gen.onnx").metadata().expect("is there").len();
    let mut row = String::new();
    let _ = writeln!(
        row,
        "| [{name}]({name}/card.md) | ![samples]({name}/samples.png) | {} x {}, {colours} | {} | {} KB, {} | {} | {} | {} |",
        image.width,
        image.height,
        if info.classes == 0 { "-".to_owned() } else { info.classes.to_string() },
        size / 1000,
        info.precision,
        info.images_seen.expect("a run of the trainer's"),
        // Links are those of the card, one folder deeper.
        of_card("data").replace("](../../", "](../"),
        info.quality,
    );
    row
}
