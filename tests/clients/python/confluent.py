"""confluent-kafka (librdkafka, as pip brings it)."""
import sys, threading, time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driver import Member, assigned, raw, record, seen, serve


class Pace:
    """Writes to every partition all the time and reads it in a group, with librdkafka's own defaults; notes the longest
    time between two acknowledgements of each partition, and every error that reaches the program."""

    def __init__(self, bootstrap, topic, partitions):
        self.base, self.topic = {"bootstrap.servers": bootstrap}, topic
        self.last, self.pauses = [None] * partitions, [0.0] * partitions
        self.errors, self.written, self.read = [], 0, set()
        self.ending, self.ended = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.write, self.consume)]
        for thread in self.threads:
            thread.start()
        while self.written < partitions * 10 or not self.read:
            time.sleep(0.01)
        self.pauses = [0.0] * partitions

    def told(self, partition):
        def told(error, message):
            if error:
                self.errors.append(f"producer: {error}")
                return
            now = time.monotonic()
            if self.last[partition] is not None:
                self.pauses[partition] = max(self.pauses[partition], now - self.last[partition])
            self.last[partition], self.written = now, self.written + 1
            self.newest[partition] = message.offset()
        return told

    def write(self):
        self.newest = {}
        p = Producer(self.base)
        told = [self.told(i) for i in range(len(self.last))]
        while not self.ending.is_set():
            for i, on_delivery in enumerate(told):
                p.produce(self.topic, value=b"pace", partition=i, on_delivery=on_delivery)
            p.poll(0.01)
        if p.flush(60) > 0:
            self.errors.append("producer: records were not acknowledged")
        self.ended.set()

    def consume(self):
        c = Consumer({**self.base, "group.id": "pace", "auto.offset.reset": "earliest"})
        c.subscribe([self.topic])
        missing, deadline = True, None
        while missing and (deadline is None or time.monotonic() < deadline):
            m = c.poll(0.1)
            if m is not None and m.error():
                self.errors.append(f"consumer: {m.error()}")
            elif m is not None:
                self.read.add((m.partition(), m.offset()))
            if self.ended.is_set():
                deadline = deadline or time.monotonic() + 60
                missing = not set(self.newest.items()) <= self.read
        if missing:
            self.errors.append("consumer: the last records were not read")
        c.close()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        return {"pauses": self.pauses, "errors": self.errors}


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

    def pace(self, r):
        self.paced_ = Pace(self.base["bootstrap.servers"], r["topic"], r["partitions"])

    def paced(self, r):
        return self.paced_.end()

    def commit(self, r):
        self.members[r["member"]].commit()

    def leave(self, r):
        self.members.pop(r["member"]).leave()


serve(Client(sys.argv[1]))
