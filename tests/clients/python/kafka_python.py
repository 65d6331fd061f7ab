"""kafka-python."""
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from driver import Member, assigned, raw, record, seen, serve


class Told(ConsumerRebalanceListener):
    def __init__(self, name):
        self.name = name

    def on_partitions_revoked(self, revoked):
        assigned(self.name, [])

    def on_partitions_assigned(self, partitions):
        assigned(self.name, [p.partition for p in partitions])


class Client:
    def __init__(self, bootstrap):
        self.base = {"bootstrap_servers": bootstrap}
        self.members = {}

    def create(self, r):
        admin = KafkaAdminClient(**self.base)
        admin.create_topics([NewTopic(r["topic"], r["partitions"], 1)])
        admin.close()

    def produce(self, r):
        codec = None if r["codec"] == "none" else r["codec"]
        p = KafkaProducer(**self.base, acks="all", compression_type=codec, linger_ms=20)
        sent = [p.send(r["topic"], value=raw(x["v"]), key=raw(x["k"]), partition=x["p"], timestamp_ms=x["t"],
                       headers=[(n, raw(v)) for n, v in x["h"]]) for x in r["records"]]
        p.flush()
        p.close()
        return {"offsets": [f.get(30).offset for f in sent]}

    def consume(self, r):
        c = KafkaConsumer(**self.base, enable_auto_commit=False)
        all = [TopicPartition(r["topic"], i) for i in range(r["partitions"])]
        c.assign(all)
        c.seek_to_beginning(*all)
        records = []
        while len(records) < r["count"]:
            for ms in c.poll(200).values():
                records += [record(m.partition, m.offset, m.key, m.value, m.headers, m.timestamp) for m in ms]
        c.close()
        return {"records": records}

    def join(self, r):
        name = r["member"]
        c = KafkaConsumer(**self.base, group_id=r["group"], enable_auto_commit=False, auto_offset_reset="earliest",
                          heartbeat_interval_ms=300, session_timeout_ms=10000)
        # A member that joins before it knows the topic is given nothing and joins again; in 3.0.12 it stays without
        # partitions for good when a poll times out during that second join.
        c.partitions_for_topic(r["topic"])
        c.subscribe([r["topic"]], listener=Told(name))

        def poll():
            # Longer than the group needs to agree, also on a busy machine: 3.0.12 forgets a join that outlasts a poll.
            for ms in c.poll(3000).values():
                for m in ms:
                    seen(name, m.partition, m.offset)

        self.members[name] = Member(name, poll, c.commit, c.close)

    def commit(self, r):
        self.members[r["member"]].commit()

    def leave(self, r):
        self.members.pop(r["member"]).leave()


serve(Client(sys.argv[1]))
