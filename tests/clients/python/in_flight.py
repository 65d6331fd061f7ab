"""librdkafka's idempotent producer, whose steps are known by its own log.

Requests: open (settings), send (topic, value) waits until one more produce request is on its way, until (text) waits for
a line of the log, flush; see ../../src/program.rs.
"""
import logging, sys, time

from confluent_kafka import Producer, libversion

from driver import serve

LIMIT = 60


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Client:
    def __init__(self, bootstrap):
        self.bootstrap, self.log, self.told, self.producer = bootstrap, Lines(), [], None

    def open(self, r):
        logger = logging.Logger("librdkafka", logging.DEBUG)
        logger.addHandler(self.log)
        settings = {"bootstrap.servers": self.bootstrap, "debug": "eos,msg,protocol", **r["settings"]}
        self.producer = Producer(settings, logger=logger)
        return {"version": libversion()[0]}

    def wait(self, what, good):
        deadline = time.monotonic() + LIMIT
        while not good():
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join([what] + self.log.lines[-60:]))
            self.producer.poll(0.01)

    def count(self, text):
        return sum(text in line for line in self.log.lines)

    def send(self, r):
        before = self.count("Sent ProduceRequest")

        def told(error, message):
            self.told.append([message.value().decode(), message.offset(), str(error) if error else None])

        self.producer.produce(r["topic"], value=r["value"], partition=0, on_delivery=told)
        self.wait("no request for " + r["value"], lambda: self.count("Sent ProduceRequest") > before)

    def until(self, r):
        self.wait("no line with " + r["text"], lambda: self.count(r["text"]) > 0)

    def flush(self, r):
        """What became of all values, and what the log says of requests that failed and of epochs."""
        left = self.producer.flush(LIMIT)
        words = ("encountered error", "epoch bump", "bumped epoch", "Produce MessageSet", "delivered")
        log = [line for line in self.log.lines if any(word in line for word in words)]
        return {"left": left, "told": self.told, "log": log}


serve(Client(sys.argv[1]))
