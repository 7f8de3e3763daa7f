//! A disk of a test's own: small, or read-only. Linux only.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system in memory, mounted where only programs that enter its namespace see it, and gone when this is dropped.
#[derive(Debug)]
pub struct Disk {
    /// It holds the namespace and mounts.
    shell: Child,
    answers: BufReader<std::process::ChildStdout>,
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk of so many kilobytes; `None`, and a word why, where programs may not mount.
    pub fn new(kilobytes: u64) -> Option<Self> {
        let folder = super::folder();
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh"]);
        let shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut shell = shell.map_err(|e| println!("skipped: unshare does not start ({e})")).ok()?;
        let answers = BufReader::new(shell.stdout.take()?);
        let mut disk = Self { shell, answers, folder };
        let mounted = disk.run(&format!("mount -t tmpfs -o size={kilobytes}k none '{}'", disk.mount().display()));
        if !mounted {
            println!("skipped: no file system can be mounted here");
        }
        mounted.then_some(disk)
    }

    /// Where programs that are started with [`Self::enter`] see it.
    pub fn mount(&self) -> &Path {
        self.folder.path()
    }

    /// Where the test sees it.
    pub fn path(&self) -> PathBuf {
        let mount = self.mount();
        Path::new("/proc").join(self.shell.id().to_string()).join("root").join(mount.strip_prefix("/").unwrap_or(mount))
    }

    /// Mounts it again with other options, such as `ro` or `size=9m`.
    pub fn remount(&mut self, options: &str) {
        let command = format!("mount -o remount,{options} '{}'", self.mount().display());
        assert!(self.run(&command), "{command} failed");
    }

    /// The same command where the disk is seen; it starts in `/`.
    pub fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--preserve-credentials", "--user", "--mount", "--target", &self.shell.id().to_string()]);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }

    /// Whether a command of the namespace's shell succeeds.
    fn run(&mut self, command: &str) -> bool {
        let mut answer = String::new();
        let asked = self.shell.stdin.as_mut().map(|input| writeln!(input, "{command}; echo $?"));
        let heard = self.answers.read_line(&mut answer);
        asked.is_some_and(|asked| asked.is_ok()) && heard.is_ok() && answer.trim() == "0"
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
