//! The guard against the decoder that it protects.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::request::RequestHeader;
use crate::versions::{APIS, ApiKey, Listener, is_taken};
use crate::wire::put_uvarint;

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a thread-local integer only.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What came of decoding: the bytes left over and the request encoded again, and what it allocated.
struct Decoded {
    result: Option<(usize, BytesMut)>,
    allocated: usize,
}

fn decode_as<T: Decodable + Encodable>(body: &Bytes, version: i16) -> Decoded {
    let mut input = body.clone();
    let before = ALLOCATED.get();
    let request = T::decode(&mut input, version);
    let allocated = ALLOCATED.get() - before;
    let result = request.ok().map(|request| {
        let mut again = BytesMut::new();
        request.encode(&mut again, version).unwrap();
        (input.len(), again)
    });
    Decoded { result, allocated }
}

fn default_of<T: Default + Encodable>(version: i16) -> Option<Bytes> {
    let mut out = BytesMut::new();
    T::default().encode(&mut out, version).ok()?;
    Some(out.freeze())
}

macro_rules! decoders {
    ($($key:ident => $request:ident,)+) => {
        fn decode(key: i16, version: i16, body: &Bytes) -> Decoded {
            match key {
                $(ApiKey::$key => decode_as::<$request>(body, version),)+
                _ => panic!("no request {key}"),
            }
        }

        fn default_request(key: i16, version: i16) -> Option<Bytes> {
            match key {
                $(ApiKey::$key => default_of::<$request>(version),)+
                _ => panic!("no request {key}"),
            }
        }
    };
}

crate::each_request!(decoders);

/// Writes random requests by the table: what the table says and what the decoder reads must agree.
struct Writer {
    form: Form,
    seed: u64,
    nulls: bool,
    tags: bool,
    out: BytesMut,
}

impl Writer {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % below
    }

    fn fields(&mut self, fields: &[Field]) {
        let version = self.form.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.value(&field.shape);
        }
        if !self.form.flexible {
            return;
        }
        let known = fields.iter().filter(|field| field.tag.is_some() && field.is_in(version));
        let known: Vec<_> = known.filter(|_| self.tags && self.random(2) == 0).collect();
        let unknown = if self.tags { self.random(3) as u32 } else { 0 };
        put_uvarint(known.len() as u32 + unknown, &mut self.out);
        for field in known {
            let outer = std::mem::take(&mut self.out);
            self.value(&field.shape);
            let value = std::mem::replace(&mut self.out, outer);
            put_uvarint(field.tag.unwrap(), &mut self.out);
            put_uvarint(value.len() as u32, &mut self.out);
            self.out.put_slice(&value);
        }
        for tag in 0..unknown {
            put_uvarint(1000 + tag, &mut self.out);
            let len = self.random(6) as u32;
            put_uvarint(len, &mut self.out);
            self.out.put_bytes(b'k', len as usize);
        }
    }

    fn length(&mut self, len: u64, flexible: bool, short: bool) {
        match (flexible, short) {
            (true, _) => put_uvarint(len as u32 + 1, &mut self.out),
            (false, true) => self.out.put_i16(len as i16),
            (false, false) => self.out.put_i32(len as i32),
        }
    }

    fn null(&mut self, short: bool) -> bool {
        let null = self.nulls && self.random(6) == 0;
        if null {
            match (self.form.flexible, short) {
                (true, _) => self.out.put_u8(0),
                (false, true) => self.out.put_i16(-1),
                (false, false) => self.out.put_i32(-1),
            }
        }
        null
    }

    fn count(&mut self) -> u64 {
        if self.null(false) {
            return 0;
        }
        let count = self.random(4);
        self.length(count, self.form.flexible, false);
        count
    }

    fn value(&mut self, shape: &Shape) {
        match *shape {
            Shape::Fixed(1) => self.out.put_u8(1),
            Shape::Fixed(size) => (0..size).for_each(|_| {
                let byte = self.random(256) as u8;
                self.out.put_u8(byte);
            }),
            Shape::Str | Shape::Bytes => {
                let short = matches!(shape, Shape::Str);
                if !self.null(short) {
                    let len = self.random(200);
                    self.length(len, self.form.flexible, short);
                    self.out.put_bytes(b'k', len as usize);
                }
            }
            Shape::List(element) => (0..self.count()).for_each(|_| self.value(&element.shape)),
            Shape::Structs(fields, _) => (0..self.count()).for_each(|_| self.fields(fields)),
            Shape::Object(fields) => self.fields(fields),
            Shape::NullableObject(fields) => {
                let some = self.random(2) as i8;
                self.out.put_i8(if some == 1 { 1 } else { -1 });
                if some == 1 {
                    self.fields(fields);
                }
            }
        }
    }
}

fn every_request() -> impl Iterator<Item = (&'static Request, i16)> {
    let requests = GROUPS.iter().flat_map(|group| group.iter());
    requests.flat_map(|request| (request.min..=request.max).map(move |version| (request, version)))
}

fn random_request(request: &Request, version: i16, seed: u64, nulls: bool, tags: bool) -> Bytes {
    let form = Form { version, flexible: is_flexible(request.key, version) };
    let mut writer = Writer { form, seed: seed | 1, nulls, tags, out: BytesMut::new() };
    writer.fields(request.fields);
    writer.out.freeze()
}

/// Whatever the guard accepts must decode, or fail, without a panic and within the bound.
fn assert_safe(key: i16, version: i16, body: &Bytes) {
    let Ok(checked) = check(key, version, body) else { return };
    let decoded = decode(key, version, body);
    // The first slice of a frame makes its counter, and an error its message and perhaps a backtrace.
    let slack = if decoded.result.is_some() { 64 } else { 64 * 1024 };
    assert!(
        decoded.allocated <= checked.decoded_bytes + slack,
        "{key} version {version}: {} bytes, {checked:?}, {body:?}",
        decoded.allocated
    );
    if let Some((left, _)) = decoded.result {
        assert_eq!(left, body.len() - checked.body_len, "{key} version {version}: {body:?}");
    }
}

#[test]
fn the_table_has_every_version_that_is_taken() {
    for api in APIS {
        for version in 0..=20 {
            let taken = [Listener::Broker, Listener::Controller].into_iter();
            let taken = taken.clone().any(|listener| is_taken(listener, api.key, version));
            let telemetry = [ApiKey::GET_TELEMETRY_SUBSCRIPTIONS, ApiKey::PUSH_TELEMETRY].contains(&api.key);
            let known = every_request().any(|(request, known)| request.key == api.key && known == version);
            assert_eq!(known, taken || (telemetry && version == 0), "{} {version}", api.name);
        }
    }
}

/// The fewest bytes that a struct takes on the wire.
fn min_len(fields: &[Field], form: Form) -> usize {
    let present = fields.iter().filter(|field| field.tag.is_none() && field.is_in(form.version));
    let sizes = present.map(|field| match field.shape {
        Shape::Fixed(size) => size,
        Shape::Object(fields) => min_len(fields, form),
        Shape::NullableObject(_) => 1,
        _ if form.flexible => 1,
        Shape::Str => 2,
        _ => 4,
    });
    sizes.sum::<usize>() + usize::from(form.flexible)
}

fn assert_never_amplified(key: i16, fields: &[Field], form: Form) {
    for field in fields.iter().filter(|field| field.is_in(form.version)) {
        if let Shape::Structs(fields, memory) = field.shape {
            let len = min_len(fields, form);
            assert!(memory <= MAX_AMPLIFICATION * len, "{key} {form:?}: {memory} from {len}");
        }
        if let Shape::Structs(fields, _) | Shape::Object(fields) | Shape::NullableObject(fields) = field.shape
        {
            assert_never_amplified(key, fields, form);
        }
    }
}

#[test]
fn without_unknown_tags_no_request_is_refused_for_its_memory() {
    for (request, version) in every_request() {
        let form = Form { version, flexible: is_flexible(request.key, version) };
        assert_never_amplified(request.key, request.fields, form);
    }
}

#[test]
fn the_bound_is_near_what_decoding_really_takes() {
    let count = 10_000;
    let mut body = BytesMut::new();
    body.put_u8(1);
    put_uvarint(count + 1, &mut body);
    (0..count).for_each(|_| body.put_slice(&[1, 0, 0, 0]));
    body.put_u8(0);
    let body = body.freeze();
    let checked = check(ApiKey::LEAVE_GROUP, 5, &body).unwrap();
    let allocated = decode(ApiKey::LEAVE_GROUP, 5, &body).allocated;
    assert!(
        allocated <= checked.decoded_bytes && allocated > checked.decoded_bytes / 2,
        "{allocated} {checked:?}"
    );
}

#[test]
fn default_requests_pass() {
    let mut passed = 0;
    for (request, version) in every_request() {
        let Some(body) = default_request(request.key, version) else { continue };
        assert_eq!(check(request.key, version, &body).unwrap().body_len, body.len());
        passed += 1;
    }
    assert!(passed > 200, "{passed}");
}

#[test]
fn recorded_requests_pass() {
    for line in include_str!("../../testdata/requests.txt").lines() {
        let frame: Bytes =
            (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect();
        let header = RequestHeader::parse(&frame).unwrap();
        let (key, version) = (header.api_key, header.api_version);
        let body = frame.slice(header.body_start..);
        let checked = check(key, version, &body).unwrap_or_else(|error| panic!("{key} {version}: {error}"));
        assert_eq!(checked.body_len, body.len(), "{key} {version}");
        let (_, again) = decode(key, version, &body).result.unwrap();
        assert_eq!(again, body, "{key} {version}");
    }
}

#[test]
fn lying_counts_are_refused() {
    let lies: [(i16, i16, &[u8]); 5] = [
        (ApiKey::METADATA, 0, &[0x7f, 0xff, 0xff, 0xff]),
        (ApiKey::METADATA, 0, &[0x03, 0x37, 0xf9, 0x80]),
        (ApiKey::METADATA, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (ApiKey::PRODUCE, 9, &[0, 0, 1, 0, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x08]),
        (ApiKey::HEARTBEAT, 4, &[1, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (key, version, body) in lies {
        assert!(matches!(check(key, version, body), Err(GuardError::Malformed(_))), "{key}");
    }
    assert!(matches!(check(ApiKey::METADATA, 99, &[]), Err(GuardError::Unknown { .. })));
    assert!(matches!(check(-1, 0, &[]), Err(GuardError::Unknown { .. })));
    let subscription = [0x7f, 0xff, 0xff, 0xff, 0, 0];
    assert!(check_embedded(Embedded::ConsumerSubscription, 3, &subscription).is_err());
}

#[test]
fn requests_decode_from_slices_and_buffers() {
    let body = default_request(ApiKey::METADATA, 12).unwrap();
    let request: MetadataRequest = super::decode(12, body.clone()).unwrap();
    assert_eq!(request, super::decode(12, &body[..]).unwrap());
    assert!(matches!(super::decode::<HeartbeatRequest>(0, &[0xff; 30][..]), Err(GuardError::Undecodable)));
}

#[test]
fn a_tree_of_tags_in_every_element_is_refused() {
    let element = [1, 1, 200, 1, 0];
    let mut body = BytesMut::new();
    let count = 10_000;
    put_uvarint(count + 1, &mut body);
    (0..count).for_each(|_| body.put_slice(&element));
    body.put_slice(&[0, 0, 0, 0]);
    let refused = check(ApiKey::METADATA, 9, &body);
    assert!(matches!(refused, Err(GuardError::Amplified { .. })), "{refused:?}");
}

#[test]
fn embedded_messages_pass() {
    let topic = StrBytes::from_static_str("plain");
    let partition =
        consumer_protocol_subscription::TopicPartition::default().with_topic(TopicName(topic.clone()));
    let mut subscription = ConsumerProtocolSubscription::default().with_topics(vec![topic]);
    for version in 0..=3 {
        if version >= 1 {
            subscription.owned_partitions = vec![partition.clone().with_partitions(vec![1, 2])];
        }
        let mut out = BytesMut::new();
        subscription.encode(&mut out, version).unwrap();
        let checked = check_embedded(Embedded::ConsumerSubscription, version, &out).unwrap();
        assert_eq!(checked.body_len, out.len());
        let mut out = BytesMut::new();
        ConsumerProtocolAssignment::default().encode(&mut out, version).unwrap();
        let checked = check_embedded(Embedded::ConsumerAssignment, version, &out).unwrap();
        assert_eq!(checked.body_len, out.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_requests_pass_and_are_read_to_the_same_end(seed in any::<u64>(), tags in any::<bool>()) {
        for (request, version) in every_request() {
            let body = random_request(request, version, seed, false, tags);
            let checked = check(request.key, version, &body);
            let checked = checked.unwrap_or_else(|error| panic!("{} {version}: {error}", request.key));
            prop_assert_eq!(checked.body_len, body.len());
            let decoded = decode(request.key, version, &body);
            let (left, again) = decoded.result.unwrap_or_else(|| panic!("{} {version}", request.key));
            prop_assert_eq!(left, 0);
            if !tags {
                prop_assert_eq!(again, body, "{} {}", request.key, version);
            }
        }
    }

    #[test]
    fn mutated_requests_never_do_harm(seed in any::<u64>(), at in any::<usize>(), byte in any::<u8>()) {
        for (request, version) in every_request() {
            let body = random_request(request, version, seed, true, true);
            assert_safe(request.key, version, &body);
            assert_safe(request.key, version, &body.slice(..at % (body.len() + 1)));
            for (offset, byte) in [(0, byte), (1, 0xff), (2, 0), (3, 0x7f), (5, 0x80)] {
                let mut mutated = BytesMut::from(&body[..]);
                if !mutated.is_empty() {
                    let at = at.wrapping_add(offset) % mutated.len();
                    mutated[at] = byte;
                }
                assert_safe(request.key, version, &mutated.freeze());
            }
        }
    }

    #[test]
    fn noise_never_does_harm(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(noise);
        for (request, version) in every_request() {
            assert_safe(request.key, version, &body);
        }
    }
}
