//! `.txnindex`: the aborted transactions whose markers lie in a segment, in the order of their markers.
//!
//! An entry is 34 bytes, big-endian: version (i16, 0), producer id, first offset, offset of the marker, last stable
//! offset once the transaction had ended (i64 each). The file is not made before there is an entry.
//!
//! Invariants: marker offsets increase; what follows the last whole entry is not there (a torn write is written over).
//! Source: Kafka's `TransactionIndex`, `AbortedTxn`; KIP-98.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::log::StorageError;

/// Bytes of an entry.
pub const TXN_ENTRY_SIZE: usize = 34;
const VERSION: i16 = 0;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first record in this partition.
    pub first_offset: i64,
    /// Its marker.
    pub last_offset: i64,
    /// The last stable offset after it: no transaction that ends later has records below it.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// The entry.
    pub fn encode(&self) -> [u8; TXN_ENTRY_SIZE] {
        let mut entry = [0; TXN_ENTRY_SIZE];
        entry[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (place, field) in entry[2..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        entry
    }

    /// Reads an entry; `None` if its version is unknown.
    pub fn decode(entry: &[u8; TXN_ENTRY_SIZE]) -> Option<AbortedTxn> {
        let (version, fields) = entry.split_first_chunk::<2>()?;
        let mut fields = fields.as_chunks::<8>().0.iter().map(|field| i64::from_be_bytes(*field));
        (i16::from_be_bytes(*version) == VERSION).then_some(AbortedTxn {
            producer_id: fields.next()?,
            first_offset: fields.next()?,
            last_offset: fields.next()?,
            last_stable_offset: fields.next()?,
        })
    }
}

/// Why the index gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum TxnIndexError {
    /// IO error.
    #[error(transparent)]
    Io(#[from] StorageError),
    /// The content cannot be: the index has to be built anew from the segment.
    #[error("transaction index {path} is corrupt: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The index of one segment.
#[derive(Debug)]
pub struct TransactionIndex {
    path: PathBuf,
    file: Option<File>,
    /// Whole entries, in bytes.
    len: u64,
    last_offset: Option<i64>,
}

impl TransactionIndex {
    /// Opens the file if it exists.
    pub fn open(path: PathBuf) -> Result<TransactionIndex, TxnIndexError> {
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(StorageError::of("open", &path)(e).into()),
        };
        let mut index = TransactionIndex { path, file, len: 0, last_offset: None };
        if let Some(file) = &index.file {
            let len = file.metadata().map_err(StorageError::of("read", &index.path))?.len();
            index.len = len - len % TXN_ENTRY_SIZE as u64;
        }
        index.last_offset = index.entries()?.last().map(|last| last.last_offset);
        Ok(index)
    }

    /// The file, which need not exist.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// Appends an entry. One whose marker is not above the last one's is there already and is left out.
    pub fn append(&mut self, txn: &AbortedTxn) -> Result<(), StorageError> {
        if self.last_offset.is_some_and(|last| last >= txn.last_offset) {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).create(true).truncate(false);
                let file = options.open(&self.path).map_err(StorageError::of("create", &self.path))?;
                self.file.insert(file)
            }
        };
        file.write_all_at(&txn.encode(), self.len).map_err(StorageError::of("write", &self.path))?;
        self.len += TXN_ENTRY_SIZE as u64;
        self.last_offset = Some(txn.last_offset);
        Ok(())
    }

    /// All entries.
    pub fn entries(&self) -> Result<Vec<AbortedTxn>, TxnIndexError> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; self.len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(StorageError::of("read", &self.path))?;
        let entries = bytes.as_chunks::<TXN_ENTRY_SIZE>().0.iter();
        entries
            .map(|entry| AbortedTxn::decode(entry).ok_or_else(|| self.corrupt("unknown version")))
            .collect()
    }

    /// Adds to `found` the transactions with a marker at or above `from` and a first offset below `to`; true if later
    /// segments cannot hold more of them.
    pub fn collect_aborted(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTxn>,
    ) -> Result<bool, TxnIndexError> {
        for txn in self.entries()? {
            if txn.last_offset >= from && txn.first_offset < to {
                found.push(txn);
            }
            if txn.last_stable_offset >= to {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Drops entries whose marker is at or above `offset`.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), TxnIndexError> {
        let entries = self.entries()?;
        let keep = entries.partition_point(|txn| txn.last_offset < offset);
        if keep < entries.len() {
            self.cut((keep * TXN_ENTRY_SIZE) as u64)?;
            self.last_offset = keep.checked_sub(1).map(|at| entries[at].last_offset);
        }
        Ok(())
    }

    /// Drops all entries.
    pub fn reset(&mut self) -> Result<(), StorageError> {
        self.last_offset = None;
        self.cut(0)
    }

    /// Checks that every entry belongs to a segment that starts at `base_offset`.
    pub fn sanity_check(&self, base_offset: i64) -> Result<(), TxnIndexError> {
        match self.entries()?.iter().find(|txn| txn.last_offset < base_offset) {
            None => Ok(()),
            Some(txn) => {
                Err(self.corrupt(&format!("{txn:?} ends below the segment's base offset {base_offset}")))
            }
        }
    }

    /// Syncs the file, if there is one.
    pub fn flush(&self) -> Result<(), StorageError> {
        match &self.file {
            Some(file) => file.sync_all().map_err(StorageError::of("sync", &self.path)),
            None => Ok(()),
        }
    }

    fn cut(&mut self, len: u64) -> Result<(), StorageError> {
        if let Some(file) = &self.file {
            file.set_len(len).map_err(StorageError::of("truncate", &self.path))?;
        }
        self.len = len;
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> TxnIndexError {
        TxnIndexError::Corrupt { path: self.path.clone(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset }
    }

    #[test]
    fn golden_entry() {
        let golden = include_bytes!("../testdata/txn/txn-0-3.txnindex");
        let expected = txn(1, 4, 6, 7);
        assert_eq!(AbortedTxn::decode(golden), Some(expected));
        assert_eq!(&expected.encode(), golden);
        let mut newer = *golden;
        newer[1] = 1;
        assert_eq!(AbortedTxn::decode(&newer), None);
    }

    #[test]
    fn append_collect_truncate_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.txnindex");
        let mut index = TransactionIndex::open(path.clone()).unwrap();
        assert!(index.is_empty() && !path.exists());
        let txns = [txn(0, 0, 10, 11), txn(1, 5, 15, 13), txn(2, 18, 35, 25), txn(3, 32, 50, 40)];
        for txn in &txns {
            index.append(txn).unwrap();
        }
        let collect = |index: &TransactionIndex, from, to| {
            let mut found = Vec::new();
            let complete = index.collect_aborted(from, to, &mut found).unwrap();
            (found.iter().map(|txn| txn.producer_id).collect::<Vec<_>>(), complete)
        };
        assert_eq!(collect(&index, 0, 100), (vec![0, 1, 2, 3], false));
        assert_eq!(collect(&index, 0, 32), (vec![0, 1, 2], true));
        assert_eq!(collect(&index, 16, 26), (vec![2], true));
        assert_eq!(collect(&index, 51, 100), (vec![], false));
        index.sanity_check(10).unwrap();
        assert!(matches!(index.sanity_check(11), Err(TxnIndexError::Corrupt { .. })));
        index.truncate_to(51).unwrap();
        index.truncate_to(35).unwrap();
        assert_eq!(index.entries().unwrap(), txns[..2]);
        index.append(&txns[2]).unwrap();
        index.append(&txns[1]).unwrap();
        index.flush().unwrap();
        drop(index);
        // A write that was cut off is not seen, and written over.
        let torn = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&torn[..], &[0; 20]].concat()).unwrap();
        let mut index = TransactionIndex::open(path.clone()).unwrap();
        index.append(&txns[3]).unwrap();
        assert_eq!(index.entries().unwrap(), txns);
        index.reset().unwrap();
        assert!(TransactionIndex::open(path).unwrap().is_empty());
    }
}
