"""aiokafka."""
import asyncio, sys, threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from driver import assigned, raw, record, seen, serve


class Told(ConsumerRebalanceListener):
    def __init__(self, name):
        self.name = name

    async def on_partitions_revoked(self, revoked):
        assigned(self.name, [])

    async def on_partitions_assigned(self, partitions):
        assigned(self.name, [p.partition for p in partitions])


class Client:
    def __init__(self, bootstrap):
        self.base = {"bootstrap_servers": bootstrap}
        self.members = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def __getattr__(self, op):
        return lambda r: asyncio.run_coroutine_threadsafe(getattr(Client, f"on_{op}")(self, r), self.loop).result()

    async def on_create(self, r):
        admin = AIOKafkaAdminClient(**self.base)
        await admin.start()
        await admin.create_topics([NewTopic(r["topic"], r["partitions"], 1)])
        await admin.close()

    async def on_produce(self, r):
        codec = None if r["codec"] == "none" else r["codec"]
        async with AIOKafkaProducer(**self.base, acks="all", compression_type=codec, enable_idempotence=True, linger_ms=20) as p:
            sent = [await p.send(r["topic"], raw(x["v"]), raw(x["k"]), x["p"], x["t"], [(n, raw(v)) for n, v in x["h"]])
                    for x in r["records"]]
            return {"offsets": [(await f).offset for f in sent]}

    async def on_consume(self, r):
        c = AIOKafkaConsumer(**self.base, enable_auto_commit=False)
        await c.start()
        all = [TopicPartition(r["topic"], i) for i in range(r["partitions"])]
        c.assign(all)
        await c.seek_to_beginning(*all)
        records = []
        while len(records) < r["count"]:
            m = await c.getone()
            records.append(record(m.partition, m.offset, m.key, m.value, m.headers, m.timestamp))
        await c.stop()
        return {"records": records}

    async def on_join(self, r):
        name = r["member"]
        c = AIOKafkaConsumer(**self.base, group_id=r["group"], enable_auto_commit=False, auto_offset_reset="earliest",
                             heartbeat_interval_ms=300, session_timeout_ms=10000)
        c.subscribe([r["topic"]], listener=Told(name))

        async def run():
            await c.start()
            async for m in c:
                seen(name, m.partition, m.offset)

        self.members[name] = c, self.loop.create_task(run())

    async def on_commit(self, r):
        await self.members[r["member"]][0].commit()

    async def on_leave(self, r):
        c, task = self.members.pop(r["member"])
        await c.stop()
        task.cancel()


serve(Client(sys.argv[1]))
