//! Which brokers are alive: soft state of the active controller, next to the image.
//!
//! Nothing here survives a change of controller: a new one gives every registered broker a fresh session. A broker that
//! looks dead has its session cut down to a short one; any heartbeat that is accepted gives it the whole one again.
//! The time is an argument.

use std::collections::BTreeMap;

use metadata::MetadataImage;

/// How long a broker that looks dead has for a heartbeat, milliseconds.
pub const SUSPECT_MS: i64 = 200;

/// What the controller remembers of one broker between two heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contact {
    last_contact_ms: i64,
    /// Last metadata offset that the broker applied; -1 if it has not said.
    metadata_offset: i64,
    /// While in controlled shutdown: the offset that all others must have applied before the broker may go.
    shutdown_offset: Option<i64>,
    /// When it began to look dead, if it was not heard of since.
    suspected_at: Option<i64>,
}

impl Contact {
    fn new(now_ms: i64) -> Self {
        Self { last_contact_ms: now_ms, metadata_offset: -1, shutdown_offset: None, suspected_at: None }
    }

    /// The last moment of the session.
    fn session_end(&self, session_timeout_ms: i64) -> i64 {
        let whole = self.last_contact_ms.saturating_add(session_timeout_ms);
        self.suspected_at.map_or(whole, |at| whole.min(at + SUSPECT_MS))
    }
}

/// A change of [`Liveness`] that a decision asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivenessUpdate {
    /// The broker has been heard of.
    Touch {
        /// Broker id.
        broker: i32,
        /// Whether it is fenced from now on, which ends a controlled shutdown.
        fenced: bool,
        /// Last metadata offset that it applied.
        metadata_offset: i64,
    },
    /// The broker enters controlled shutdown with the records of this decision.
    EnterControlledShutdown(i32),
    /// A new incarnation registers: what was known of the last one is void.
    Register(i32),
    /// The broker is fenced because it was silent.
    Expire(i32),
    /// The broker looks dead: it has a moment to say otherwise.
    Suspect(i32),
}

/// Sessions of all registered brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    contacts: BTreeMap<i32, Contact>,
}

impl Liveness {
    /// A fresh session for every broker of `image`, as at activation.
    pub fn new(image: &MetadataImage, now_ms: i64) -> Self {
        let contact = Contact::new(now_ms);
        Self { contacts: image.cluster.brokers.keys().map(|id| (*id, contact)).collect() }
    }

    /// Carries out what a decision asks for; `last_offset` is that of the last record written so far.
    pub fn update(&mut self, update: LivenessUpdate, now_ms: i64, last_offset: i64) {
        let fresh = Contact::new(now_ms);
        match update {
            LivenessUpdate::Touch { broker, fenced, metadata_offset } => {
                let contact = self.contacts.entry(broker).or_insert(fresh);
                contact.last_contact_ms = now_ms;
                contact.metadata_offset = metadata_offset;
                contact.suspected_at = None;
                if fenced {
                    contact.shutdown_offset = None;
                }
            }
            LivenessUpdate::EnterControlledShutdown(broker) => {
                let contact = self.contacts.entry(broker).or_insert(fresh);
                contact.shutdown_offset.get_or_insert(last_offset);
            }
            LivenessUpdate::Register(broker) => {
                self.contacts.insert(broker, fresh);
            }
            LivenessUpdate::Expire(broker) => {
                if let Some(contact) = self.contacts.get_mut(&broker) {
                    contact.shutdown_offset = None;
                }
            }
            LivenessUpdate::Suspect(broker) => {
                if let Some(contact) = self.contacts.get_mut(&broker) {
                    contact.suspected_at.get_or_insert(now_ms);
                }
            }
        }
    }

    /// Forgets brokers that are not registered any more.
    pub fn retain(&mut self, image: &MetadataImage) {
        self.contacts.retain(|id, _| image.cluster.brokers.contains_key(id));
    }

    /// True if the broker was heard of within `session_timeout_ms`, and has not looked dead for a while.
    pub fn has_session(&self, broker: i32, now_ms: i64, session_timeout_ms: i64) -> bool {
        self.contacts.get(&broker).is_some_and(|contact| contact.session_end(session_timeout_ms) >= now_ms)
    }

    /// True if the broker is in controlled shutdown under this controller.
    pub fn is_shutting_down(&self, broker: i32) -> bool {
        self.shutdown_offset(broker).is_some()
    }

    /// The offset that all active brokers must have applied before the broker may go.
    pub fn shutdown_offset(&self, broker: i32) -> Option<i64> {
        self.contacts.get(&broker)?.shutdown_offset
    }

    /// The lowest applied offset of all brokers that are unfenced and not shutting down; `i64::MAX` if none is.
    pub fn lowest_active_offset(&self, image: &MetadataImage) -> i64 {
        let active = self.contacts.iter().filter(|(id, contact)| {
            contact.shutdown_offset.is_none()
                && image.cluster.broker(**id).is_some_and(|broker| !broker.fenced)
        });
        active.map(|(_, contact)| contact.metadata_offset).min().unwrap_or(i64::MAX)
    }

    /// When the next session of an unfenced broker ends, and whose it is.
    pub fn next_expiry(&self, image: &MetadataImage, session_timeout_ms: i64) -> Option<(i64, i32)> {
        let unfenced = self
            .contacts
            .iter()
            .filter(|(id, _)| image.cluster.broker(**id).is_some_and(|broker| !broker.fenced));
        unfenced.map(|(id, contact)| (contact.session_end(session_timeout_ms) + 1, *id)).min()
    }
}
