//! Tests of whole nodes.

mod sole_voter;
