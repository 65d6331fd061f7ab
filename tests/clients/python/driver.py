"""What the Python clients share: the loop over requests in JSON lines, and the form of records.

A client gives `serve` an object with create, produce, consume, join, commit and leave; see ../../src/program.rs.
"""
import base64, json, os, sys, threading, traceback

_lock = threading.Lock()


def say(line):
    with _lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def assigned(member, partitions):
    say({"event": "assigned", "member": member, "partitions": sorted(partitions)})


def seen(member, partition, offset):
    say({"event": "record", "member": member, "p": partition, "o": offset})


def raw(text):
    return None if text is None else base64.b64decode(text)


def text(raw):
    return None if raw is None else base64.b64encode(raw).decode()


def record(partition, offset, key, value, headers, timestamp):
    pairs = [[name, text(v)] for name, v in headers or []]
    return {"p": partition, "o": offset, "k": text(key), "v": text(value), "h": pairs, "t": timestamp}


def serve(client):
    """Answers requests until stdin ends, then ends the process at once."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"]}
        try:
            answer.update(getattr(client, request["op"])(request) or {})
        except Exception as e:
            traceback.print_exc()
            answer["error"] = f"{type(e).__name__}: {e}"
        say(answer)
    os._exit(0)


class Member(threading.Thread):
    """A group member for clients that poll: `poll`, `commit` and `close` are the client's; all run in this thread."""

    def __init__(self, name, poll, commit, close):
        super().__init__(daemon=True)
        self.name_, self.poll, self.do_commit, self.do_close = name, poll, commit, close
        self.asked, self.done, self.leaving, self.failed = threading.Event(), threading.Event(), False, None
        self.start()

    def run(self):
        while not self.leaving:
            self.poll()
            if self.asked.is_set():
                self.asked.clear()
                try:
                    self.do_commit()
                except Exception as e:
                    self.failed = e
                self.done.set()
        self.do_close()

    def commit(self):
        self.done.clear()
        self.asked.set()
        self.done.wait()
        if self.failed:
            raise self.failed

    def leave(self):
        self.leaving = True
        self.join()
