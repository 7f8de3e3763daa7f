//! Ctrl-C and terminations: once ends the run with everything whole, twice at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a run that was stopped.
pub const STOPPED: u8 = 130;

/// Whether somebody has asked the program to stop.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on. Where that is not possible, the system ends the program at once, as it does others.
    pub fn listen() -> Self {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let stop = Self(Arc::default());
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second one finds what the first has left.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, STOPPED.into(), stop.0.clone())
                .and_then(|_| signal_hook::flag::register(signal, stop.0.clone()));
        }
        stop
    }

    /// Whether somebody has asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run that was stopped has to say.
#[derive(Debug)]
pub struct Stopped(pub String);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped: {}", self.0)
    }
}

impl std::error::Error for Stopped {}
