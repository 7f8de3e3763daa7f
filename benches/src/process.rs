//! What a process knows of its memory.

/// The largest resident memory of this process so far, in MB; `None` where the system is not Linux.
pub fn peak_memory() -> Option<f64> {
    status("VmHWM:")
}

/// The resident memory of this process, in MB; `None` where the system is not Linux.
pub fn memory() -> Option<f64> {
    status("VmRSS:")
}

fn status(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: f64 =
        status.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix("kB")?.trim().parse().ok())?;
    Some((kibibytes * 1024. / 1e5).round() / 10.)
}
