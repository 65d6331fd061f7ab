// kafkajs, with the codecs its documentation tells to plug in.
const readline = require("readline");
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require("kafkajs");
const lz4 = require("lz4-napi");
const zstd = require("@bokuweb/zstd-wasm");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
};

const kafka = new Kafka({
  brokers: [process.argv[process.argv.length - 1]], clientId: "kafkajs", logLevel: logLevel.WARN,
  logCreator: () => ({ log }) => console.error(JSON.stringify(log)),
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 50 },
});
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const raw = (text) => (text === null ? null : Buffer.from(text, "base64"));
const text = (raw) => (raw === null || raw === undefined ? null : Buffer.from(raw).toString("base64"));
const members = {};

// kafkajs takes and gives headers as an object whose values may be arrays.
function headers(pairs) {
  const all = {};
  for (const [name, value] of pairs) all[name] = name in all ? [].concat(all[name], raw(value)) : raw(value);
  return all;
}
const pairs = (headers) =>
  Object.entries(headers || {}).flatMap(([name, v]) => (Array.isArray(v) ? v : [v]).map((x) => [name, text(x)]));

const ops = {
  async create({ topic, partitions }) {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }], waitForLeaders: false });
    await admin.disconnect();
  },

  async produce({ topic, codec, records }) {
    const producer = kafka.producer({ idempotent: true });
    await producer.connect();
    const messages = records.map((r) => ({
      partition: r.p, key: raw(r.k), value: raw(r.v), headers: headers(r.h), timestamp: String(r.t),
    }));
    const sent = await producer.send({ topic, acks: -1, compression: codecs[codec], messages });
    await producer.disconnect();
    const next = {};
    for (const s of sent) next[s.partition] = Number(s.baseOffset);
    return { offsets: records.map((r) => next[r.p]++) };
  },

  async consume({ topic, partitions, count }) {
    // kafkajs reads only in groups: one of its own, whose offsets nobody commits.
    const consumer = kafka.consumer({ groupId: `kafkajs-reader-${topic}-${Date.now()}` });
    const records = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise((done, failed) => {
      consumer.on(consumer.events.CRASH, (e) => e.payload.restart || failed(e.payload.error));
      consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message: m }) => {
          records.push({ p: partition, o: Number(m.offset), k: text(m.key), v: text(m.value), h: pairs(m.headers), t: Number(m.timestamp) });
          if (records.length === count) done();
        },
      }).catch(failed);
    });
    await consumer.disconnect();
    return { records };
  },

  async join({ member, group, topic }) {
    const consumer = kafka.consumer({ groupId: group, heartbeatInterval: 300, sessionTimeout: 10000 });
    const next = {};
    members[member] = { consumer, topic, next };
    consumer.on(consumer.events.REBALANCING, () => say({ event: "assigned", member, partitions: [] }));
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      const owned = payload.memberAssignment[topic] || [];
      for (const p of Object.keys(next)) if (!owned.includes(Number(p))) delete next[p];
      say({ event: "assigned", member, partitions: owned });
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        next[partition] = Number(message.offset) + 1;
        say({ event: "record", member, p: partition, o: Number(message.offset) });
      },
    });
  },

  async commit({ member }) {
    const { consumer, topic, next } = members[member];
    await consumer.commitOffsets(Object.entries(next).map(([p, o]) => ({ topic, partition: Number(p), offset: String(o) })));
  },

  async leave({ member }) {
    await members[member].consumer.disconnect();
    delete members[member];
  },
};

async function main() {
  await zstd.init();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      say({ id: request.id, ...(await ops[request.op](request)) });
    } catch (e) {
      console.error(e);
      say({ id: request.id, error: String(e) });
    }
  }
  process.exit(0);
}
main();
