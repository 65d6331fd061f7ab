//! Answers on their way to a socket: bytes, and ranges of files that the kernel sends by itself.
//!
//! Pieces keep their order. Runs of bytes share one buffer; a file range holds its file open, so that deletion
//! of a segment does not cut an answer short.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Ranges from this size on are worth a `sendfile`; smaller ones are read into the buffer.
///
/// Measured crossover 4 to 8 KiB: below it the extra system call costs more than the copy.
/// That is for a range alone; whoever fills the outbox may read more in while it is small.
pub const SENDFILE_MIN_BYTES: usize = 8 * 1024;
/// Bytes per `sendfile` call, so that one answer does not keep a worker from its other tasks.
const SENDFILE_STEP_BYTES: usize = 1024 * 1024;
/// Bytes that one connection sends before others get their turn.
const TURN_BYTES: usize = 4 * 1024 * 1024;
/// A buffer larger than this is not kept for the next answer.
const KEEP_BYTES: usize = 256 * 1024;

/// An open file that answers are sent from.
pub trait FileSource: Send + Sync {
    /// The file.
    fn fd(&self) -> BorrowedFd<'_>;

    /// The kernel could not read the file: the disk is at fault, not the connection. The connection is closed after this.
    fn failed(&self, error: &io::Error);
}

/// A plain file, whose failures concern nobody else.
impl FileSource for std::fs::File {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn failed(&self, _error: &io::Error) {}
}

/// A range of an open file.
#[derive(Clone)]
pub struct FileRange {
    /// Kept open for as long as the range is to be sent.
    pub file: Arc<dyn FileSource>,
    /// First byte.
    pub position: u64,
    /// Bytes.
    pub len: usize,
}

enum Piece {
    /// The buffer up to this end.
    Bytes {
        end: usize,
    },
    File(FileRange),
}

/// How far a call of [`Outbox::try_send`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Everything is sent, the outbox is empty.
    All,
    /// The socket would take more, but others shall have their turn.
    Step,
    /// The socket takes no more for now.
    Blocked,
}

/// Answers that wait to be sent, in order.
#[derive(Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// Closed pieces; bytes after the last `Bytes` end belong to the open last piece.
    pieces: Vec<Piece>,
    /// End of the bytes that are in `pieces`.
    closed: usize,
    /// Bytes of all file pieces.
    file_bytes: usize,
    /// First piece and byte that is still to be sent.
    next_piece: usize,
    sent: usize,
    /// Bytes sent so far, files included.
    sent_bytes: usize,
    /// Whose answers are here, if the service wants to know when they were sent.
    labels: Vec<i16>,
}

impl Outbox {
    /// An empty outbox; allocates nothing until it is written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.pieces.is_empty()
    }

    /// Bytes in the outbox, files included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.file_bytes
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// The buffer to append answers to. Only append, or patch what was appended since the last call.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends a range of a file after all bytes so far.
    pub fn push_file(&mut self, range: FileRange) {
        if range.len == 0 {
            return;
        }
        self.close_bytes();
        self.file_bytes += range.len;
        self.pieces.push(Piece::File(range));
    }

    /// The service is to be told when the last answer was sent, with this label ([`Service::sent`](crate::Service::sent)).
    pub fn label(&mut self, label: i16) {
        self.labels.push(label);
    }

    /// The labels so far.
    pub(crate) fn labels(&mut self) -> &mut Vec<i16> {
        &mut self.labels
    }

    /// Starts a frame: leaves room for its size field and returns a mark for [`Outbox::end_frame`].
    pub fn begin_frame(&mut self) -> FrameMark {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        FrameMark { at, len: self.len() }
    }

    /// Writes the size field of a frame.
    ///
    /// Panics if the frame is larger than a size field can say.
    pub fn end_frame(&mut self, mark: FrameMark) {
        let size = i32::try_from(self.len() - mark.len).expect("an answer is smaller than 2 GiB");
        self.buffer[mark.at..mark.at + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// Takes back everything since `mark`, as if the frame had not been begun.
    pub fn cancel_frame(&mut self, mark: FrameMark) {
        assert!(
            self.closed <= mark.at,
            "a frame that holds files cannot be taken back: closed {} mark {}",
            self.closed,
            mark.at
        );
        self.buffer.truncate(mark.at);
    }

    /// Moves all of `other` behind this outbox' pieces.
    pub fn append(&mut self, mut other: Outbox) {
        if self.is_empty() {
            *self = other;
            return;
        }
        other.close_bytes();
        self.labels.append(&mut other.labels);
        let mut from = 0;
        for piece in other.pieces {
            match piece {
                Piece::Bytes { end } => {
                    self.buffer.extend_from_slice(&other.buffer[from..end]);
                    from = end;
                }
                Piece::File(range) => self.push_file(range),
            }
        }
    }

    fn close_bytes(&mut self) {
        if self.closed < self.buffer.len() {
            self.closed = self.buffer.len();
            self.pieces.push(Piece::Bytes { end: self.closed });
        }
    }

    /// Bytes that are still to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.len() - self.sent_bytes
    }

    /// Sends what the socket takes, up to a turn's worth.
    pub(crate) fn try_send(&mut self, socket: &TcpStream) -> io::Result<Sent> {
        self.close_bytes();
        let before = self.sent_bytes;
        while self.next_piece < self.pieces.len() {
            if self.sent_bytes - before >= TURN_BYTES {
                return Ok(Sent::Step);
            }
            let more = self.next_piece + 1 < self.pieces.len();
            let progress = match &mut self.pieces[self.next_piece] {
                Piece::Bytes { end } => {
                    let rest = &self.buffer[self.sent..*end];
                    let sent = socket.try_io(Interest::WRITABLE, || send(socket.as_fd(), rest, more));
                    sent.map(|n| {
                        self.sent += n;
                        (n, self.sent == *end)
                    })
                }
                Piece::File(range) => {
                    let sent = socket.try_io(Interest::WRITABLE, || send_file(socket.as_fd(), range));
                    sent.map(|n| (n, range.len == 0))
                }
            };
            match progress {
                Ok((n, is_done)) => {
                    self.sent_bytes += n;
                    self.next_piece += usize::from(is_done);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Blocked),
                Err(e) => return Err(e),
            }
        }
        self.reset();
        Ok(Sent::All)
    }

    fn reset(&mut self) {
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.pieces.clear();
        self.closed = 0;
        self.file_bytes = 0;
        self.next_piece = 0;
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// Gives the memory back; the outbox must be empty.
    pub(crate) fn release(&mut self) {
        assert!(self.is_empty(), "released with unsent bytes");
        *self = Self::default();
    }
}

/// Where a frame began; see [`Outbox::begin_frame`].
#[must_use]
pub struct FrameMark {
    at: usize,
    len: usize,
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], more: bool) -> io::Result<usize> {
    // MSG_MORE: the file range that follows fills the same packet.
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    Ok(rustix::net::send(socket, bytes, flags)?)
}

fn send_file(socket: BorrowedFd<'_>, range: &mut FileRange) -> io::Result<usize> {
    let mut position = range.position;
    let sent = rustix::fs::sendfile(
        socket,
        range.file.fd(),
        Some(&mut position),
        range.len.min(SENDFILE_STEP_BYTES),
    );
    let sent = match sent {
        Ok(sent) => sent,
        Err(errno) => {
            let error = io::Error::from(errno);
            if is_disk_error(errno) {
                range.file.failed(&error);
            }
            return Err(error);
        }
    };
    if sent == 0 {
        // The size field is out already, so the only honest end is a closed connection.
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment file ended inside an answer"));
    }
    range.position += sent as u64;
    range.len -= sent;
    Ok(sent)
}

/// Errors of `sendfile` that come from reading the file; no socket gives them.
fn is_disk_error(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(errno, Errno::IO | Errno::NXIO | Errno::NODEV | Errno::STALE | Errno::BADMSG | Errno::UCLEAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_files_and_bytes() {
        let mut outbox = Outbox::new();
        let mark = outbox.begin_frame();
        outbox.buffer().extend_from_slice(b"head");
        let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
        outbox.push_file(FileRange { file, position: 0, len: 10 });
        outbox.buffer().extend_from_slice(b"tail");
        outbox.end_frame(mark);
        assert_eq!(&outbox.buffer()[..4], 18i32.to_be_bytes());
        assert_eq!(outbox.len(), 22);
    }

    #[test]
    fn append_keeps_the_order() {
        let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
        let mut first = Outbox::new();
        first.buffer().extend_from_slice(b"a");
        let mut second = Outbox::new();
        second.buffer().extend_from_slice(b"b");
        second.push_file(FileRange { file, position: 0, len: 3 });
        second.buffer().extend_from_slice(b"c");
        first.append(second);
        first.close_bytes();
        assert_eq!(first.len(), 6);
        let shape: Vec<_> = first
            .pieces
            .iter()
            .map(|p| match p {
                Piece::Bytes { end } => *end as i64,
                Piece::File(r) => -(r.len as i64),
            })
            .collect();
        assert_eq!(shape, [2, -3, 3]);
    }
}
