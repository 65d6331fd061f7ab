//! What the machine gives this process: memory and file descriptors.

use std::fs;
use std::path::Path;

use broker::Capacity;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Requests in flight may take this part of the memory.
const REQUEST_SHARE: u64 = 4;
/// Less memory than this for requests in flight would hold up a single large one.
const MIN_REQUEST_BYTES: u64 = 32 * 1024 * 1024;
/// Of each four file descriptors one is kept for logs and the rest.
const CONNECTION_SHARE: (u64, u64) = (3, 4);

/// Raises the limit of open files as far as the system lets, as a JVM does; then tells what there is.
pub(crate) fn capacity() -> Capacity {
    let files = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    let files = if raised.is_ok() { files.maximum } else { files.current };
    let connections = files.map(|n| n / CONNECTION_SHARE.1 * CONNECTION_SHARE.0);
    let request_bytes = (memory_limit() / REQUEST_SHARE).max(MIN_REQUEST_BYTES);
    Capacity {
        request_bytes: usize::try_from(request_bytes).unwrap_or(usize::MAX),
        connections: connections.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)),
    }
}

/// The memory that this process may use, in bytes: what the machine has, or less by a control group's limit.
fn memory_limit() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "32 bits on some machines")]
    let machine = u64::from(info.totalram).saturating_mul(info.mem_unit.into());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(group_limit).fold(machine, u64::min)
}

/// The smallest limit of one line of `/proc/self/cgroup`: `id:controllers:/path`, of the group or one above it.
fn group_limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    // Inside a container the path may be the host's: then only the root is there.
    let groups = Path::new(path).ancestors();
    let limit = |group: &Path| {
        let place = Path::new(root).join(group.strip_prefix("/").unwrap_or(group)).join(file);
        fs::read_to_string(place).ok()?.trim().parse::<u64>().ok()
    };
    groups.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_files() {
        let capacity = capacity();
        assert!(capacity.request_bytes >= 32 << 20);
        assert!(capacity.connections >= 100);
        assert!(memory_limit() >= 128 << 20);
        assert_eq!(group_limit("3:cpu,cpuacct:/x"), None);
    }
}
