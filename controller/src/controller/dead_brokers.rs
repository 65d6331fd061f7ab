//! Which brokers the loop looks at more closely, and what it makes of what is seen ([`crate::closer_look`]).

use super::Controller;
use crate::closer_look::Unreachable;
use crate::event::{Event, Request};
use crate::store::MetadataStore;

impl<S: MetadataStore> Controller<S> {
    /// Looks at once at those of these brokers that should be there and have no connection to this controller. The
    /// broker of this process lives as long as the controller does.
    pub(super) fn look_closer(&mut self, is_meant: impl Fn(i32) -> bool) {
        let (own, connections) = (self.setup.rules.node_id, &self.setup.brokers);
        let Some(active) = &mut self.active else { return };
        let brokers = active.tip.image().cluster.brokers.values();
        let missing = |id: i32| id != own && is_meant(id) && !connections.has(id);
        brokers.filter(|b| !b.fenced && missing(b.id)).for_each(|broker| active.looks.look(broker));
    }

    pub(super) fn on_looked(&mut self, at: Unreachable, is_gone: bool, again: bool) -> Result<(), String> {
        let Unreachable { broker, epoch } = at;
        if is_gone {
            self.suspect(broker, epoch)
        } else {
            if again {
                self.look_closer(|id| id == broker);
            }
            Ok(())
        }
    }

    fn suspect(&mut self, broker: i32, epoch: i64) -> Result<(), String> {
        if self.setup.brokers.has(broker) {
            return Ok(());
        }
        tracing::info!(broker, epoch, "Looks dead: its connections ended");
        self.decide(&Event::BrokerUnreachable { broker, epoch }, None)
    }

    /// A process registers with the id of another that should still be alive, and has no connection any more: then the
    /// new one need not wait for the whole session of the old one.
    pub(super) fn note_successor(&mut self, request: &Request) -> Result<(), String> {
        let (Request::BrokerRegistration(request), Some(active)) = (request, &self.active) else {
            return Ok(());
        };
        let known = active.tip.image().cluster.broker(request.broker_id.0);
        let of_another =
            known.filter(|known| !known.fenced && known.incarnation_id != request.incarnation_id);
        match of_another.map(|known| (known.id, known.epoch)) {
            Some((broker, epoch)) if broker != self.setup.rules.node_id => self.suspect(broker, epoch),
            _ => Ok(()),
        }
    }
}
