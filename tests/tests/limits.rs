//! What needs more memory than there is is refused in words, before it is taken.

#![cfg(target_os = "linux")]

use std::process::Command;
use tests::{fail, trainer};

/// The program with addresses for two gigabytes only.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"]).arg(command.get_program());
    limited.args(command.get_args()).current_dir(command.get_current_dir().expect("a folder"));
    limited
}

#[test]
fn networks_larger_than_the_memory_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let hostile = [
        &["--set", "generator.width=1024", "--set", "discriminator.width=1024"][..],
        &["--recipe", "tutorial", "--set", "generator.hidden=[16384, 16384]"],
        &["--set", "training.batch=4096", "--set", "generator.width=512"],
    ];
    for args in hostile {
        let mut command = trainer(folder.path());
        command.args(["--steps", "1"]).args(args);
        let said = fail(&mut limited(&command), 1);
        assert!(said.contains("of memory") && said.contains("lower generator.width"), "{said}");
        assert!(!folder.path().join("runs").exists(), "what cannot be run leaves no folder");
    }
}
