//! How much memory there is to be had.

use candle_core::Device;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Bytes that can be taken on `device`, where the system tells. On the CPU: what the machine has free or can make so, what
/// the container or control group leaves, and what the process's own limit (`ulimit -v`) leaves of its addresses.
pub fn available(device: &Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => device.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free as u64),
        _ => of_machine().into_iter().chain(addresses_left()).min(),
    }
}

/// Bytes for a person: `1.5 GB`.
pub fn amount(bytes: u64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes as f64 >= *unit).unwrap_or((1e6, "MB"));
    format!("{:.1} {name}", bytes as f64 / unit)
}

/// The machine's, and the control group's.
fn of_machine() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0)?;
    let pid = sysinfo::get_current_pid().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing());
    let group = system.process(pid).and_then(|process| process.cgroup_limits()).or_else(|| system.cgroup_limits());
    // Files that are only cached count as used there, and make room when it is needed.
    let left = group.map(|group| group.total_memory.saturating_sub(group.rss));
    Some(left.map_or(machine, |left| machine.min(left)))
}

/// What the limit of the process's address space leaves, where there is one.
fn addresses_left() -> Option<u64> {
    let text = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    let number = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let limit = number(&text("limits")?, "Max address space")?;
    let used = number(&text("status")?, "VmSize:")?.saturating_mul(1024);
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_amounts_read_well() {
        let found = available(&Device::Cpu).expect("the system tells");
        assert!(found > 100_000_000, "{found}");
        assert_eq!([0, 1_500_000, 23_400_000_000, 9 << 42].map(amount), ["0.0 MB", "1.5 MB", "23.4 GB", "39.6 TB"]);
    }
}
