//! Programs that run beside a test: what they said, how they end, how much memory they hold.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(900);

/// A program that was started and is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: File,
}

impl Running {
    /// Starts a command; what it writes is kept in a file, so that it never waits for a reader.
    pub fn start(command: &mut Command) -> Self {
        let said = tempfile::tempfile().unwrap_or_else(|e| panic!("no temporary file: {e}"));
        let end = || Stdio::from(said.try_clone().unwrap_or_else(|e| panic!("no second handle: {e}")));
        let child = command.stdin(Stdio::null()).stdout(end()).stderr(end()).spawn();
        Self { child: child.unwrap_or_else(|e| panic!("{command:?} does not start: {e}")), said }
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap_or_else(|e| panic!("{e}")).is_some()
    }

    /// Waits for something that it does, before it ends.
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        wait(what, || {
            let ended = self.ended();
            assert!(done() || !ended, "{what} does not come: the program has ended and said\n{}", self.said());
            done()
        });
    }

    /// Waits for its end, and gives that and what it wrote.
    pub fn wait(mut self) -> (ExitStatus, String) {
        wait("the end of a program", || self.ended());
        (self.child.wait().unwrap_or_else(|e| panic!("{e}")), self.said())
    }

    /// What it has written.
    fn said(&self) -> String {
        let (mut said, mut bytes) = (&self.said, Vec::new());
        said.rewind().and_then(|()| said.read_to_end(&mut bytes)).unwrap_or_else(|e| panic!("{e}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it, without a chance to write anything, and gives what it wrote.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap_or_else(|e| panic!("{e}"));
        self.wait().1
    }

    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&self, name: &str) {
        super::succeed(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// Bytes of its memory that are resident, mapped files included; `None` once it has ended. Linux only.
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}
