//! Produce version 9 and Fetch version 12 of one partition, read where they lie; nothing is checked that need not be.

use std::io;
use std::ops::Range;
use std::time::Duration;

/// The fields of a request that the floor looks at; ranges are places in the frame.
pub(crate) enum Request {
    Produce {
        topic: Range<usize>,
        partition: i32,
        acks: i16,
        records: Range<usize>,
    },
    Fetch {
        topic: Range<usize>,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        max_wait: Duration,
    },
    /// Anything else.
    Other {
        key: i16,
        version: i16,
    },
}

/// The correlation id and the request of a frame without its size.
pub(crate) fn parse(frame: &[u8]) -> io::Result<(i32, Request)> {
    let mut fields = Fields { frame, at: 0 };
    let (key, version, correlation_id) = (fields.i16()?, fields.i16()?, fields.i32()?);
    let request = match (key, version) {
        (0, 9) => produce(&mut fields)?,
        (1, 12) => fetch(&mut fields)?,
        _ => Request::Other { key, version },
    };
    Ok((correlation_id, request))
}

fn produce(fields: &mut Fields<'_>) -> io::Result<Request> {
    fields.header()?;
    let transactional_id = fields.uvarint()?;
    fields.skip(transactional_id.saturating_sub(1))?;
    let acks = fields.i16()?;
    fields.skip(4)?;
    let topic = fields.only_topic()?;
    let partition = fields.i32()?;
    let length = fields.uvarint()?.saturating_sub(1);
    let records = fields.range(length)?;
    Ok(Request::Produce { topic, partition, acks, records })
}

fn fetch(fields: &mut Fields<'_>) -> io::Result<Request> {
    fields.header()?;
    fields.skip(4)?;
    let max_wait = Duration::from_millis(u64::try_from(fields.i32()?).unwrap_or(0));
    // Least and most bytes, isolation level, session id and epoch.
    fields.skip(4 + 4 + 1 + 4 + 4)?;
    let topic = fields.only_topic()?;
    let partition = fields.i32()?;
    fields.skip(4)?;
    let offset = fields.i64()?;
    fields.skip(4 + 8)?;
    let max_bytes = usize::try_from(fields.i32()?).unwrap_or(0);
    Ok(Request::Fetch { topic, partition, offset, max_bytes, max_wait })
}

struct Fields<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let bytes = self.at.checked_add(length).and_then(|end| self.frame.get(self.at..end));
        self.at += length;
        bytes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        self.take(length).map(drop)
    }

    fn range(&mut self, length: usize) -> io::Result<Range<usize>> {
        self.skip(length)?;
        Ok(self.at - length..self.at)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(io::Error::other)
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> io::Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// The client id and the tags of a request header.
    fn header(&mut self) -> io::Result<()> {
        let client_id = usize::try_from(self.i16()?).unwrap_or(0);
        self.skip(client_id)?;
        self.skip(1)
    }

    /// One topic with one partition: its name.
    fn only_topic(&mut self) -> io::Result<Range<usize>> {
        let topics = self.uvarint()?;
        let length = self.uvarint()?.saturating_sub(1);
        let name = self.range(length)?;
        match (topics, self.uvarint()?) {
            (2, 2) => Ok(name),
            _ => Err(io::Error::other("the floor serves one partition a request")),
        }
    }
}
