//! What works on this machine and what does not, in plain words.

use crate::open;
use crate::say::print;
use runtime::{ErrorKind, Generator, Options, Provider, Request, Start, cuda, engine_info};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the latency is measured, and with how many calls at most.
const PROBE: (Duration, usize) = (Duration::from_secs(2), 2000);

/// Prints the report; the generator is opened as `options` say.
pub fn report(
    model: Option<&Path>,
    mut options: Options,
    batch: Option<usize>,
) -> Result<(), Box<dyn std::error::Error>> {
    print!("runtime    {}, {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let engine = engine_info()?;
    print!("library    ONNX Runtime {}, {}", engine.version, engine.path.display());
    print!("           {}", engine.build);
    print!("providers  {}", engine.providers.join(", "));
    print!("cpu        works");
    match cuda() {
        Ok(()) => print!("cuda       works"),
        Err(error) if error.kind() == ErrorKind::Provider => print!("cuda       does not work: {}", error.what()),
        Err(error) => return Err(error.into()),
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    print!("threads    {} a call, of {cores} that the machine has; --threads N", options.threads);
    match model {
        Some(model) => probe(model, &mut options, batch)?,
        None => print!("generator  none given: `sample --doctor gen.onnx` measures one"),
    }
    if let Some(bytes) = peak_memory() {
        print!("memory     {:.0} MB at most until now, the library's included", bytes as f64 / 1e6);
    }
    Ok(())
}

/// Opens the generator, and measures how long a call takes.
fn probe(model: &Path, options: &mut Options, batch: Option<usize>) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut generator = open(model, options, batch)?;
    let opened = start.elapsed();
    if options.start == Start::Fast {
        // That left the self-test out.
        Generator::open(model, &Options { start: Start::Steady, ..options.clone() })?;
    }
    let runs_on = match (options.provider, generator.provider()) {
        (Provider::Auto, found) => format!("{found}, which auto found"),
        (_, found) => found.to_string(),
    };
    print!("generator  {}, on {runs_on}; its self-test passes", model.display());
    if let (Ok(()), Some(why)) = (cuda(), generator.why_cpu()) {
        print!("           not on cuda: {why}");
    }
    print!("opened     in {:.1} ms", opened.as_secs_f64() * 1e3);
    let grey = generator.info().image_in.map(|image| vec![0f32; image.len()]);
    let request = grey.as_ref().map_or(Request::seed(0), |grey| Request::seed(0).image(grey));
    for batch in [1, options.max_batch] {
        let mut pixels = vec![0u8; batch * generator.info().image.len()];
        generator.warm_up(batch)?;
        let (began, mut calls) = (Instant::now(), Vec::with_capacity(PROBE.1));
        while calls.is_empty() || (began.elapsed() < PROBE.0 && calls.len() < PROBE.1) {
            let call = Instant::now();
            generator.draw(&request.first(calls.len() as u64), &mut pixels)?;
            calls.push(call.elapsed().as_secs_f64() * 1e3);
        }
        calls.sort_by(f64::total_cmp);
        let percentile = |p: usize| calls[(calls.len() - 1) * p / 100];
        print!(
            "batch {batch:<4} p50 {:.3} ms, p99 {:.3} ms over {} calls; {:.0} images/s{}",
            percentile(50),
            percentile(99),
            calls.len(),
            batch as f64 * 1e3 / percentile(50),
            if generator.replays(batch) { ", replayed as a CUDA graph" } else { "" }
        );
        if let Some(why) = generator.why_plain(batch) {
            print!("           not as a CUDA graph: {why}");
        }
        if batch == options.max_batch {
            break;
        }
    }
    Ok(())
}

/// The most memory that the process has had in use, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
