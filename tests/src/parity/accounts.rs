//! Client quotas and SCRAM credentials, and moves between log directories.

use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_user_scram_credentials_request::UserName;
use protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterReplicaLogDirsRequest,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    describe_client_quotas_response,
};

use super::session::{Session, s};
use super::topics::topic_name;

/// `data` is the node's log directory.
pub(super) fn script(session: &mut Session, data: &str) {
    refused_quotas(session);
    quotas(session);
    credentials(session);
    log_directories(session, data);
}

/// Pairs of type and name; null is the default.
type Parts<'a> = &'a [(&'a str, Option<&'a str>)];
/// Pairs of key and value; null removes.
type Ops<'a> = &'a [(&'a str, Option<f64>)];
/// Type, how to match, and the name.
type Filter<'a> = &'a [(&'a str, i8, Option<&'a str>)];

fn entry(parts: Parts<'_>, ops: Ops<'_>) -> EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| {
        EntityData::default().with_entity_type(s(kind)).with_entity_name(name.map(s))
    };
    let op = |(key, value): &(&str, Option<f64>)| {
        let op = OpData::default().with_key(s(key)).with_remove(value.is_none());
        op.with_value(value.unwrap_or_default())
    };
    EntryData::default().with_entity(parts.iter().map(part).collect()).with_ops(ops.iter().map(op).collect())
}

fn alter(session: &mut Session, label: &str, entries: Vec<EntryData>) {
    let request = AlterClientQuotasRequest::default().with_entries(entries);
    for version in [0, 1] {
        session.ask_with(version, label, &request, quotas_sorted);
    }
}

fn quotas_sorted(r: &mut AlterClientQuotasResponse) {
    r.entries.iter_mut().for_each(|e| e.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type)));
    r.entries.sort_by_key(|e| format!("{:?}", e.entity));
}

fn refused_quotas(session: &mut Session) {
    let user: Parts<'_> = &[("user", Some("ann"))];
    let rate = ("producer_byte_rate", Some(1000.0));
    let cases: &[(&str, Parts<'_>, Ops<'_>)] = &[
        ("no entity", &[], &[rate]),
        ("unknown type", &[("group", Some("g"))], &[rate]),
        ("empty name", &[("user", Some(""))], &[rate]),
        ("unknown key", user, &[("color", Some(1.0))]),
        ("unknown key removed", user, &[("color", None)]),
        ("key of addresses", user, &[("connection_creation_rate", Some(1.0))]),
        ("zero", user, &[("producer_byte_rate", Some(0.0))]),
        ("negative", user, &[("request_percentage", Some(-1.0))]),
        ("fraction", user, &[("consumer_byte_rate", Some(1.5))]),
        ("too large", user, &[("consumer_byte_rate", Some(1e30))]),
        ("key twice", user, &[rate, rate]),
        ("address with user", &[("ip", Some("10.0.0.1")), ("user", Some("ann"))], &[rate]),
        ("no address", &[("ip", Some("10.0.0.1 or so"))], &[("connection_creation_rate", Some(1.0))]),
        ("key of users", &[("ip", Some("10.0.0.1"))], &[rate]),
        ("rate too large", &[("ip", None)], &[("connection_creation_rate", Some(3e9))]),
        ("nothing to remove", user, &[("producer_byte_rate", None)]),
        ("nothing to do", user, &[]),
    ];
    for (label, parts, ops) in cases {
        alter(session, label, vec![entry(parts, ops)]);
    }
    let twice = [entry(user, &[("color", Some(1.0))]), entry(user, &[("size", Some(1.0))])];
    alter(session, "wrong entity twice", twice.to_vec());
    alter(session, "no entries", Vec::new());
}

fn describe(session: &mut Session, label: &str, components: Filter<'_>, strict: bool) {
    let component = |(kind, how, name): &(&str, i8, Option<&str>)| {
        let component = ComponentData::default().with_entity_type(s(kind)).with_match_type(*how);
        component.with_match(name.map(s))
    };
    let request = DescribeClientQuotasRequest::default()
        .with_components(components.iter().map(component).collect())
        .with_strict(strict);
    for version in [0, 1] {
        session.ask_with(version, label, &request, |r: &mut DescribeClientQuotasResponse| {
            let Some(entries) = &mut r.entries else { return };
            for entry in entries.iter_mut() {
                entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
                entry.values.sort_by(|a, b| a.key.cmp(&b.key));
            }
            entries.sort_by_key(|entry| format!("{:?}", entry.entity));
        });
    }
}

fn quotas(session: &mut Session) {
    describe(session, "none yet", &[], false);
    let validated = AlterClientQuotasRequest::default()
        .with_entries(vec![entry(&[("user", Some("bob"))], &[("producer_byte_rate", Some(5.0))])])
        .with_validate_only(true);
    session.ask(1, "only validated", &validated);
    let set = vec![
        entry(
            &[("user", Some("ann"))],
            &[("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(2.5))],
        ),
        entry(&[("user", Some("ann")), ("client-id", Some("app"))], &[("consumer_byte_rate", Some(2048.0))]),
        entry(&[("user", None)], &[("controller_mutation_rate", Some(0.5))]),
        entry(&[("client-id", None)], &[("producer_byte_rate", Some(7.0))]),
        entry(&[("ip", Some("127.0.0.9"))], &[("connection_creation_rate", Some(9.0))]),
    ];
    alter(session, "set", set);
    let everything = DescribeClientQuotasRequest::default();
    session.until(1, &everything, |r| r.entries.as_ref().is_some_and(|entries| entries.len() == 5));
    let filters: &[(&str, Filter<'_>)] = &[
        ("all", &[]),
        ("a user", &[("user", 0, Some("ann"))]),
        ("default user", &[("user", 1, None)]),
        ("any user", &[("user", 2, None)]),
        ("user and client", &[("user", 2, None), ("client-id", 2, None)]),
        ("any address", &[("ip", 2, None)]),
        ("nobody", &[("user", 0, Some("nobody"))]),
        ("exact without name", &[("user", 0, None)]),
        ("default with name", &[("user", 1, Some("ann"))]),
        ("any with name", &[("user", 2, Some("ann"))]),
        ("unknown match", &[("user", 3, None)]),
        ("unknown type", &[("group", 2, None)]),
        ("empty type", &[("", 2, None)]),
        ("type twice", &[("user", 2, None), ("user", 1, None)]),
        ("address and user", &[("ip", 2, None), ("user", 2, None)]),
    ];
    for (label, components) in filters {
        describe(session, label, components, false);
        describe(session, &format!("{label}, strictly"), components, true);
    }
    alter(session, "remove", vec![entry(&[("user", Some("ann"))], &[("producer_byte_rate", None)])]);
    session.until(1, &everything, |r| {
        let values = |e: &describe_client_quotas_response::EntryData| e.values.len();
        r.entries.as_ref().is_some_and(|entries| entries.iter().map(values).sum::<usize>() == 5)
    });
    describe(session, "after removal", &[("user", 0, Some("ann"))], true);
}

fn upsertion(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(s(name))
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt("salt".into())
        .with_salted_password("salted".into())
}

fn deletion(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default().with_name(s(name)).with_mechanism(mechanism)
}

fn credentials(session: &mut Session) {
    let alter = |session: &mut Session, label: &str, delete, upsert| {
        let request =
            AlterUserScramCredentialsRequest::default().with_deletions(delete).with_upsertions(upsert);
        session.ask_with(0, label, &request, |r: &mut AlterUserScramCredentialsResponse| {
            r.results.sort_by(|a, b| a.user.cmp(&b.user));
        });
    };
    let describe = |session: &mut Session, label: &str, users: Option<&[&str]>| {
        let user = |name: &&str| UserName::default().with_name(s(name));
        let users = users.map(|users| users.iter().map(user).collect());
        let request = DescribeUserScramCredentialsRequest::default().with_users(users);
        session.ask_with(0, label, &request, |r: &mut DescribeUserScramCredentialsResponse| {
            r.results.sort_by(|a, b| a.user.cmp(&b.user));
            r.results.iter_mut().for_each(|user| user.credential_infos.sort_by_key(|info| info.mechanism));
        });
    };
    describe(session, "none yet", None);
    alter(session, "nothing", Vec::new(), Vec::new());
    let refused = vec![
        upsertion("", 1, 4096),
        upsertion("few", 1, 4095),
        upsertion("many", 2, 16_385),
        upsertion("unknown", 3, 4096),
        upsertion("twice", 1, 4096),
        upsertion("twice", 2, 4096),
        upsertion("both", 1, 4096),
        upsertion("fine", 2, 8192),
    ];
    let absent = vec![deletion("absent", 1), deletion("both", 1), deletion("zero", 0)];
    alter(session, "one is fine", absent, refused);
    alter(session, "two more", Vec::new(), vec![upsertion("ann", 1, 4096), upsertion("fine", 1, 16_384)]);
    let everybody = DescribeUserScramCredentialsRequest::default().with_users(None);
    session.until(0, &everybody, |r| {
        r.results.len() == 2 && r.results.iter().any(|u| u.credential_infos.len() == 2)
    });
    describe(session, "all", None);
    describe(session, "empty list", Some(&[]));
    describe(session, "some", Some(&["ann", "nobody", "fine", "fine"]));
    alter(session, "delete", vec![deletion("fine", 2), deletion("ann", 2)], Vec::new());
    session.until(0, &everybody, |r| r.results.iter().all(|user| user.credential_infos.len() == 1));
    describe(session, "after deletion", None);
}

fn log_directories(session: &mut Session, data: &str) {
    let topic = |name: &str, partitions: &[i32]| {
        AlterReplicaLogDirTopic::default().with_name(topic_name(name)).with_partitions(partitions.to_vec())
    };
    let dir = |path: &str, topics| AlterReplicaLogDir::default().with_path(s(path)).with_topics(topics);
    let long = "x".repeat(225);
    let cases = [
        ("no directory", vec![]),
        ("unknown directory", vec![dir("/nowhere", vec![topic("none", &[0])])]),
        ("unknown topic", vec![dir(data, vec![topic("none", &[0, 1])])]),
        ("long name", vec![dir(data, vec![topic(&long, &[0])])]),
    ];
    for (label, dirs) in cases {
        let request = AlterReplicaLogDirsRequest::default().with_dirs(dirs);
        for version in [1, 2] {
            session.ask(version, label, &request);
        }
    }
}
