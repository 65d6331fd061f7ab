//! What goes wrong in a round, when and for how long: all of it decided by the round's seed.

use crate::random::Random;

/// Who is hit; resolved when the moment comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The leader of the first partition.
    Leader,
    /// A broker that follows the first partition.
    Follower,
    /// The active controller.
    Controller,
    /// The node of this number, counted round.
    Any(u64),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// kill -9.
    Kill,
    /// kill -9 of two at the same moment: the one that is hit and the next broker.
    KillTwo,
    /// kill -9 of all nodes.
    KillAll,
    /// kill -9 of a majority of the controllers.
    KillQuorum,
    /// A clean stop.
    Stop,
    /// SIGSTOP.
    Freeze,
    /// SIGSTOP of two at the same moment.
    FreezeTwo,
    /// Nothing passes between the node and the next one.
    CutPair,
    /// Nothing that the node sends to the other nodes arrives.
    CutOut,
    /// Nothing that the other nodes send to the node arrives.
    CutIn,
    /// Nothing passes between the node and any other node.
    CutOff,
    /// Likewise, and clients do not reach it either.
    CutAway,
    /// The file system of the log directory is full.
    FillData,
    /// The file system of the metadata log is full.
    FillMetadata,
    /// kill -9, and the log directory is empty when the node starts again.
    Wipe,
}

impl Kind {
    /// Whether it needs a network of its own.
    pub fn is_cut(self) -> bool {
        matches!(self, Kind::CutPair | Kind::CutOut | Kind::CutIn | Kind::CutOff | Kind::CutAway)
    }

    /// Whether it needs small disks.
    pub fn is_full(self) -> bool {
        matches!(self, Kind::FillData | Kind::FillMetadata)
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long after the step before, or the begin of the load.
    pub after_ms: u64,
    /// What.
    pub kind: Kind,
    /// Whom.
    pub who: Who,
    /// For how long.
    pub lasts_ms: u64,
    /// Whether what was broken before is mended first.
    pub mend_before: bool,
}

/// Kinds with their weights. A second fault at the same time is one of the kinds that may meet any other.
const WEIGHTS: &[(Kind, u64)] = &[
    (Kind::Kill, 18),
    (Kind::Freeze, 16),
    (Kind::KillTwo, 7),
    (Kind::KillAll, 3),
    (Kind::KillQuorum, 4),
    (Kind::Stop, 6),
    (Kind::FreezeTwo, 6),
    (Kind::CutPair, 7),
    (Kind::CutOut, 7),
    (Kind::CutIn, 7),
    (Kind::CutOff, 7),
    (Kind::CutAway, 5),
    (Kind::FillData, 6),
    (Kind::FillMetadata, 4),
    (Kind::Wipe, 6),
];

/// The steps of a round.
pub fn plan(random: &mut Random) -> Vec<Step> {
    let first = step(random, WEIGHTS);
    // What an emptied disk held must be with the others, all of it and undisturbed.
    if first.kind == Kind::Wipe || random.between(0, 3) == 0 {
        return vec![first];
    }
    let light: Vec<(Kind, u64)> =
        WEIGHTS.iter().copied().filter(|(kind, _)| !kind.is_full() && *kind != Kind::Wipe).collect();
    let mut second = step(random, &light);
    second.after_ms = random.between(0, 900);
    second.mend_before = first.kind.is_full() || random.between(0, 2) == 0;
    vec![first, second]
}

fn step(random: &mut Random, weights: &[(Kind, u64)]) -> Step {
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut at = random.between(0, total);
    let chosen = weights.iter().find(|(_, weight)| {
        let is_it = at < *weight;
        at = at.saturating_sub(*weight);
        is_it
    });
    let kind = chosen.map_or(Kind::Kill, |(kind, _)| *kind);
    let who = match random.between(0, 6) {
        0..=2 => Who::Leader,
        3 => Who::Controller,
        4 => Who::Follower,
        _ => Who::Any(random.between(0, 60)),
    };
    // Now and then longer than any session or fetch timeout of the cluster.
    let lasts_ms =
        if random.between(0, 12) == 0 { random.between(4_000, 8_000) } else { random.between(300, 2_600) };
    Step { after_ms: random.between(100, 800), kind, who, lasts_ms, mend_before: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_occurs_and_a_seed_repeats() {
        let plans: Vec<_> = (0..400).map(|seed| plan(&mut Random::new(seed))).collect();
        for (kind, _) in WEIGHTS {
            assert!(plans.iter().flatten().any(|step| step.kind == *kind), "{kind:?}");
        }
        assert_eq!(plans[7], plan(&mut Random::new(7)));
        assert!(plans.iter().all(|steps| steps.len() == 1 || steps.iter().all(|s| s.kind != Kind::Wipe)));
    }
}
