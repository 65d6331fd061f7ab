"""kcat, as Debian packages it: each request becomes one or more runs of the command."""
import os, subprocess, sys, tempfile, threading

from driver import assigned, raw, record, seen, serve

PATIENT = ["-X", "reconnect.backoff.max.ms=500"]


class Client:
    def __init__(self, bootstrap):
        self.bootstrap, self.members = bootstrap, {}
        self.next = {}

    def kcat(self, *words, stdin=None):
        p = subprocess.run(["kcat", "-b", self.bootstrap, *PATIENT, *words], input=stdin, capture_output=True)
        if p.returncode != 0:
            raise RuntimeError(f"kcat {words}: {p.stderr.decode()}")
        return p.stdout

    def create(self, r):
        """kcat has no command for it: asking for the metadata of a topic creates it, with the broker's `num.partitions`."""
        wanted = f'topic "{r["topic"]}" with {r["partitions"]} partitions'
        listed = ""
        while wanted not in listed or "not available" in listed:
            listed = self.kcat("-L", "-t", r["topic"]).decode()

    def produce(self, r):
        offsets, topic = [], r["topic"]
        with tempfile.TemporaryDirectory() as d:
            for x in r["records"]:
                words = ["-P", "-t", topic, "-p", str(x["p"]), "-z", r["codec"], "-X", "enable.idempotence=true", "-Z"]
                if x["k"] is not None:
                    words += ["-k", raw(x["k"]).decode()]
                for name, value in x["h"]:
                    words += ["-H", f"{name}={raw(value).decode()}"]
                if x["v"] is None:
                    # kcat drops empty input; nothing after the key's delimiter is an empty message, which -Z makes null.
                    self.kcat(*words, "-K", "|", stdin=raw(x["k"]) + b"|\n")
                else:
                    path = os.path.join(d, "value")
                    with open(path, "wb") as f:
                        f.write(raw(x["v"]))
                    self.kcat(*words, path)
                # kcat does not tell the offset; the test compares what is counted here with what is read.
                offset = self.next.get((topic, x["p"]), 0)
                self.next[topic, x["p"]] = offset + 1
                offsets.append(offset)
        return {"offsets": offsets}

    def consume(self, r):
        out = self.kcat("-C", "-t", r["topic"], "-o", "beginning", "-e", "-q", "-f", "%p %o %T %K %S %h\n%k%s\n")
        records = []
        while out:
            head, out = out.split(b"\n", 1)
            p, o, t, kn, vn, headers = head.decode().split(" ", 5)
            kn, vn = int(kn), int(vn)
            key, out = (None, out) if kn < 0 else (out[:kn], out[kn:])
            value, out = (None, out) if vn < 0 else (out[:vn], out[vn:])
            if out[:1] != b"\n":
                raise RuntimeError("kcat's output does not follow the format")
            out = out[1:]
            pairs = [h.split("=", 1) for h in headers.split(",")] if headers else []
            records.append(record(int(p), int(o), key, value, [(n, v.encode()) for n, v in pairs], int(t)))
        return {"records": records}

    def join(self, r):
        name = r["member"]
        p = subprocess.Popen(["kcat", "-b", self.bootstrap, *PATIENT, "-X", "heartbeat.interval.ms=300", "-X", "session.timeout.ms=10000",
                              "-X", "auto.commit.interval.ms=50", "-X", "auto.offset.reset=earliest", "-u", "-E", "-f", "%p %o\n",
                              "-G", r["group"], r["topic"]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def records():
            for line in p.stdout:
                partition, offset = map(int, line.split())
                seen(name, partition, offset)

        def rebalances():
            for line in p.stderr:
                sys.stderr.write(f"{name}: {line}")
                if "rebalanced" in line and "assigned:" in line:
                    owned = line.split("assigned:", 1)[1].split(",")
                    assigned(name, [int(x.split("[")[1].split("]")[0]) for x in owned if "[" in x])
                elif "rebalanced" in line and "revoked:" in line:
                    assigned(name, [])

        for f in records, rebalances:
            threading.Thread(target=f, daemon=True).start()
        self.members[name] = p

    def commit(self, r):
        """kcat commits on its own, 50 ms after it printed a record; asked for here is only that it did."""
        threading.Event().wait(0.5)

    def leave(self, r):
        p = self.members.pop(r["member"])
        p.terminate()
        p.wait()


serve(Client(sys.argv[1]))
