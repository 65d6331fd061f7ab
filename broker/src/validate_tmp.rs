//! Temporary.
use protocol::ErrorCode;
pub(crate) struct RecordError { pub(crate) index: i32, pub(crate) message: String }
pub(crate) struct ValidateError { pub(crate) code: ErrorCode, pub(crate) message: String, pub(crate) record_errors: Vec<RecordError> }
pub(crate) struct Validated { pub(crate) log_append_time: i64, pub(crate) rewritten: Option<Vec<u8>>, pub(crate) len: usize }
pub(crate) fn validate(r: &mut [u8], _a: &()) -> Result<Validated, ValidateError> {
    let h = protocol::batch::BatchHeader::parse(r).map_err(|e| ValidateError{code: ErrorCode::CORRUPT_MESSAGE, message: e.to_string(), record_errors: vec![]})?;
    protocol::batch::verify_crc(&r[..h.size()]).map_err(|e| ValidateError{code: ErrorCode::CORRUPT_MESSAGE, message: e.to_string(), record_errors: vec![]})?;
    Ok(Validated{log_append_time: -1, rewritten: None, len: h.size()})
}
