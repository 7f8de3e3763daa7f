//! How a generator is opened.

use crate::error::{Error, Result};
use crate::text::shown;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most images a call, whatever the options.
pub const MAX_BATCH: usize = 4096;
/// Most threads of one call.
pub const MAX_THREADS: usize = 1024;

/// Where a generator runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// CUDA where it works, else the CPU; with [`Start::Fast`] the CPU; [`Generator::provider`](crate::Generator::provider) says
    /// which, and [`Generator::why_cpu`](crate::Generator::why_cpu) why.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU; an error where it does not work.
    Cuda,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(format!("{} is no provider, allowed are auto, cpu and cuda", shown(text))),
        }
    }
}

/// What opening a generator is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Many samples: [`Options::prepack`] and [`Options::self_test`], if they do not say otherwise.
    #[default]
    Steady,
    /// A few samples, soon, by a program that then ends: neither, if they do not say otherwise; checksums are compared in any
    /// case. [`Provider::Auto`] is then the CPU, as a GPU takes seconds to begin.
    Fast,
}

/// How a generator is opened. Later versions add fields: end it with `..Options::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it runs. Default: [`Provider::Auto`].
    pub provider: Provider,
    /// Threads of one call, 1 to [`MAX_THREADS`], on the CPU. Default: 1, which has the steadiest latency. With more, a batch is
    /// divided: each thread draws its part of the images alone. One image is drawn by all of them, layer by layer;
    /// [`Generator::warm_up`](crate::Generator::warm_up) measures which of both ways is quicker for a batch size. A generator
    /// with layers to which several threads would give other bits than one is never drawn jointly; one with layers that have
    /// other bits in a batch is drawn image by image, by one thread. Every generator, clones and those of a
    /// [`Pool`](crate::Pool) too, has threads of its own: where there are several callers, a pool of generators with one thread
    /// each is the better use of cores.
    pub threads: usize,
    /// Whether threads spin between calls while they wait, which saves microseconds a call and burns a core for tens of
    /// milliseconds after the last one; of no effect with one thread. Default: no.
    pub spinning: bool,
    /// Most images a call, 1 to [`MAX_BATCH`]; sizes the buffers. Default: 64.
    pub max_batch: usize,
    /// What opening is good for, as far as nothing else is said in the next two. Default: [`Start::Steady`].
    pub start: Start,
    /// Whether weights are arranged for the processor when a generator is opened, and layers computed in the form that is
    /// fastest on it; else everything is used as it lies in the file, which opens sooner, takes less memory, and makes
    /// every sample slower. Values of both ways differ by rounding, as a rule in their last bits, and by more where one layer
    /// has weights of very different sizes. On a GPU it makes no difference. `None`: with [`Start::Steady`]. Default: `None`.
    pub prepack: Option<bool>,
    /// Whether the file's self-test is replayed when it is opened. On a GPU it is in any case: by this it is known to work.
    /// `None`: with [`Start::Steady`]. Default: `None`.
    pub self_test: Option<bool>,
    /// How long a call may take that draws or warms up, and the self-test at opening: one that takes longer is ended after
    /// the layer at hand, with [`ErrorKind::TimeLimit`](crate::ErrorKind::TimeLimit). `None`: as long as it takes. Default:
    /// `None`.
    ///
    /// A thread, one a process, looks at the time: in a child of `fork`, a generator with a limit is
    /// [`ErrorKind::Forked`](crate::ErrorKind::Forked). On a GPU layers are put into its queue, mostly long before they are
    /// computed: what ends is the queueing, and what is in the queue already is waited for. A replay
    /// ([`Generator::warm_up`](crate::Generator::warm_up)) and a warm-up there are not ended.
    pub time_limit: Option<Duration>,
    /// Whether transposed convolutions are computed otherwise than as ONNX Runtime's, where they can be: on the CPU by kernels of
    /// this crate, on a GPU as ordinary convolutions; `None` for what is best where it runs. Those that a GPU has not are in
    /// any case. To measure what the other way is like: whether that draws the same bits each time is then for the caller to
    /// see.
    #[doc(hidden)]
    pub rewrite: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provider: Provider::Auto,
            threads: 1,
            spinning: false,
            max_batch: 64,
            start: Start::Steady,
            prepack: None,
            self_test: None,
            time_limit: None,
            rewrite: None,
        }
    }
}

impl Options {
    /// Whether weights are arranged on the CPU.
    pub(crate) fn prepacks(&self) -> bool {
        self.prepack.unwrap_or(self.start == Start::Steady)
    }

    /// Whether the self-test is replayed on the CPU.
    pub(crate) fn tests_itself(&self) -> bool {
        self.self_test.unwrap_or(self.start == Start::Steady)
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (name, value, most) in [("threads", self.threads, MAX_THREADS), ("max_batch", self.max_batch, MAX_BATCH)] {
            if !(1..=most).contains(&value) {
                return Err(Error::argument(format!("options.{name} is {value}, allowed is 1 to {most}")));
            }
        }
        if self.time_limit == Some(Duration::ZERO) {
            return Err(Error::argument("options.time_limit is 0, allowed is a longer time, or none"));
        }
        Ok(())
    }
}
