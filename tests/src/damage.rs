//! Damage to the files of a node that is down: what a torn write, a bad disk or a careless hand leaves behind.
//!
//! All choices come from the generator that is given, so that a seed repeats them. A damage to a log says which batches
//! it hit, found by comparing the bytes of each batch before and after.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use protocol::batch::{self, RawBatch};

use crate::random::Random;

/// What is damaged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of an active segment is cut off.
    CutTail,
    /// Bits of its last batches are flipped.
    FlipTail,
    /// Its end is zeros.
    ZeroTail,
    /// Random bytes behind its end.
    AppendRandom,
    /// Zeros behind its end, as a file system leaves them.
    AppendZeros,
    /// The begin of a batch that would come next behind its end.
    AppendPart,
    /// Its last batch once more behind its end.
    AppendOld,
    /// An offset or time index, of an active or an old segment.
    Index,
    /// `recovery-point-offset-checkpoint`.
    RecoveryPoint,
    /// `replication-offset-checkpoint`.
    HighWatermark,
    /// `log-start-offset-checkpoint`.
    LogStart,
    /// A `leader-epoch-checkpoint`.
    LeaderEpochs,
    /// A producer snapshot.
    Snapshot,
    /// One bit of an old segment.
    FlipSealed,
    /// One bit of the part of a batch in an old segment that its checksum does not cover.
    FlipSealedHeader,
    /// The end of a partition of `__consumer_offsets`.
    GroupsTail,
    /// The end of the metadata log.
    MetadataTail,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 17] = [
        Kind::CutTail,
        Kind::FlipTail,
        Kind::ZeroTail,
        Kind::AppendRandom,
        Kind::AppendZeros,
        Kind::AppendPart,
        Kind::AppendOld,
        Kind::Index,
        Kind::RecoveryPoint,
        Kind::HighWatermark,
        Kind::LogStart,
        Kind::LeaderEpochs,
        Kind::Snapshot,
        Kind::FlipSealed,
        Kind::FlipSealedHeader,
        Kind::GroupsTail,
        Kind::MetadataTail,
    ];

    /// What may happen to the end of a log: those before [`Kind::Index`].
    const TAIL: &'static [Kind] = Kind::ALL.split_at(Kind::Index as usize).0;
}

/// What was done.
pub struct Damage {
    /// In words.
    pub what: String,
    /// The damaged file as it was.
    pub before: (PathBuf, Vec<u8>),
    /// Offsets of each batch that was there and is not any more as it was.
    pub hits: Vec<Range<i64>>,
}

impl Damage {
    /// Topic and partition of the folder that was damaged.
    pub fn partition(&self) -> Option<(String, i32)> {
        let folder = self.before.0.parent()?.file_name()?.to_str()?;
        let (topic, partition) = folder.rsplit_once('-')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    }

    /// Puts the file back as it was.
    pub fn undo(&self) {
        fs::write(&self.before.0, &self.before.1).expect("the damaged file can be written");
    }
}

/// Damages something in the data directory of a stopped node whose load goes to `topic`; `None` if it has nothing of
/// the kind yet.
pub fn damage(data: &Path, topic: &str, kind: Kind, random: &mut Random) -> Option<Damage> {
    let topic = format!("{topic}-");
    let path = match kind {
        Kind::Index => pick(random, files(data, &topic, &["index"])),
        Kind::Snapshot => pick(random, files(data, &topic, &["snapshot"])),
        Kind::LeaderEpochs => pick(random, files(data, &topic, &["leader-epoch-checkpoint"])),
        Kind::RecoveryPoint => Some(data.join("recovery-point-offset-checkpoint")),
        Kind::HighWatermark => Some(data.join("replication-offset-checkpoint")),
        Kind::LogStart => Some(data.join("log-start-offset-checkpoint")),
        Kind::FlipSealed | Kind::FlipSealedHeader => pick(random, sealed(data, &topic)),
        Kind::GroupsTail => active(data, "__consumer_offsets-").into_iter().max_by_key(|path| size(path)),
        Kind::MetadataTail => active(data, "__cluster_metadata-").pop(),
        _ => pick(random, active(data, &topic)),
    }?;
    let old = fs::read(&path).ok()?;
    let mut new = old.clone();
    let how = match kind {
        Kind::FlipSealed => flip(&mut new, 0, 1, random),
        Kind::FlipSealedHeader => flip_header(&mut new, random),
        Kind::GroupsTail | Kind::MetadataTail => {
            let tail = Kind::TAIL[random.between(0, Kind::TAIL.len() as u64) as usize];
            harm_tail(&mut new, tail, random)
        }
        _ if Kind::TAIL.contains(&kind) => harm_tail(&mut new, kind, random),
        _ => garble(&mut new, random),
    }?;
    if how == DELETED {
        fs::remove_file(&path).ok()?;
    } else {
        fs::write(&path, &new).ok()?;
    }
    let hits = if path.extension().is_some_and(|e| e == "log") { hits(&old, &new) } else { Vec::new() };
    let shown = path.strip_prefix(data).unwrap_or(&path).display().to_string();
    let what = format!("{kind:?}: {shown}: {how}; offsets {hits:?}");
    Some(Damage { what, before: (path, old), hits })
}

const DELETED: &str = "deleted";

/// Files of a topic's partitions whose names end with one of `ends`.
fn files(data: &Path, folder: &str, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for partition in fs::read_dir(data).into_iter().flatten().flatten() {
        let name = partition.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(folder).and_then(|n| n.parse::<u32>().ok());
        if number.is_none() {
            continue;
        }
        let files = fs::read_dir(partition.path()).into_iter().flatten().flatten().map(|f| f.path());
        found.extend(files.filter(|f| ends.iter().any(|end| f.to_string_lossy().ends_with(end))));
    }
    // The system lists them in any order.
    found.sort();
    found
}

/// The newest segment of each partition.
fn active(data: &Path, folder: &str) -> Vec<PathBuf> {
    let mut logs = files(data, folder, &[".log"]);
    logs.reverse();
    logs.dedup_by(|a, b| a.parent() == b.parent());
    logs.retain(|path| size(path) > 0);
    logs
}

/// The other segments.
fn sealed(data: &Path, folder: &str) -> Vec<PathBuf> {
    let active: Vec<PathBuf> = active(data, folder);
    let mut logs = files(data, folder, &[".log"]);
    logs.retain(|path| !active.contains(path) && size(path) > 0);
    logs
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

fn pick<T>(random: &mut Random, mut from: Vec<T>) -> Option<T> {
    let at = random.between(0, from.len().max(1) as u64) as usize;
    (at < from.len()).then(|| from.swap_remove(at))
}

/// Where the batches of a log lie, and their offsets.
fn batches(log: &[u8]) -> Vec<(Range<usize>, Range<i64>)> {
    let header = |raw: RawBatch<'_>| {
        let header = raw.header().ok()?;
        Some((raw.position..raw.position + raw.bytes.len(), header.base_offset..header.next_offset()))
    };
    batch::batches(log).map_while(|raw| header(raw.ok()?)).collect()
}

fn hits(old: &[u8], new: &[u8]) -> Vec<Range<i64>> {
    let changed = |(bytes, offsets): (Range<usize>, Range<i64>)| {
        (new.get(bytes.clone()) != old.get(bytes)).then_some(offsets)
    };
    batches(old).into_iter().filter_map(changed).collect()
}

/// Begin of the last `count` batches.
fn tail_start(log: &[u8], count: usize) -> Option<usize> {
    let all = batches(log);
    all.get(all.len().saturating_sub(count)).map(|(bytes, _)| bytes.start)
}

fn harm_tail(log: &mut Vec<u8>, kind: Kind, random: &mut Random) -> Option<String> {
    let start = tail_start(log, random.between(1, 5) as usize)?;
    let end = log.len();
    Some(match kind {
        Kind::CutTail => {
            // At the end of a batch now and then.
            let at = if random.between(0, 4) == 0 {
                start
            } else {
                random.between(start as u64, end as u64) as usize
            };
            log.truncate(at);
            format!("cut at {at} of {end}")
        }
        Kind::FlipTail => flip(log, start, random.between(1, 9), random)?,
        Kind::ZeroTail => {
            let at = random.between(start as u64, end as u64) as usize;
            log[at..].fill(0);
            format!("zeros from {at} to {end}")
        }
        Kind::AppendRandom => {
            let bytes = (0..random.between(1, 5_000)).map(|_| random.number() as u8);
            log.extend(bytes.collect::<Vec<u8>>());
            format!("{} random bytes behind {end}", log.len() - end)
        }
        Kind::AppendZeros => {
            log.resize(end + random.between(1, 10_000) as usize, 0);
            format!("{} zeros behind {end}", log.len() - end)
        }
        Kind::AppendPart => {
            let (bytes, offsets) = batches(log).pop()?;
            let mut next = log[bytes].to_vec();
            batch::patch_base_offset(&mut next, offsets.end);
            let part = random.between(1, next.len() as u64) as usize;
            log.extend_from_slice(&next[..part]);
            format!("{part} bytes of a next batch behind {end}")
        }
        _ => {
            let (bytes, _) = batches(log).pop()?;
            log.extend_from_within(bytes);
            format!("the last batch once more behind {end}")
        }
    })
}

/// Flips bits of batches from `start` on, except in the base offset of the very last one: that one has no checksum and
/// nothing that follows would give it away.
fn flip(log: &mut [u8], start: usize, count: u64, random: &mut Random) -> Option<String> {
    let last = batches(log).pop()?.0.start;
    let mut bits = Vec::new();
    for _ in 0..count {
        let at = random.between(start as u64, log.len() as u64) as usize;
        if !(last..last + 8).contains(&at) {
            let bit = random.between(0, 8);
            log[at] ^= 1 << bit;
            bits.push(format!("{at}.{bit}"));
        }
    }
    Some(format!("flipped bits {} of {} bytes", bits.join(" "), log.len()))
}

fn flip_header(log: &mut [u8], random: &mut Random) -> Option<String> {
    let (bytes, offsets) = pick(random, batches(log))?;
    let (at, bit) = (bytes.start + random.between(0, 17) as usize, random.between(0, 8));
    log[at] ^= 1 << bit;
    Some(format!("flipped bit {at}.{bit} of the header at {}, offsets {offsets:?}", bytes.start))
}

/// Damages a small file.
fn garble(file: &mut Vec<u8>, random: &mut Random) -> Option<String> {
    let len = file.len();
    let at = random.between(0, len.max(1) as u64) as usize;
    Some(match random.between(0, 7) {
        0 => DELETED.to_owned(),
        1 => {
            file.truncate(at);
            format!("cut at {at} of {len}")
        }
        2 => {
            file.clear();
            "emptied".to_owned()
        }
        3 => {
            file[at.min(len)..].fill(0);
            format!("zeros from {at} of {len}")
        }
        4 => {
            file.extend((0..random.between(1, 64)).map(|_| random.number() as u8).collect::<Vec<u8>>());
            "random bytes behind its end".to_owned()
        }
        5 => {
            file.iter_mut().for_each(|byte| *byte = random.number() as u8);
            "all bytes random".to_owned()
        }
        _ => {
            let bit = random.between(0, 8);
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << bit;
            }
            format!("flipped bit {at}.{bit} of {len}")
        }
    })
}

/// The largest offset that a group has committed, of all commits whose batches are good in the files of
/// `__consumer_offsets`.
pub fn committed_on_disk(data: &Path) -> Option<i64> {
    let mut largest = None;
    for path in files(data, "__consumer_offsets-", &[".log"]) {
        let log = fs::read(&path).expect("a log can be read");
        for raw in
            batch::batches(&log).map_while(Result::ok).filter(|raw| batch::verify_crc(raw.bytes).is_ok())
        {
            for record in raw.records().into_iter().flatten().flatten() {
                // A commit: the key begins with 0 or 1, the value with its version and the offset.
                let is_commit = record.key.is_some_and(|key| matches!(key, [0, 0 | 1, ..]));
                let offset = record.value.and_then(|value| value.get(2..10)?.try_into().ok());
                if let (true, Some(offset)) = (is_commit, offset) {
                    largest = largest.max(Some(i64::from_be_bytes(offset)));
                }
            }
        }
    }
    largest
}
