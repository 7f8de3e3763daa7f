//! How a run is asked to stop: Ctrl-C, a termination, a hang-up. Once ends it after the step at hand, twice at once.

use crate::report::say;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a run that was stopped.
pub const STOPPED: u8 = 130;

/// Whether somebody has asked.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens to the signals of the system from now on. Where that is not possible, that is told, and nobody can ask.
    pub fn listen() -> Self {
        let stop = Self::default();
        if let Err(e) = stop.clone().catch() {
            say!("warning: cannot catch Ctrl-C ({e}); it will lose what comes after the last checkpoint");
        }
        stop
    }

    /// Whether somebody has asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks.
    pub fn ask(&self) {
        if self.0.swap(true, Ordering::Relaxed) {
            std::process::exit(STOPPED.into());
        }
        say!("\nstopping after this step; once more to stop at once, losing what came after the last checkpoint");
    }

    #[cfg(unix)]
    fn catch(self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let mut signals = vec![SIGINT, SIGTERM];
        // Who starts a program with `nohup` wants it to go on.
        if !hang_ups_are_ignored() {
            signals.push(SIGHUP);
        }
        let mut signals = signal_hook::iterator::Signals::new(signals)?;
        std::thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(|_| self.ask()))?;
        Ok(())
    }

    #[cfg(not(unix))]
    fn catch(self) -> std::io::Result<()> {
        use signal_hook::consts::SIGINT;
        signal_hook::flag::register_conditional_shutdown(SIGINT, STOPPED.into(), self.0.clone())?;
        signal_hook::flag::register(SIGINT, self.0).map(drop)
    }
}

/// Whether this process was started with hang-ups ignored. Linux tells; elsewhere, a program that writes to no terminal was
/// most likely started so.
#[cfg(unix)]
fn hang_ups_are_ignored() -> bool {
    use std::io::IsTerminal;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    match ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) {
        Some(mask) => mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1,
        None => !std::io::stdout().is_terminal() && !std::io::stderr().is_terminal(),
    }
}
