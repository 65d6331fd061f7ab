//! From static to dynamic voters: `kraft.version` 0 to 1 (KIP-853).
//!
//! The first voter record needs every voter's directory id. Static voters tell it with UpdateRaftVoter in each
//! epoch, as 4.1 does; 3.9 voters cannot, so that the upgrade waits for theirs.

use super::role::Role;
use super::{Node, SUPPORTED_KRAFT_VERSIONS};
use crate::control;
use crate::effect::{Effect, Fault, UpgradeError};
use crate::log::Log;
use crate::voters::{Voter, VoterSet};

impl<L: Log> Node<L> {
    pub(super) fn note_told(&mut self, voter: Voter) {
        if let Role::Leader(leader) = &mut self.role {
            leader.told.insert(voter.key.id, voter);
        }
    }

    pub(super) fn handle_upgrade(
        &mut self,
        id: u64,
        epoch: i32,
        level: i16,
        validate_only: bool,
    ) -> Result<(), Fault> {
        let end = self.log.log_end_offset();
        let result = match self.judge_upgrade(epoch, level) {
            Ok(Some(voters)) if !validate_only => {
                let records = [control::kraft_version(level), control::voters(&voters)];
                Ok(self.append_control(&records)?)
            }
            Ok(_) => Ok(end),
            Err(error) => Err(error),
        };
        self.effects.push(Effect::Upgraded { id, result });
        self.leader_log_grew()
    }

    /// The voter set to write with the new level; `None` when that level is in force.
    fn judge_upgrade(&self, epoch: i32, level: i16) -> Result<Option<VoterSet>, UpgradeError> {
        let Role::Leader(leader) = &self.role else { return Err(UpgradeError::Fenced) };
        if epoch != self.epoch {
            return Err(UpgradeError::Fenced);
        }
        let (min, max) = SUPPORTED_KRAFT_VERSIONS;
        if level < self.kraft_version() || !(min..=max).contains(&level) {
            return Err(UpgradeError::Unsupported { level });
        }
        if level == self.kraft_version() {
            return Ok(None);
        }
        if leader.high_watermark.is_none() || leader.change.is_some() {
            return Err(UpgradeError::NotReady);
        }
        let mut voters = Vec::new();
        for voter_id in self.voters().ids() {
            let told = if voter_id == self.config.node_id {
                Some(self.own_voter())
            } else {
                leader.told.get(&voter_id).cloned()
            };
            let voter = told.ok_or(UpgradeError::UnknownVoter { voter_id })?;
            if !(voter.min_kraft_version..=voter.max_kraft_version).contains(&level) {
                return Err(UpgradeError::Unsupported { level });
            }
            voters.push(voter);
        }
        Ok(Some(VoterSet::new(voters)))
    }
}
