//! ApiVersions.

use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::session::{CONTROLLER, Session, s};

/// The APIs that are compared: those of a broker's clients that our node serves.
const COMPARED: &[i16] = &[
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 34, 35, 37, 42, 43, 44, 47,
    48, 49, 50, 51, 55, 57, 60, 61, 64, 75,
];

pub(super) fn script(session: &mut Session) {
    let keep = |r: &mut ApiVersionsResponse| {
        r.api_keys.retain(|k| COMPARED.contains(&k.api_key));
        r.finalized_features_epoch = r.finalized_features_epoch.min(0);
        r.supported_features.sort_by(|a, b| a.name.cmp(&b.name));
        r.finalized_features.sort_by(|a, b| a.name.cmp(&b.name));
    };
    let named = ApiVersionsRequest::default()
        .with_client_software_name(s("parity"))
        .with_client_software_version(s("1.0"));
    for version in 0..=4 {
        let request = if version < 3 { ApiVersionsRequest::default() } else { named.clone() };
        session.ask_with(version, "broker", &request, keep);
    }
    let bad = named.clone().with_client_software_name(s("-parity-"));
    session.ask_with(3, "bad software name", &bad, keep);
    let bad = named.clone().with_client_software_version(s("1 0"));
    session.ask_with(4, "bad software version", &bad, keep);
    let empty = ApiVersionsRequest::default();
    session.ask_with(4, "no software name", &empty, keep);
    for version in [0, 4] {
        let request = if version < 3 { ApiVersionsRequest::default() } else { named.clone() };
        session.send(CONTROLLER, version, &request);
        session.receive::<ApiVersionsRequest>(CONTROLLER, version, "controller", keep);
    }
    for (lane, who) in [(0, "broker"), (CONTROLLER, "controller")] {
        session.send_body(lane, 18, 99, &[]);
        let answer = session.read_frame(lane).map(|f| format!("{:?}", f.slice(4..)));
        session.note(format!("ApiVersions v99 {who}"), &answer.unwrap_or_else(|e| e));
    }
}
