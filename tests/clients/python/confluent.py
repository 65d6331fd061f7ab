"""confluent-kafka (librdkafka, as pip brings it)."""
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driver import Member, assigned, raw, record, seen, serve


class Client:
    def __init__(self, bootstrap):
        self.base = {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 500}
        self.members = {}

    def create(self, r):
        admin = AdminClient(self.base)
        for f in admin.create_topics([NewTopic(r["topic"], r["partitions"], 1)]).values():
            f.result()

    def produce(self, r):
        offsets = [None] * len(r["records"])
        p = Producer({**self.base, "compression.type": r["codec"], "linger.ms": 20, "enable.idempotence": True})

        def told(i):
            def told(error, message):
                if error:
                    raise RuntimeError(error)
                offsets[i] = message.offset()
            return told

        for i, x in enumerate(r["records"]):
            p.produce(r["topic"], value=raw(x["v"]), key=raw(x["k"]), partition=x["p"], on_delivery=told(i), timestamp=x["t"],
                      headers=[(n, raw(v)) for n, v in x["h"]])
        p.flush()
        return {"offsets": offsets}

    def consume(self, r):
        c = Consumer({**self.base, "group.id": "none", "enable.auto.commit": False})
        c.assign([TopicPartition(r["topic"], i, 0) for i in range(r["partitions"])])
        records = []
        while len(records) < r["count"]:
            m = c.poll(1)
            # Not `if m`: a message without value counts as false.
            if m is not None and m.error():
                raise RuntimeError(m.error())
            if m is not None:
                records.append(record(m.partition(), m.offset(), m.key(), m.value(), m.headers(), m.timestamp()[1]))
        c.close()
        return {"records": records}

    def join(self, r):
        name = r["member"]
        c = Consumer({**self.base, "group.id": r["group"], "enable.auto.commit": False, "auto.offset.reset": "earliest",
                      "heartbeat.interval.ms": 300, "session.timeout.ms": 10000, "client.rack": r.get("rack", "")})
        c.subscribe([r["topic"]], on_assign=lambda _, ps: assigned(name, [p.partition for p in ps]),
                    on_revoke=lambda _, ps: assigned(name, []))

        def poll():
            m = c.poll(0.1)
            if m is not None and not m.error():
                seen(name, m.partition(), m.offset())

        self.members[name] = Member(name, poll, lambda: c.commit(asynchronous=False), c.close)

    def commit(self, r):
        self.members[r["member"]].commit()

    def leave(self, r):
        self.members.pop(r["member"]).leave()


serve(Client(sys.argv[1]))
