//! DescribeConfigs (key 32), versions 1-4, on the controller listener (KIP-919); the rules are in
//! [`metadata::config::answer`].

use bytes::Bytes;
use metadata::config::answer;
use protocol::messages::DescribeConfigsRequest;
use protocol::request::RequestHeader;

use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: DescribeConfigsRequest = decode(header, body)?;
    let shared = controller.shared();
    encode(header, &answer::answer(&controller.image(), shared.node_id, &shared.properties, &request))
}
