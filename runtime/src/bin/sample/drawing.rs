//! Draws and writes, in several threads: each takes the next few images, draws them, and writes them where they go.
//!
//! So that drawing, compressing and writing overlap, whatever takes longest.

use crate::Args;
use crate::folder::{Folder, Scratch};
use crate::grid::Grid;
use crate::job::{Files, Job};
use crate::progress::Progress;
use crate::say::print;
use crate::stop::{Stop, Stopped};
use crate::unfinished::Unfinished;
use runtime::{Canceller, Generator};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Values of the images that a thread draws at a time, unless somebody says how many images: the memory that layers need grows
/// with it, and above this the speed does not.
const VALUES: usize = 1 << 20;
/// How often is looked whether somebody has asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How the work is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Threads that draw and write.
    pub workers: usize,
    /// Threads of one call.
    pub threads: usize,
    /// Images that a worker draws at a time.
    pub batch: usize,
}

impl Plan {
    pub fn new(args: &Args, count: u64) -> Self {
        let given = args.threads.map(usize::from);
        let threads = given.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        // Every thread has something to do, also if there are few images.
        let share = count.div_ceil(threads as u64).max(1);
        let batch = usize::try_from(share).unwrap_or(usize::MAX).min(args.batch.unwrap_or(64));
        let workers = usize::try_from(count.div_ceil(batch.max(1) as u64)).unwrap_or(usize::MAX).min(threads);
        // Sharing one image among threads is for who asks for it: it takes longer to begin with.
        Self { workers, threads: given.map_or(1, |given| given / workers.max(1)), batch }
    }
}

/// Where images go.
struct Sinks<'a> {
    grid: Option<Mutex<Grid<'a>>>,
    folder: Option<Folder<'a>>,
    raw: Option<Mutex<Unfinished<'a>>>,
}

/// What the threads share.
struct Shared<'a> {
    job: &'a Job<'a>,
    sinks: Sinks<'a>,
    stop: &'a Stop,
    batch: usize,
    /// The next image that nobody has taken.
    next: AtomicU64,
    /// How many are where they go.
    done: AtomicU64,
    /// How many of these were drawn, and not there before.
    drawn: AtomicU64,
    /// Workers that have not ended.
    working: AtomicUsize,
    /// Whether all end, since one has failed.
    failed: AtomicBool,
    main: thread::Thread,
}

/// Draws what is asked for, and writes it.
///
/// `files` are those that the generator was opened from, where a folder is to say so.
pub fn draw(
    args: &Args,
    generator: Generator,
    plan: Plan,
    files: Option<Files>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (job, shape) = (Job::new(args, generator.info())?, generator.info().image);
    let count = job.count;
    let grid = args.grid.as_deref().map(|path| Grid::new(path, shape, count, args.columns)).transpose()?;
    let raw = args.raw.as_deref().map(Unfinished::create).transpose()?;
    let open = |(path, files)| Folder::open(path, shape, &job.description(files, shape, generator.provider())?);
    let folder = args.out.as_deref().zip(files.as_ref()).map(open).transpose()?;
    let most = if args.batch.is_some() { plan.batch } else { plan.batch.min(VALUES / shape.len()).max(1) };
    let (stop, provider) = (Stop::listen(), generator.provider());
    let shared = Shared {
        job: &job,
        sinks: Sinks { grid: grid.map(Mutex::new), folder, raw: raw.map(Mutex::new) },
        stop: &stop,
        batch: most,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        drawn: AtomicU64::new(0),
        working: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        main: thread::current(),
    };
    let start = Instant::now();
    let all = run(&shared, generator, plan.workers);
    let (done, drawn) = (shared.done.into_inner(), shared.drawn.into_inner());
    let Sinks { grid, folder, raw } = shared.sinks;
    let goes_on = match &args.out {
        Some(path) => {
            format!("{done} of {count} pictures are in {}; the same command goes on from there", path.display())
        }
        None => "nothing was written".into(),
    };
    match all {
        Err(error) if folder.is_some() && drawn > 0 => return Err(format!("{error}\n{goes_on}").into()),
        other => other?,
    }
    if done < count {
        return Err(Stopped(goes_on).into());
    }
    if let Some(folder) = &folder {
        folder.sync((0..count).flat_map(|i| job.numbers(i, 1)))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut written = Vec::new();
    if let Some(grid) = grid {
        written.push(inner(grid).save()?);
    }
    written.extend(args.out.as_ref().map(|path| path.display().to_string()));
    if let Some(raw) = raw {
        written.push(inner(raw).finish()?);
    }
    let kept = match done - drawn {
        0 => String::new(),
        kept => format!("{kept} of them there already, "),
    };
    print!(
        "{done} images of {} in {} ({kept}{:.0} images/s on {provider})",
        job.source(),
        written.join(" and "),
        drawn as f64 / seconds,
    );
    Ok(())
}

fn inner<T>(sink: Mutex<T>) -> T {
    sink.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Has so many workers do everything, until it is done or somebody asks to stop.
fn run(shared: &Shared<'_>, first: Generator, workers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut generators = (1..workers).map(|_| first.try_clone()).collect::<Result<Vec<_>, _>>()?;
    generators.push(first);
    let cancellers: Vec<Canceller> = generators.iter().map(Generator::canceller).collect();
    let mut progress = Progress::new(shared.job.count);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (number, generator) in generators.into_iter().enumerate() {
            shared.working.fetch_add(1, Ordering::Relaxed);
            match thread::Builder::new().spawn_scoped(scope, move || shared.work(generator, number)) {
                Ok(worker) => workers.push(worker),
                Err(e) => {
                    shared.working.fetch_sub(1, Ordering::Relaxed);
                    // Those that there are do it all.
                    if workers.is_empty() {
                        return Err(format!("cannot start a thread: {e}").into());
                    }
                }
            }
        }
        while shared.working.load(Ordering::Acquire) > 0 {
            thread::park_timeout(LOOK);
            progress.show(shared.done.load(Ordering::Relaxed), shared.drawn.load(Ordering::Relaxed));
            if shared.ends() {
                cancellers.iter().for_each(|canceller| _ = canceller.cancel());
            }
        }
        progress.clear();
        // The first that failed is why the others were ended.
        let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        ends.into_iter().try_for_each(|end| match end {
            Ok(end) => Ok(end?),
            Err(_) => Err("a thread has ended by a fault of this program".into()),
        })
    })
}

impl Shared<'_> {
    /// Whether workers end before everything is done.
    fn ends(&self) -> bool {
        self.stop.asked() || self.failed.load(Ordering::Relaxed)
    }

    /// A worker's life.
    fn work(&self, mut generator: Generator, worker: usize) -> Result<(), String> {
        // Counted even if it ends by a panic.
        let _end = End(self);
        let len = generator.info().image.len();
        let (mut pixels, mut scratch) = (vec![0; self.batch * len], Scratch::new(worker));
        let mut ended = Ok(());
        while ended.is_ok() && !self.ends() {
            let first = self.next.fetch_add(self.batch as u64, Ordering::Relaxed);
            if first >= self.job.count {
                break;
            }
            let n = (self.job.count - first).min(self.batch as u64) as usize;
            ended = self.batch(&mut generator, first, &mut pixels[..n * len], &mut scratch);
        }
        match ended {
            // What was cancelled, or came after that.
            Err(_) if self.ends() => Ok(()),
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                Err(error.to_string())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Draws and writes the images from this one on.
    fn batch(
        &self,
        generator: &mut Generator,
        first: u64,
        pixels: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (len, Sinks { grid, folder, raw }) = (generator.info().image.len(), &self.sinks);
        let numbers = self.job.numbers(first, pixels.len() / len);
        let missing: Vec<bool> =
            numbers.iter().map(|&number| folder.as_ref().is_none_or(|folder| !folder.has(number))).collect();
        // Others than the folder want all.
        let wanted = |i: usize| missing[i] || grid.is_some() || raw.is_some();
        let mut at = 0;
        while at < numbers.len() {
            let run = (at..numbers.len()).take_while(|&i| wanted(i)).count();
            if run > 0 {
                self.job.draw(generator, first + at as u64, &mut pixels[at * len..][..run * len])?;
            }
            at += run.max(1);
        }
        if let Some(raw) = raw {
            raw.lock().unwrap_or_else(PoisonError::into_inner).write_at(first * len as u64, pixels)?;
        }
        for (i, image) in pixels.chunks_exact(len).enumerate() {
            if let Some(folder) = folder.as_ref().filter(|_| missing[i]) {
                if self.ends() {
                    return Ok(());
                }
                folder.write(numbers[i], image, scratch)?;
            }
            if let Some(grid) = grid {
                let place = usize::try_from(first + i as u64)?;
                grid.lock().unwrap_or_else(PoisonError::into_inner).place(place, image);
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            self.drawn.fetch_add(wanted(i).into(), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Tells the main thread that a worker has ended.
struct End<'s, 'a>(&'s Shared<'a>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Release);
        self.0.main.unpark();
    }
}
