use super::rules::*;
use super::*;
use crate::objective::Loss;

/// The game of this loss on so many images, in steps of 64.
fn game(loss: Loss, images: u64) -> Game {
    let mut recipe = crate::recipe::Recipe::load("digits", &[]).expect("a recipe");
    (recipe.objective.loss, recipe.training.batch) = (loss, 64);
    Game::of(&recipe, images)
}

/// The names of what is raised at each of these ticks; all figures are healthy but those that are given.
fn raised(ticks: &[&[(&str, f64)]], loss: Loss, images: u64) -> Vec<Vec<&'static str>> {
    raised_in(&game(loss, images), ticks)
}

fn raised_in(game: &Game, ticks: &[&[(&str, f64)]]) -> Vec<Vec<&'static str>> {
    let mut alarm = Alarm::default();
    let healthy = [
        ("diversity", 40.),
        ("data_diversity", 44.),
        ("discriminator_loss", 0.6 * game.ideal.unwrap_or(1.)),
        ("generator_loss", 1.5),
        ("real_logit", 1.),
        ("fake_logit", -1.),
        ("real_spread", 1.),
        ("fake_spread", 1.),
        ("real_sign", 0.6),
        ("fake_sign", -0.6),
        ("generator_gradient_norm", 1.),
        ("discriminator_gradient_norm", 2.),
    ];
    let each = ticks.iter().enumerate().map(|(i, given)| {
        let mut figures: Figures = healthy.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        figures.extend(given.iter().map(|&(name, value)| (name.to_owned(), value)));
        figures.insert("images".to_owned(), 20_000. * (i + 1) as f64);
        alarm.see(figures, game).into_iter().map(|raised| raised.rule.name).collect()
    });
    each.collect()
}

#[test]
fn each_trouble_is_told_when_it_lasts_and_no_other() {
    let ok: &[(&str, f64)] = &[];
    let none: Vec<Vec<&str>> = vec![vec![]; 12];
    assert_eq!(raised(&[ok; 12], Loss::NonSaturating, 60_000), none);

    let same: &[(&str, f64)] = &[("diversity", 3.)];
    assert_eq!(
        raised(&[ok, same, ok, same, same, same], Loss::Hinge, 60_000)[3..],
        [vec![], vec!["collapse"], vec!["collapse"]]
    );
    // It begins grey, and must become different some time.
    assert_eq!(raised(&[same, same, same], Loss::Hinge, 60_000), none[..3]);
    assert_eq!(raised(&[same; 7], Loss::Hinge, 60_000)[6], ["collapse"]);

    // Ticks may be so short that six of them are still the beginning.
    let short = Game { images_a_step: 1_000, ..game(Loss::Hinge, 60_000) };
    assert_eq!(raised_in(&short, &[same; 9]), none[..9]);
    assert_eq!(raised_in(&short, &[same; 11])[10], ["collapse"], "200 steps of 1000 images are 10 ticks");
    let [grey, flat] = [8., 0.5].map(|diversity| [("diversity", diversity)]);
    let fallen = [&grey[..], &grey, &grey, &grey, &flat, &flat, &flat];
    assert_eq!(raised_in(&short, &fallen)[6], ["collapse"]);

    let won: &[(&str, f64)] = &[("discriminator_loss", 0.01), ("real_sign", 1.), ("fake_sign", -1.)];
    assert_eq!(
        raised(&[ok, won, won, won], Loss::NonSaturating, 60_000),
        [vec![], vec![], vec![], vec!["discriminator_won"]]
    );
    assert_eq!(raised(&[ok, won, won, won], Loss::Wasserstein, 60_000), none[..4], "a score is not a loss of labels");

    // Where labels are smoothed, no loss is less than this.
    let left = Loss::NonSaturating.least(0.1);
    let smoothed = Game { least: left, ..game(Loss::NonSaturating, 60_000) };
    let won = |loss: f64| vec![("discriminator_loss", loss), ("real_sign", 1.), ("fake_sign", -1.)];
    for (loss, names) in [(left + 0.03, &["discriminator_won"][..]), (left + 0.06, &[])] {
        assert_eq!(raised_in(&smoothed, &[&won(loss)[..]; 3])[2], names, "{loss}");
    }

    let blind: &[(&str, f64)] = &[("real_logit", 0.5), ("fake_logit", 0.5)];
    assert_eq!(raised(&[blind; 3], Loss::NonSaturating, 60_000)[2], ["discriminator_gave_up"]);
    assert_eq!(raised(&[blind; 3], Loss::Wasserstein, 60_000)[2], ["discriminator_gave_up"]);
    assert_eq!(raised(&[blind; 8], Loss::MmdRepulsive, 60_000), none[..8], "vectors of one mean may be told apart");

    let fooled: &[(&str, f64)] = &[("real_logit", -0.1), ("fake_logit", 0.1)];
    assert_eq!(raised(&[fooled; 8], Loss::Hinge, 60_000)[7], ["discriminator_gave_up"]);
    assert_eq!(raised(&[fooled; 7], Loss::Hinge, 60_000), none[..7], "it begins so");
    assert_eq!(raised(&[fooled; 8], Loss::MmdRbf, 60_000), none[..8], "its outputs have no sign");
    let silent: &[(&str, f64)] =
        &[("real_logit", 1e-4), ("fake_logit", -1e-4), ("real_spread", 1e-4), ("fake_spread", 1e-4)];
    assert_eq!(raised(&[silent; 8], Loss::LeastSquares, 60_000)[7], ["discriminator_gave_up"]);
    assert_eq!(raised(&[silent; 8], Loss::Wasserstein, 60_000), none[..8], "its logits have no scale");

    let torn: &[(&str, f64)] = &[("generator_gradient_norm", 60.)];
    assert_eq!(raised(&[ok, ok, ok, torn], Loss::NonSaturating, 60_000)[3], ["divergence"]);
    assert_eq!(raised(&[ok, torn], Loss::NonSaturating, 60_000), none[..2], "nobody knows yet what is usual");

    let up: &[(&str, f64)] = &[("generator_loss", 3.)];
    let down: &[(&str, f64)] = &[("generator_loss", 0.4)];
    assert_eq!(raised(&[up, down, up, down, up, down, up, down], Loss::Hinge, 60_000)[7], ["oscillation"]);
    let drift: Vec<[(&str, f64); 1]> = (0..8).map(|i| [("generator_loss", f64::from(i))]).collect();
    let drift: Vec<&[(&str, f64)]> = drift.iter().map(|tick| &tick[..]).collect();
    assert_eq!(raised(&drift, Loss::Hinge, 60_000)[7], none[0]);

    let known: &[(&str, f64)] = &[("real_sign", 0.99), ("fake_sign", -0.99)];
    assert_eq!(raised(&[known; 3], Loss::NonSaturating, 1_000)[2], ["memorisation"]);
    assert_eq!(raised(&[known; 3], Loss::NonSaturating, 60_000)[2], none[0], "many images are not known by heart");
}

/// Those of a resumed run, damaged lines and half ticks left out.
#[test]
fn the_past_is_that_of_the_log() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stats.jsonl");
    assert!(past(&path, 40)?.is_empty());
    let log = b"{\"images\":20,\"r1\":1.5}\n{\"images\":30,\"partial\":true}\nno \xff line\n{\"images\":40,\"r1\":2}\n{\"images\":60}\n";
    std::fs::write(&path, log).expect("writes");
    let seen = past(&path, 40)?;
    assert_eq!(seen.iter().map(|tick| tick["images"]).collect::<Vec<_>>(), [20., 40.]);
    assert_eq!((seen[0]["r1"], seen[1]["r1"]), (1.5, 2.));
    // What might never end is not read.
    assert!(past(Path::new("/dev/zero"), 40).is_err_and(|error| error.to_string().contains("a regular file")));
    Ok(())
}

/// A run that went back to before an oscillation is not told of it again by what is left of the log.
#[test]
fn an_oscillation_is_not_seen_again_from_before_it() {
    let figures = |images: usize, loss: f64| {
        let all = [("generator_loss", loss), ("images", images as f64)];
        all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Figures>()
    };
    let swinging = |i: usize| if i < 4 { 1.5 } else { [3., 0.4][i % 2] };
    let mut alarm = Alarm::default();
    let game = game(Loss::Hinge, 10);
    let told = (0..20).find(|&i| !alarm.see(figures(i, swinging(i)), &game).is_empty());
    let told = told.expect("an oscillation");
    let rule = RULES.iter().find(|rule| rule.name == "oscillation").expect("is one");
    let since = alarm.before(rule.window) as usize;
    assert!(since < 4 && told < 12, "told at {told}, since {since}");
    let mut again = Alarm::default();
    let after = (0..=since).map(swinging).chain([1.5]);
    assert!(after.enumerate().all(|(i, loss)| again.see(figures(i, loss), &game).is_empty()));
}

#[test]
fn no_rule_looks_further_back_than_checkpoints_are_kept_for() {
    assert!(RULES.iter().all(|rule| rule.ticks <= rule.window));
    assert_eq!(RULES.iter().map(|rule| rule.window).max(), Some(MOST_TICKS));
}

/// Without a figure nothing is seen, whatever a log holds.
#[test]
fn figures_that_are_not_there_raise_nothing() {
    let mut alarm = Alarm::default();
    for _ in 0..12 {
        assert!(alarm.see(Figures::new(), &game(Loss::Hinge, 10)).is_empty());
    }
}

/// What measured best (benches/RESULTS.md), and is in the recipe `digits` for that.
#[test]
fn the_penalty_that_is_advised_is_the_one_of_the_default_recipe() {
    let known = crate::recipe::Recipe::load("digits", &[]).expect("a recipe").objective.penalties;
    let mut advised = 0;
    for rule in RULES.iter().filter(|rule| rule.name != "memorisation") {
        for (_, rest) in
            rule.remedy.match_indices("objective.penalties=").map(|(at, key)| rule.remedy.split_at(at + key.len()))
        {
            let (value, _) = rest.split_once('\'').expect("an end");
            let table = format!("v = {value}").parse::<toml::Table>().expect("TOML");
            let penalties: Vec<crate::objective::Penalty> = table["v"].clone().try_into().expect("penalties");
            assert_eq!(penalties, known, "{}", rule.name);
            advised += 1;
        }
    }
    assert_eq!(advised, 3);
}
