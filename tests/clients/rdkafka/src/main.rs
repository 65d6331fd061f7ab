//! The rdkafka crate with the librdkafka that it builds; requests and answers as in `tests/src/program.rs`.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

type Answer = Result<Value, Box<dyn Error>>;

static BOOTSTRAP: OnceLock<String> = OnceLock::new();

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", BOOTSTRAP.get().expect("set by main"));
    config.set("reconnect.backoff.max.ms", "500");
    config
}

fn bytes(text: &Value) -> Option<Vec<u8>> {
    text.as_str().map(|t| BASE64.decode(t).expect("the test sends base64"))
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |b| json!(BASE64.encode(b)))
}

fn field<'a>(request: &'a Value, name: &str) -> &'a str {
    request[name].as_str().unwrap_or_default()
}

async fn create(request: &Value) -> Answer {
    let admin: AdminClient<DefaultClientContext> = config().create()?;
    let partitions = request["partitions"].as_i64().unwrap_or(1) as i32;
    let topic = NewTopic::new(field(request, "topic"), partitions, TopicReplication::Fixed(1));
    for result in admin.create_topics([&topic], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok(json!({}))
}

async fn produce(request: &Value) -> Answer {
    let producer: FutureProducer = config()
        .set("compression.type", field(request, "codec"))
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .create()?;
    let mut sent = Vec::new();
    for r in request["records"].as_array().into_iter().flatten() {
        let (key, value) = (bytes(&r["k"]), bytes(&r["v"]));
        let mut headers = OwnedHeaders::new();
        for pair in r["h"].as_array().into_iter().flatten() {
            let value = bytes(&pair[1]);
            headers = headers.insert(Header { key: pair[0].as_str().unwrap_or_default(), value: value.as_ref() });
        }
        let mut record = FutureRecord::<Vec<u8>, Vec<u8>>::to(field(request, "topic"))
            .partition(r["p"].as_i64().unwrap_or(0) as i32)
            .timestamp(r["t"].as_i64().unwrap_or(0))
            .headers(headers);
        record.key = key.as_ref();
        record.payload = value.as_ref();
        sent.push(producer.send_result(record).map_err(|(e, _)| e)?);
    }
    let mut offsets = Vec::new();
    for delivery in sent {
        offsets.push(delivery.await?.map_err(|(e, _)| e)?.offset);
    }
    Ok(json!({ "offsets": offsets }))
}

fn consume(request: &Value) -> Answer {
    let consumer: BaseConsumer = config().set("group.id", "none").set("enable.auto.commit", "false").create()?;
    let mut all = TopicPartitionList::new();
    for p in 0..request["partitions"].as_i64().unwrap_or(1) as i32 {
        all.add_partition_offset(field(request, "topic"), p, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut records = Vec::new();
    while records.len() < request["count"].as_u64().unwrap_or(0) as usize {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let m = message?;
        let headers: Vec<Value> =
            m.headers().into_iter().flat_map(Headers::iter).map(|h| json!([h.key, text(h.value)])).collect();
        records.push(json!({
            "p": m.partition(), "o": m.offset(), "k": text(m.key()), "v": text(m.payload()),
            "h": headers, "t": m.timestamp().to_millis(),
        }));
    }
    Ok(json!({ "records": records }))
}

/// Tells the test about every rebalance.
struct Told(String);

impl Told {
    fn assigned(&self, partitions: &[i32]) {
        println!("{}", json!({"event": "assigned", "member": self.0, "partitions": partitions}));
    }
}

impl ClientContext for Told {}

impl ConsumerContext for Told {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance {
            self.assigned(&[]);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let owned: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
            self.assigned(&owned);
        }
    }
}

/// A group member and the thread that polls it; the consumer itself may be used from any thread.
struct Member {
    consumer: Arc<BaseConsumer<Told>>,
    leaving: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn join(request: &Value) -> Result<Member, Box<dyn Error>> {
    let name = field(request, "member").to_owned();
    let consumer: BaseConsumer<Told> = config()
        .set("group.id", field(request, "group"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("heartbeat.interval.ms", "300")
        .set("session.timeout.ms", "10000")
        .create_with_context(Told(name.clone()))?;
    consumer.subscribe(&[field(request, "topic")])?;
    let (consumer, leaving) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
    let (polled, stop) = (consumer.clone(), leaving.clone());
    let thread = std::thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            match polled.poll(Duration::from_millis(100)) {
                Some(Ok(m)) => {
                    println!("{}", json!({"event": "record", "member": name, "p": m.partition(), "o": m.offset()}));
                }
                Some(Err(e)) => eprintln!("{name}: {e}"),
                None => {}
            }
        }
    });
    Ok(Member { consumer, leaving, thread })
}

fn main() -> Result<(), Box<dyn Error>> {
    BOOTSTRAP.get_or_init(|| std::env::args().next_back().unwrap_or_default());
    let runtime = tokio::runtime::Runtime::new()?;
    let mut members: HashMap<String, Member> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let member = field(&request, "member");
        let answer = match field(&request, "op") {
            "create" => runtime.block_on(create(&request)),
            "produce" => runtime.block_on(produce(&request)),
            "consume" => consume(&request),
            "join" => join(&request).map(|m| {
                members.insert(member.to_owned(), m);
                json!({})
            }),
            "commit" => {
                members[member].consumer.commit_consumer_state(CommitMode::Sync).map(|()| json!({})).map_err(Into::into)
            }
            "leave" => {
                let Member { consumer, leaving, thread } = members.remove(member).ok_or("no such member")?;
                leaving.store(true, Ordering::Release);
                thread.join().map_err(|_| "the member's thread panicked")?;
                drop(consumer);
                Ok(json!({}))
            }
            op => Err(format!("unknown op {op}").into()),
        };
        let mut answer = answer.unwrap_or_else(|e| json!({"error": e.to_string()}));
        answer["id"] = request["id"].clone();
        println!("{answer}");
    }
    std::process::exit(0)
}
