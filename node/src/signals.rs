//! Ending the process when it is told to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGTERM.
    Terminate,
    /// SIGINT, as by Ctrl-C.
    Interrupt,
}

impl Stop {
    /// Name of the signal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// The exit code of a Java process that ended in order after the signal: 128 and its number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

/// The signals from the moment this was made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// As good as a signal: another node of the process ended.
    ended: CancellationToken,
}

impl Signals {
    /// Takes the two signals over from the system's default, which ends the process at once.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(crate) fn new(ended: CancellationToken) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, ended })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
            () = self.ended.cancelled() => Stop::Terminate,
        }
    }
}
