//! An error as an answer carries it: a code and, where Kafka sends one, a message.

use protocol::{ErrorCode, StrBytes};

/// A Kafka error code with an optional message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// The message; `None` is null on the wire.
    pub message: Option<String>,
}

impl ApiError {
    /// An error with a message of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// An error with the default message of its code, as Kafka sends for most exceptions.
    pub fn of(code: ErrorCode) -> Self {
        Self::new(code, code.message())
    }

    /// The code on the wire.
    pub fn code(&self) -> i16 {
        self.code.code()
    }

    /// The message on the wire.
    pub fn wire_message(&self) -> Option<StrBytes> {
        self.message.clone().map(StrBytes::from_string)
    }
}

/// Code and message of a result: 0 and null if it went well.
pub(crate) fn code_and_message<T>(result: &Result<T, ApiError>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err(error) => (error.code(), error.wire_message()),
    }
}
