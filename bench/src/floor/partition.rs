//! A log of the floor: one file, and where each batch begins in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::batch::{patch_base_offset, patch_leader_epoch, verify_crc};

/// Where the count of records stands in a batch.
const AT_COUNT: usize = 57;

/// One partition.
pub(crate) struct Partition {
    file: File,
    log: Mutex<Log>,
    grown: Condvar,
}

#[derive(Default)]
struct Log {
    end_offset: i64,
    end: u64,
    /// Base offset and position of each batch.
    batches: Vec<(u32, u32)>,
    /// Fetches that wait for a record.
    waiting: usize,
}

/// Bytes of the file that answer a fetch.
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) position: u64,
    pub(crate) length: usize,
    pub(crate) end_offset: i64,
}

impl Partition {
    pub(crate) fn create(path: &Path) -> io::Result<Partition> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Partition { file, log: Mutex::default(), grown: Condvar::new() })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Checks and writes one batch; gives its base offset.
    pub(crate) fn append(&self, batch: &mut [u8]) -> io::Result<i64> {
        verify_crc(batch).map_err(io::Error::other)?;
        let count = batch.get(AT_COUNT..AT_COUNT + 4).ok_or(io::ErrorKind::InvalidData)?;
        let count = i32::from_be_bytes([count[0], count[1], count[2], count[3]]);
        patch_leader_epoch(batch, 0);
        let mut log = self.lock();
        let base = log.end_offset;
        patch_base_offset(batch, base);
        self.file.write_all_at(batch, log.end)?;
        let entry = (base as u32, log.end as u32);
        log.batches.push(entry);
        log.end += batch.len() as u64;
        log.end_offset += i64::from(count);
        if log.waiting > 0 {
            self.grown.notify_all();
        }
        Ok(base)
    }

    /// At most `max_bytes` from the batch that holds `offset`, and at least that batch; waits for a record up to
    /// `max_wait` at the end of the log.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, max_wait: Duration) -> Slice {
        let mut log = self.lock();
        let deadline = Instant::now() + max_wait;
        while offset >= log.end_offset {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Slice { position: log.end, length: 0, end_offset: log.end_offset };
            }
            log.waiting += 1;
            log = self.grown.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
            log.waiting -= 1;
        }
        let after = log.batches.partition_point(|(base, _)| i64::from(*base) <= offset);
        let position = log.batches.get(after.wrapping_sub(1)).map_or(0, |(_, at)| u64::from(*at));
        let next = log.batches.get(after).map_or(log.end, |(_, at)| u64::from(*at));
        let end = log.end.min(position + max_bytes as u64).max(next);
        Slice { position, length: (end - position) as usize, end_offset: log.end_offset }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
