//! How much room there is, and how much of it may be used.
//!
//! Free bytes are asked of the file system the store itself lies on (`statvfs`). `sysinfo`'s list of disks leaves out
//! tmpfs, network and many bind mounts on Linux, and would then name the disk around them; on the other systems it knows
//! more than `statvfs` does (space that macOS frees on demand), so there it is asked first.

use std::{fmt, io, path::Path};

/// 500 MB, the least that stays free (requirement S1).
const FLOOR_BYTES: u64 = 500_000_000;

/// What a file system says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskFacts {
    /// Bytes in all.
    pub(crate) total_bytes: u64,
    /// Bytes this user may still write.
    pub(crate) free_bytes: u64,
}

/// The disk under the store; tests put a small one in its place.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// The facts of the file system a path lies on.
    fn facts(&self, path: &Path) -> io::Result<DiskFacts>;
}

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn facts(&self, path: &Path) -> io::Result<DiskFacts> {
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        if let Some(facts) = listed_disk(path) {
            return Ok(facts);
        }
        let stats = fs4::statvfs(path)?;
        Ok(DiskFacts { total_bytes: stats.total_space(), free_bytes: stats.available_space() })
    }
}

/// The disk with the longest mount point above a path, as the system lists it.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
fn listed_disk(path: &Path) -> Option<DiskFacts> {
    let path = path.canonicalize().ok()?;
    let disks = sysinfo::Disks::new_with_refreshed_list().ok()?;
    let above = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
    let disk = above.max_by_key(|disk| disk.mount_point().components().count())?;
    Some(DiskFacts { total_bytes: disk.total_space(), free_bytes: disk.available_space() })
}

/// What stays free on a disk: the larger of 10 % and 500 MB, but of a disk under 2 GB (a test's tmpfs, an old card) never
/// more than a quarter, since else nothing could ever be taken along.
#[must_use]
pub const fn floor_bytes(total_bytes: u64) -> u64 {
    let tenth = total_bytes / 10;
    let quarter = total_bytes / 4;
    let fixed = if quarter < FLOOR_BYTES { quarter } else { FLOOR_BYTES };
    if tenth > fixed { tenth } else { fixed }
}

/// Room on the store's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the disk.
    pub total_bytes: u64,
    /// Bytes nobody uses.
    pub free_bytes: u64,
    /// What stays free of them.
    pub floor_bytes: u64,
    /// What queued downloads will still take.
    pub reserved_bytes: u64,
    /// The most that Carrel may take of this device; none: as much as the disk has.
    pub quota_bytes: Option<u64>,
    /// What Carrel takes already, where there is a limit.
    pub used_bytes: u64,
}

impl Space {
    /// Of a disk, with nothing reserved.
    pub(crate) const fn of(facts: DiskFacts) -> Self {
        Self {
            total_bytes: facts.total_bytes,
            free_bytes: facts.free_bytes,
            floor_bytes: floor_bytes(facts.total_bytes),
            reserved_bytes: 0,
            quota_bytes: None,
            used_bytes: 0,
        }
    }

    /// As far as a limit on the store allows, `used_bytes` of which are taken.
    pub(crate) const fn within(self, quota_bytes: u64, used_bytes: u64) -> Self {
        Self { quota_bytes: Some(quota_bytes), used_bytes, ..self }
    }

    /// What a new download may take.
    #[must_use]
    pub const fn available_bytes(&self) -> u64 {
        self.above_floor_bytes().saturating_sub(self.reserved_bytes)
    }

    /// What may still be written, reservations not counted.
    #[must_use]
    pub const fn above_floor_bytes(&self) -> u64 {
        let of_disk = self.free_bytes.saturating_sub(self.floor_bytes);
        match self.quota_bytes {
            Some(quota) if quota.saturating_sub(self.used_bytes) < of_disk => quota.saturating_sub(self.used_bytes),
            _ => of_disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_tenth_or_500_mb_free_but_never_most_of_a_small_disk() {
        assert_eq!(floor_bytes(256_000_000_000), 25_600_000_000, "10 % of a large disk");
        assert_eq!(floor_bytes(5_000_000_000), 500_000_000, "where both rules meet");
        assert_eq!(floor_bytes(3_000_000_000), 500_000_000, "500 MB of a small one");
        assert_eq!(floor_bytes(64_000_000), 16_000_000, "a quarter of a tiny one");
        assert_eq!(floor_bytes(0), 0, "and nothing of none");
    }

    #[test]
    fn the_smaller_of_disk_and_limit_counts() {
        let disk = Space::of(DiskFacts { total_bytes: 10_000_000_000, free_bytes: 5_000_000_000 });
        assert_eq!(disk.above_floor_bytes(), 4_000_000_000);
        assert_eq!(disk.within(1_000, 400).above_floor_bytes(), 600);
        assert_eq!(
            disk.within(1_000, 1_400).above_floor_bytes(),
            0,
            "a limit below what is used frees nothing by itself"
        );
        assert_eq!(disk.within(u64::MAX, 400).above_floor_bytes(), 4_000_000_000, "and none makes the disk larger");
    }

    #[test]
    fn asks_the_file_system_the_store_lies_on() {
        let facts = SystemDisk.facts(Path::new("/dev/shm")).unwrap();
        let root = SystemDisk.facts(Path::new("/")).unwrap();
        assert_ne!(facts.total_bytes, root.total_bytes, "a tmpfs is not the disk around it");
        assert_eq!(listed_disk(Path::new("/")).unwrap().total_bytes, root.total_bytes, "the list names the same disk");
    }
}
