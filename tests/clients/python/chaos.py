"""librdkafka under faults: an idempotent producer and a group member that tell everything that they do and see.

Times are microseconds of the system's monotonic clock. Requests: write, flush, read, stop; see ../../src/chaos/foreign.rs.
"""
import sys, threading, time

from confluent_kafka import Consumer, KafkaException, Producer

from driver import say, serve

SLOW = 30


def now():
    return time.monotonic_ns() // 1000


class Client:
    def __init__(self, bootstrap):
        self.base = {"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
                     "topic.metadata.refresh.interval.ms": 1000, "socket.timeout.ms": 3000, "log_level": 0}
        self.writing, self.writer, self.reading, self.reader, self.ends, self.positions = False, None, False, None, None, {}

    def write(self, r):
        self.writing = True
        self.writer = threading.Thread(target=self.produce, args=(r["topic"], r["partitions"], r["process"]), daemon=True)
        self.writer.start()

    def produce(self, topic, partitions, process):
        # One request at a time, for a fault of librdkafka (2.16.0, confluentinc/librdkafka#4953), not of the node. With more, the
        # first of a partition may be refused (NOT_ENOUGH_REPLICAS) and the second be out of order; then librdkafka takes a new
        # epoch for all partitions (rd_kafka_handle_idempotent_Produce_error, rd_kafka_idemp_drain_epoch_bump). What timed out
        # and was written there is sent again with it (rd_kafka_toppar_pid_change) and written twice. Apache Kafka gives the
        # same answers and has the same duplicates: ../../tests/librdkafka_epochs.rs.
        p = Producer({**self.base, "enable.idempotence": True, "max.in.flight": 1, "linger.ms": 5, "message.timeout.ms": SLOW * 1000,
                      "retry.backoff.ms": 20, "retry.backoff.max.ms": 200})

        def told(value):
            def told(error, message):
                if not error:
                    say({"e": "acked", "at": now(), "v": value, "o": message.offset()})
            return told

        n = 0
        while self.writing:
            value, partition = f"{process}.0.{n}", n % partitions
            say({"e": "sent", "at": now(), "v": value, "p": partition})
            p.produce(topic, value=value + ".", partition=partition, on_delivery=told(value))
            n += 1
            p.poll(0.015)
        p.flush(SLOW)

    def flush(self, r):
        self.writing = False
        self.writer.join()

    def read(self, r):
        self.reading, self.ends, self.positions = True, None, {}
        self.reader = threading.Thread(target=self.consume, args=(r,), daemon=True)
        self.reader.start()

    def consume(self, r):
        topic, group, generation = r["topic"], r["group"], 0

        def assigned(consumer, partitions):
            nonlocal generation
            generation += 1
            began = now()
            try:
                found = consumer.committed(partitions, timeout=5)
            except KafkaException:
                return
            for f in found:
                if not f.error:
                    say({"e": "committed", "began": began, "p": f.partition, "o": max(f.offset, -1)})

        c = Consumer({**self.base, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                      "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "fetch.wait.max.ms": 50,
                      "fetch.error.backoff.ms": 50, "client.rack": r["rack"]})
        c.subscribe([topic], on_assign=assigned)
        last = time.monotonic()
        while self.reading:
            began = now()
            m = c.poll(0.05)
            if m is not None and not m.error():
                say({"e": "read", "began": began, "at": now(), "g": generation, "p": m.partition(), "o": m.offset(),
                     "v": m.value().decode()})
                self.positions[m.partition()] = m.offset() + 1
            if time.monotonic() - last > 0.2 and self.positions:
                self.commit(c)
                last = time.monotonic()
        c.close()

    def commit(self, c):
        began, at = now(), dict(self.positions)
        try:
            done = c.commit(asynchronous=False)
        except KafkaException:
            return
        for d in done or []:
            if not d.error:
                say({"e": "commit", "began": began, "at": now(), "p": d.partition, "o": d.offset})

    def stop(self, r):
        """Ends the reading when the ends are reached, or after a while."""
        deadline = time.monotonic() + SLOW
        ends = {p: end for p, end in enumerate(r["ends"]) if end > 0}
        while time.monotonic() < deadline and any(self.positions.get(p, 0) < end for p, end in ends.items()):
            time.sleep(0.02)
        behind = {p: end for p, end in ends.items() if self.positions.get(p, 0) < end}
        self.reading = False
        self.reader.join(SLOW)
        return {"behind": behind}


serve(Client(sys.argv[1]))
