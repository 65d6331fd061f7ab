//! The header of a request, and of its response.
//!
//! The API key, the version and the correlation id stand at the same place in every header, so that they are
//! known even where the version is not: an ApiVersions request of a future version must be answered.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use crate::versions::{is_flexible, response_header_version};
use crate::wire::{DecodeError, Reader};

/// A request's header: version 1, or 2 with tagged fields where the API's version is flexible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API; may be unknown.
    pub api_key: i16,
    /// Which version of it; may be unknown.
    pub api_version: i16,
    /// What the response has to repeat.
    pub correlation_id: i32,
    /// What the client calls itself. Bytes that are not UTF-8 are replaced, as Apache Kafka does.
    pub client_id: Option<String>,
    /// Where in the frame the request's body starts.
    pub body_start: usize,
}

/// A [`RequestHeader`] that leaves the client id where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderView {
    /// Which API; may be unknown.
    pub api_key: i16,
    /// Which version of it; may be unknown.
    pub api_version: i16,
    /// What the response has to repeat.
    pub correlation_id: i32,
    /// Where in the frame the client's name for itself is.
    client_id: Option<Range<usize>>,
    /// Where in the frame the request's body starts.
    pub body_start: usize,
}

impl HeaderView {
    /// Reads the header at the start of a frame (without its size field).
    pub fn parse(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(frame);
        let api_key = i16::from_be_bytes(input.array()?);
        let api_version = i16::from_be_bytes(input.array()?);
        let correlation_id = i32::from_be_bytes(input.array()?);
        // The client id is not compact even in version 2; any negative length is null.
        let client_id = match usize::try_from(i16::from_be_bytes(input.array()?)) {
            Ok(len) => {
                input.bytes(len)?;
                let end = frame.len() - input.left();
                Some(end - len..end)
            }
            Err(_) => None,
        };
        if is_flexible(api_key, api_version) {
            skip_tagged(&mut input)?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id, body_start: frame.len() - input.left() })
    }

    /// What the client calls itself, in the frame that was parsed. Bytes that are not UTF-8 are replaced.
    pub fn client_id<'f>(&self, frame: &'f [u8]) -> Option<Cow<'f, str>> {
        frame.get(self.client_id.clone()?).map(String::from_utf8_lossy)
    }
}

impl RequestHeader {
    /// Reads the header at the start of a frame (without its size field).
    pub fn parse(frame: &[u8]) -> Result<Self, DecodeError> {
        let view = HeaderView::parse(frame)?;
        Ok(Self {
            api_key: view.api_key,
            api_version: view.api_version,
            correlation_id: view.correlation_id,
            client_id: view.client_id(frame).map(Cow::into_owned),
            body_start: view.body_start,
        })
    }

    /// Appends the header, for requests that we send.
    ///
    /// A client id of more than 32767 bytes is cut.
    pub fn put(
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
        out: &mut BytesMut,
    ) {
        out.put_i16(api_key);
        out.put_i16(api_version);
        out.put_i32(correlation_id);
        match client_id {
            Some(id) => {
                let id = &id[..id.floor_char_boundary(i16::MAX as usize)];
                out.put_i16(id.len() as i16);
                out.put_slice(id.as_bytes());
            }
            None => out.put_i16(-1),
        }
        if is_flexible(api_key, api_version) {
            out.put_u8(0);
        }
    }
}

/// Appends the response header that fits the request's API and version.
pub fn put_response_header(api_key: i16, api_version: i16, correlation_id: i32, out: &mut BytesMut) {
    out.put_i32(correlation_id);
    if response_header_version(api_key, api_version) == 1 {
        out.put_u8(0);
    }
}

/// Reads a response's header: the correlation id, and where the body starts in the frame.
pub fn parse_response_header(
    api_key: i16,
    api_version: i16,
    frame: &[u8],
) -> Result<(i32, usize), DecodeError> {
    let mut input = Reader::new(frame);
    let correlation_id = i32::from_be_bytes(input.array()?);
    if response_header_version(api_key, api_version) == 1 {
        skip_tagged(&mut input)?;
    }
    Ok((correlation_id, frame.len() - input.left()))
}

fn skip_tagged(input: &mut Reader<'_>) -> Result<(), DecodeError> {
    for _ in 0..input.uvarint()? {
        let _tag = input.uvarint()?;
        let size = input.uvarint()? as usize;
        input.bytes(size)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::ApiKey;

    #[test]
    fn unknown_versions_keep_key_and_correlation_id() {
        let mut frame = BytesMut::new();
        RequestHeader::put(ApiKey::API_VERSIONS, 99, 7, Some("golden"), &mut frame);
        frame.put_slice(b"whatever follows");
        let header = RequestHeader::parse(&frame).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 99, 7));
        assert_eq!(&frame[header.body_start..], b"whatever follows");
        let mut frame = BytesMut::new();
        RequestHeader::put(4711, 0, 8, None, &mut frame);
        assert_eq!(RequestHeader::parse(&frame).unwrap().client_id, None);
    }

    #[test]
    fn odd_client_ids_are_taken() {
        let frame = [0, 3, 0, 0, 0, 0, 0, 1, 0, 2, 0xc3, 0x28];
        assert_eq!(RequestHeader::parse(&frame).unwrap().client_id.as_deref(), Some("\u{fffd}("));
        let frame = [0, 3, 0, 0, 0, 0, 0, 1, 0x80, 0];
        assert_eq!(RequestHeader::parse(&frame).unwrap().client_id, None);
        let frame = [0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, b'a'];
        assert_eq!(RequestHeader::parse(&frame), Err(DecodeError::Truncated));
    }

    #[test]
    fn headers_of_both_directions_read_back() {
        for (key, version) in [(ApiKey::METADATA, 8), (ApiKey::METADATA, 9), (ApiKey::API_VERSIONS, 4)] {
            let mut frame = BytesMut::new();
            put_response_header(key, version, 4711, &mut frame);
            assert_eq!(parse_response_header(key, version, &frame), Ok((4711, frame.len())));
            assert_eq!(frame.len(), if (key, version) == (ApiKey::METADATA, 9) { 5 } else { 4 });
        }
    }
}
