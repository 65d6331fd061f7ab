//! The answer of the coordinator to one request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer that is there, or comes later. Dropping it cancels nothing.
pub enum Reply<T> {
    /// It is there; `None` once polled out.
    Ready(Option<T>),
    /// It comes later.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: Send + 'static> Reply<T> {
    /// An answer that is there.
    pub fn ready(value: T) -> Self {
        Reply::Ready(Some(value))
    }

    /// Several answers as one.
    pub fn all(replies: Vec<Reply<T>>) -> Reply<Vec<T>> {
        if replies.iter().all(|reply| matches!(reply, Reply::Ready(_))) {
            let ready = replies.into_iter().filter_map(|reply| match reply {
                Reply::Ready(value) => value,
                Reply::Later(_) => None,
            });
            return Reply::ready(ready.collect());
        }
        Reply::Later(Box::pin(async move {
            let mut answers = Vec::with_capacity(replies.len());
            for reply in replies {
                match reply {
                    Reply::Ready(value) => answers.extend(value),
                    Reply::Later(future) => answers.push(future.await),
                }
            }
            answers
        }))
    }

    /// Turns the answer into another.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Reply<U> {
        match self {
            Reply::Ready(value) => Reply::Ready(value.map(change)),
            Reply::Later(future) => Reply::Later(Box::pin(async move { change(future.await) })),
        }
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Reply::Ready(_)) { "Ready" } else { "Later" })
    }
}

impl<T: Unpin> Future for Reply<T> {
    type Output = T;

    /// Panics if polled after it was ready, as futures may.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Reply::Ready(value) => {
                Poll::Ready(value.take().expect("a reply is polled once after it is ready"))
            }
            Reply::Later(future) => future.as_mut().poll(cx),
        }
    }
}
