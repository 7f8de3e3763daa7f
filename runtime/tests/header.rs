//! `include/kiln.h` is what cbindgen makes of the module `capi`.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap_or_else(|e| panic!("{e}"));
    config.after_includes = Some(version());
    // In the order in which they are to be read, every file of the module.
    let sources = [
        "status",
        "errors",
        "handles",
        "structs",
        "generator",
        "draw",
        "texts",
        "latent",
        "layout",
        "log",
        "stream",
        "pool",
        "convert",
        "memory",
        "versions",
    ];
    let entries = std::fs::read_dir(root.join("src/capi")).expect("lists");
    // The folders there are those of tests.
    let files = entries.filter(|entry| entry.as_ref().expect("an entry").path().is_file()).count();
    // All but `mod.rs`, which would bring every other file along once more.
    assert_eq!(files, sources.len() + 1, "a file of src/capi is missing in this test");
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), |builder, name| {
        builder.with_src(root.join("src/capi").join(name).with_extension("rs"))
    });
    let mut made = Vec::new();
    builder.generate().unwrap_or_else(|e| panic!("{e}")).write(&mut made);

    let text = String::from_utf8_lossy(&made);
    let mut functions: Vec<&str> = text.lines().filter(|line| line.starts_with("KilnStatus kiln_")).collect();
    let all = functions.len();
    functions.sort_unstable();
    functions.dedup();
    assert!(all > 15 && functions.len() == all, "each function is declared once");

    let path = root.join("include/kiln.h");
    if std::env::var_os("KILN_UPDATE_HEADER").is_some_and(|value| value == "1") {
        std::fs::write(&path, &made).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let there = std::fs::read_to_string(&path).unwrap_or_else(|e| format!("{}: {e}", path.display()));
    // Checkouts may end lines in their own way.
    assert!(
        there.replace("\r\n", "\n").as_bytes() == made,
        "include/kiln.h is not what src/capi says; to update it: KILN_UPDATE_HEADER=1 cargo test -p kiln-gan-runtime --features \
         capi --test header"
    );
}

/// The crate's version, as the preprocessor can compare it.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let numbers = [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ];
    let lines = numbers.map(|(name, number)| format!("#define KILN_VERSION_{name} {number}\n"));
    format!(
        "\n// The version of this header; kiln_version() tells that of the library that runs.\n#define KILN_VERSION \
         \"{version}\"\n{}",
        lines.concat()
    )
}
