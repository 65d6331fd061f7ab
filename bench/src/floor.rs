//! The floor: what this machine itself costs for the same requests, with nothing of a broker around them.
//!
//! One blocking thread a connection. A produce is read, its checksum verified, its offset patched in, written with one
//! `pwrite` and answered; a fetch is a header and `sendfile`. Answers are held back until the requests that came with
//! them are done, as any good server does. There is no replication, no validation, no configuration and no recovery,
//! and a request may name one partition only. Topics appear when they are first named.

mod connection;
mod partition;
mod request;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use self::connection::Connection;
use self::partition::Partition;

/// The partitions of the server by topic and number.
pub(crate) struct Partitions {
    data: PathBuf,
    open: Mutex<HashMap<(String, i32), Arc<Partition>>>,
}

/// Serves for ever, with its files in `data`.
pub fn serve(listener: TcpListener, data: PathBuf) -> io::Result<()> {
    std::fs::create_dir_all(&data)?;
    let partitions = Arc::new(Partitions { data, open: Mutex::default() });
    for stream in listener.incoming() {
        let stream = stream?;
        let partitions = partitions.clone();
        std::thread::spawn(move || {
            // The end of a connection is the client's business; what else goes wrong is worth a line.
            if let Err(e) = Connection::new(stream, partitions).and_then(Connection::run)
                && !matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            {
                eprintln!("floor: {e}");
            }
        });
    }
    Ok(())
}

impl Partitions {
    /// The partition, made when it is new.
    pub(crate) fn get(&self, topic: &str, index: i32) -> io::Result<Arc<Partition>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic.to_owned(), index);
        if let Some(partition) = open.get(&key) {
            return Ok(partition.clone());
        }
        let partition = Arc::new(Partition::create(&self.data.join(format!("{topic}-{index}")))?);
        open.insert(key, partition.clone());
        Ok(partition)
    }

    /// Removes a topic with its files.
    pub(crate) fn delete(&self, topic: &str) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, index) in open.extract_if(|(name, _), _| name == topic).map(|(key, _)| key) {
            std::fs::remove_file(self.data.join(format!("{topic}-{index}")))?;
        }
        Ok(())
    }
}
