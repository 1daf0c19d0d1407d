//! Where the numbers of memory are read: files of the cgroup and of the process.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{MemoryLimit, Reading};

/// A limit of version 1 that is none: the kernel writes the largest multiple of a page.
const UNLIMITED: u64 = 1 << 60;
/// How many folders above a cgroup are looked at; the kernel allows far fewer by default.
const DEPTH_MAX: usize = 32;

/// Reads memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The cgroup of the process and those above it, with the names of their files.
    Cgroups(Vec<PathBuf>, Files),
    /// The resident memory of the process against a limit of this many bytes.
    Process(u64),
}

/// How the files and fields of a cgroup are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Memory of processes, not of files.
    anonymous: &'static str,
    /// What the kernel takes back before it kills.
    reclaimable: &'static [&'static str],
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    anonymous: "total_rss",
    reclaimable: &["total_inactive_file", "total_active_file"],
};
const VERSION_2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    anonymous: "anon",
    reclaimable: &["inactive_file", "active_file", "slab_reclaimable"],
};

impl Meter {
    /// Finds what is to be read; `None` where there is no limit to hold.
    pub fn open(limit: MemoryLimit) -> Option<Self> {
        match limit {
            MemoryLimit::Off => None,
            MemoryLimit::Bytes(bytes) => Some(Self(Kind::Process(bytes))),
            MemoryLimit::Cgroup => {
                let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
                Self::of_cgroups(&groups, Path::new("/sys/fs/cgroup"))
            }
        }
    }

    /// `groups` is the text of `/proc/self/cgroup`, `mount` is where the cgroups are.
    fn of_cgroups(groups: &str, mount: &Path) -> Option<Self> {
        // Hierarchy, controllers, path (cgroups(7)).
        let mut lines = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        });
        let of_memory = lines.clone().find(|(_, names, _)| names.split(',').any(|n| n == "memory"));
        let (root, path, files) = match of_memory {
            Some((_, _, path)) => (mount.join("memory"), path, VERSION_1),
            None => (mount.to_owned(), lines.find(|(id, ..)| *id == "0")?.2, VERSION_2),
        };
        let own = root.join(path.trim_start_matches('/'));
        // In a container the path is often that of the host, and the mount is the cgroup itself.
        let own = if own.join(files.usage).exists() { own } else { root.clone() };
        let folders: Vec<PathBuf> = own
            .ancestors()
            .take_while(|folder| folder.starts_with(&root))
            .filter(|folder| folder.join(files.limit).exists())
            .take(DEPTH_MAX)
            .map(Path::to_owned)
            .collect();
        (!folders.is_empty()).then_some(Self(Kind::Cgroups(folders, files)))
    }

    /// Memory now; `None` when there is no limit at the moment. Limits are read each time, because
    /// a container can be resized while it runs.
    pub fn read(&self) -> io::Result<Option<Reading>> {
        match &self.0 {
            Kind::Process(limit) => {
                Ok(Some(Reading { used: own_memory("VmRSS:")?, limit: *limit }))
            }
            Kind::Cgroups(folders, files) => {
                let own = own_memory("RssAnon:")?;
                let mut tightest: Option<Reading> = None;
                for folder in folders {
                    let reading = files.read(folder, own)?;
                    if reading.is_some_and(|r| tightest.is_none_or(|t| r.percent() > t.percent())) {
                        tightest = reading;
                    }
                }
                Ok(tightest)
            }
        }
    }
}

impl Files {
    /// What is used and may be used, both without the memory of other processes. Buffers of sockets
    /// and of the kernel cannot be told apart by process and count as this one's.
    fn read(&self, folder: &Path, own: u64) -> io::Result<Option<Reading>> {
        let Some(limit) = number(&fs::read_to_string(folder.join(self.limit))?)
            .filter(|limit| *limit < UNLIMITED)
        else {
            return Ok(None);
        };
        let usage = fs::read_to_string(folder.join(self.usage))?;
        let usage = number(&usage).ok_or(io::ErrorKind::InvalidData)?;
        let stat = fs::read_to_string(folder.join("memory.stat"))?;
        let field = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(number).unwrap_or(0)
        };
        let reclaimable: u64 = self.reclaimable.iter().map(|name| field(name)).sum();
        let others = field(self.anonymous).saturating_sub(own);
        Ok(Some(Reading {
            used: usage.saturating_sub(reclaimable).saturating_sub(others),
            limit: limit.saturating_sub(others).max(1),
        }))
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A field of `/proc/self/status`, which counts in KiB (proc_pid_status(5)), in bytes.
fn own_memory(field: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| number(line.trim().trim_end_matches("kB")));
    Ok(kib.ok_or(io::ErrorKind::InvalidData)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A folder of a cgroup with these files.
    fn group(folder: &Path, files: &[(&str, String)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    fn version_2(folder: &Path, max: &str, current: u64, stat: &str) {
        let files = [
            ("memory.max", max.to_owned()),
            ("memory.current", format!("{current}\n")),
            ("memory.stat", stat.to_owned()),
        ];
        group(folder, &files);
    }

    #[test]
    fn version_2_counts_what_the_kernel_cannot_take_back_and_the_tightest_limit() {
        let mount = tempfile::tempdir().unwrap();
        let own = own_memory("RssAnon:").unwrap();
        let stat = |anon: u64| {
            format!(
                "anon {anon}\nfile 9\ninactive_file {MIB}\nactive_file {MIB}\nslab_reclaimable 0\n"
            )
        };
        let pod = mount.path().join("pods/one");
        // 100 MiB are another process's.
        version_2(&pod, "536870912\n", own + 120 * MIB, &stat(own + 100 * MIB));
        version_2(&pod.join("router"), "max\n", own + 9 * MIB, &stat(own));
        group(mount.path(), &[("memory.stat", String::new())]);
        let meter = Meter::of_cgroups("0::/pods/one/router\n", mount.path()).unwrap();
        let Kind::Cgroups(folders, _) = &meter.0 else { panic!("no cgroup") };
        assert_eq!(folders.len(), 2, "the root has no limit: {folders:?}");
        let reading = meter.read().unwrap().unwrap();
        // The test itself grows between the two looks.
        assert_eq!(reading.limit >> 22, (512 - 100) >> 2);
        assert!(reading.used.abs_diff(own + 18 * MIB) < 8 * MIB, "{reading:?} {own}");
        version_2(&pod.join("router"), "100000000\n", 90_000_000, "anon 0\n");
        let reading = meter.read().unwrap().unwrap();
        assert_eq!(reading, Reading { used: 90_000_000, limit: 100_000_000 });
        assert_eq!(reading.percent(), 90);
    }

    #[test]
    fn version_1_is_found_by_its_controller_also_where_the_path_is_the_hosts() {
        let mount = tempfile::tempdir().unwrap();
        let files = [
            ("memory.limit_in_bytes", "9223372036854771712\n".to_owned()),
            ("memory.usage_in_bytes", "50000000\n".to_owned()),
            ("memory.stat", "total_rss 0\ntotal_active_file 10000000\n".to_owned()),
        ];
        group(&mount.path().join("memory"), &files);
        let groups = "5:cpu,cpuacct:/x\n4:memory:/kubepods/burstable/pod7/c1\n0::/\n";
        let meter = Meter::of_cgroups(groups, mount.path()).unwrap();
        assert_eq!(meter.read().unwrap(), None, "no limit");
        fs::write(mount.path().join("memory/memory.limit_in_bytes"), "80000000").unwrap();
        let reading = meter.read().unwrap().unwrap();
        assert_eq!(reading, Reading { used: 40_000_000, limit: 80_000_000 });
    }

    #[test]
    fn a_machine_without_cgroups_has_no_limit_unless_one_is_given() {
        let mount = tempfile::tempdir().unwrap();
        assert_eq!(Meter::of_cgroups("0::/\n", mount.path()), None);
        assert_eq!(Meter::open(MemoryLimit::Off), None);
        let reading = Meter::open(MemoryLimit::Bytes(1 << 40)).unwrap().read().unwrap().unwrap();
        assert!((MIB..1 << 40).contains(&reading.used), "{reading:?}");
        assert_eq!(reading.limit, 1 << 40);
    }
}
