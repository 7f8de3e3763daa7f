use super::*;

fn load(example: &[(&str, &str)]) -> crate::Result<Recipe> {
    let value = |text: &str| format!("v = {text}").parse::<toml::Table>().expect("TOML")["v"].clone();
    let none = ("objective.penalties", "[]");
    let all = std::iter::once(&none).filter(|none| example.iter().all(|(key, _)| key != &none.0)).chain(example);
    let overrides: Vec<_> = all.map(|(key, text)| ((*key).to_owned(), value(text))).collect();
    Recipe::load("digits", &overrides)
}

/// With its reason, and by no other row; and not where one of its settings is taken back.
#[test]
fn every_wrong_combination_is_refused_and_no_part_of_it() {
    for wrong in &WRONG {
        let error = load(wrong.example).expect_err(wrong.what).to_string();
        for words in [wrong.what, wrong.why, wrong.instead] {
            assert!(error.contains(words), "{}: {error}", wrong.what);
        }
        for left_out in 0..wrong.example.len() {
            let mut rest = wrong.example.to_vec();
            rest.remove(left_out);
            if let Err(error) = load(&rest) {
                assert!(!error.to_string().contains(wrong.why), "{rest:?}: {error}");
            }
        }
    }
}

/// A penalty of no weight, or one that hardly ever comes, bounds nothing.
#[test]
fn a_wasserstein_critic_is_always_bounded() {
    let of = |kind: &str, weight: &str, every: u64| {
        let penalties = format!("[{{ kind = '{kind}', weight = {weight}, every = {every} }}]");
        load(&[("objective.loss", "'wasserstein'"), ("objective.penalties", &penalties)]).map_err(|e| e.to_string())
    };
    let ramp = |ends: &str| format!("{{ shape = 'linear', {ends}, kimg = 1.0 }}");
    let (rising, falling) = (ramp("from = 0.0, to = 1.0"), ramp("from = 10.0, to = 0.0"));
    let slow = ramp("from = 10.0, to = 1.0, warmup_kimg = 1.0");
    for (kind, weight, every) in [
        ("wgan-gp", "0.0", 1),
        ("wgan-gp", &rising, 1),
        ("wgan-gp", &falling, 1),
        ("r1", &slow, 1),
        ("wgan-gp", "10.0", 65),
        ("lecam", "0.3", 1),
    ] {
        let said = of(kind, weight, every).expect_err("nothing bounds it");
        assert!(said.contains("wasserstein") && said.contains("grow"), "{kind}, {weight}, {every}: {said}");
    }
    for (kind, weight, every) in
        [("wgan-gp", "10.0", 64), ("r1", &ramp("from = 10.0, to = 0.1"), 16), ("scaled", "1.0", 1)]
    {
        assert!(of(kind, weight, every).is_ok(), "{kind}, {weight}, {every}");
    }
    // Batch normalisation has a scale that spectral normalisation does not bound.
    let normalised = [("objective.loss", "'wasserstein'"), ("discriminator.spectral_norm", "true")];
    assert!(load(&normalised).is_ok());
    let said = load(&[&normalised[..], &[("discriminator.batch_norm", "true")]].concat()).expect_err("is unbounded");
    assert!(said.to_string().contains("without a bound"), "{said}");
}

/// The penalty divides a loss: that of a critic whose loss is minus a distance.
#[test]
fn scaled_goes_with_distances_alone() {
    for loss in Loss::ALL {
        let name = format!("{}", toml::Value::try_from(loss).expect("a name"));
        let found = load(&[("objective.loss", &name), ("objective.penalties", SCALED)]);
        let distance = matches!(loss, Loss::MmdRbf | Loss::MmdRationalQuadratic | Loss::Wasserstein);
        assert_eq!(found.is_ok(), distance, "{name}");
    }
}

/// The documentation has this very table, and says something of every loss, penalty and remedy. To write the table:
/// `KILN_BLESS=1 cargo test -p trainer --lib combinations`.
#[test]
fn the_documentation_has_all_of_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/objectives.md");
    let text = std::fs::read_to_string(path).expect("trainer/objectives.md");
    let rows: String = WRONG.iter().map(|w| format!("| {} | {} | {} |\n", w.what, w.why, w.instead)).collect();
    let rows = format!("| what | why | instead |\n| --- | --- | --- |\n{rows}");
    let (before, rest) = text.split_once("<!-- combinations:begin -->\n").expect("a beginning");
    let (table, after) = rest.split_once("<!-- combinations:end -->").expect("an end");
    if std::env::var_os("KILN_BLESS").is_some() {
        let text = format!("{before}<!-- combinations:begin -->\n{rows}<!-- combinations:end -->{after}");
        std::fs::write(path, text).expect("written");
    } else {
        assert_eq!(table, rows, "KILN_BLESS=1 writes it anew");
    }
    let name = |value: toml::Value| value.as_str().map(str::to_owned).expect("a name");
    let of_losses = Loss::ALL.iter().map(|loss| name(toml::Value::try_from(loss).expect("a name")));
    let of_penalties = Kind::ALL.iter().map(|kind| name(toml::Value::try_from(kind).expect("a name")));
    for name in of_losses.chain(of_penalties) {
        assert!(before.contains(&format!("| `{name}` |")), "nothing is said of {name}");
    }
}

/// What the documentation shows of recipes can be put into one.
#[test]
fn examples_can_be_run() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path);
    for (path, keys) in [("../README.md", 5), ("objectives.md", 3)] {
        let text = read(path);
        let (_, rest) = text.split_once("```toml\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        let sections = example.parse::<toml::Table>().unwrap_or_else(|e| panic!("{path}: {e}"));
        let flat = sections.into_iter().flat_map(|(section, table)| {
            let table = table.as_table().cloned().expect("a section");
            table.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
        });
        let overrides: Vec<_> = flat.collect();
        assert!(overrides.len() >= keys, "{path}: {overrides:?}");
        if let Err(error) = Recipe::load("digits", &overrides) {
            panic!("{path}: {error}");
        }
    }
}
