//! The program `trainer`: reads the command line, calls the library, reports.

mod bench_command;
mod cli;
mod command;
mod evaluate;
mod finish;
mod learn;
mod pack;
mod pictures;

use clap::Parser;
use cli::{Args, Command};
use std::process::ExitCode;
use trainer::Result;
use trainer::report::{lost, print, say};

/// Tensors are large and live for a part of a step: their memory is to be kept for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`: milliseconds until free memory goes back to the system, never with -1.
const PURGE_DELAY: i32 = 15;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet; the option is a number that the allocator reads when it frees.
    unsafe {
        trainer::ops::prepare_candle();
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
    let code = run(&Args::parse()).unwrap_or_else(|error| {
        say!("error: {error}");
        ExitCode::FAILURE
    });
    match lost() {
        Some(error) => {
            say!("error: cannot write what was to be printed: {error}");
            ExitCode::FAILURE
        }
        None => code,
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        None => {
            use_threads(args.threads);
            learn::run(args)
        }
        Some(Command::Bench(args)) => {
            use_threads(args.threads);
            bench_command::run(args)
        }
        Some(Command::Evaluate(args)) => {
            use_threads(args.threads);
            evaluate::run(args)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Pack(args)) => {
            pack::run(args)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Objectives) => {
            // What marks a table for the test that compares it is no part of the text.
            let lines = trainer::objective::GUIDE.lines().filter(|line| !line.starts_with("<!--"));
            print!("{}", lines.collect::<Vec<_>>().join("\n"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Computes with this many threads, or one a core. The main thread is one of them: it computes instead of waiting to be
/// woken after every operator.
fn use_threads(threads: Option<u16>) {
    // It fails only if there is a pool already.
    let threads = threads.map_or(0, usize::from);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
}
