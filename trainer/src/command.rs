//! Commands that are printed for the user to run next.

use crate::cli::Args;
use clap::ValueEnum;
use std::borrow::Cow;
use std::path::Path;

/// Calls the program `trainer` as this one was built.
pub fn trainer(arguments: &str) -> String {
    let features = if cfg!(feature = "cuda") { "--features cuda " } else { "" };
    format!("cargo run --release -p trainer {features}-- {arguments}")
}

/// Goes on with the run in `run`, and with what `args` asked for.
pub fn resume(run: &Path, args: &Args) -> String {
    let mut arguments = format!("--run {} --resume", quoted(run));
    for path in &args.export {
        arguments += &format!(" --export {}", quoted(path));
    }
    for (asked, flag) in [(args.external_weights, " --external-weights"), (args.force, " --force")] {
        arguments += if asked { flag } else { "" };
    }
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    if let Some(which) = args.checkpoint.and_then(|which| name(which.to_possible_value())) {
        arguments += &format!(" --checkpoint {which}");
    }
    if args.device != Default::default()
        && let Some(device) = name(args.device.to_possible_value())
    {
        arguments += &format!(" --device {device}");
    }
    if let Some(threads) = args.threads {
        arguments += &format!(" --threads {threads}");
    }
    trainer(&arguments)
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).unwrap_or(Cow::Borrowed(&text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn what_was_asked_for_is_asked_for_again() {
        let args = ["trainer", "--export", "a b.onnx", "--external-weights", "--device", "cpu", "--threads", "1"];
        let command = resume(Path::new("runs/it's $HOME"), &Args::parse_from(args));
        let words = shlex::split(&command).expect("a command");
        let after = words.iter().position(|word| word == "--").expect("arguments") + 1;
        let again = Args::parse_from(["trainer".to_owned()].iter().chain(&words[after..]));
        assert_eq!(again.run.as_deref(), Some(Path::new("runs/it's $HOME")));
        assert_eq!(again.export, [Path::new("a b.onnx")]);
        assert!(again.resume && again.external_weights && !again.force && again.threads == Some(1));
        assert!(command.contains("--device cpu"), "{command}");
    }
}
