import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client, of whichever version is on the class path. */
public class Client {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static String bootstrap;

    private static synchronized void say(Object line) {
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] bytes(JsonNode text) {
        return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    private static Properties properties(Object... more) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
        return p;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Object... more) {
        Properties p = properties(more);
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Object create(JsonNode request) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            NewTopic topic = new NewTopic(request.get("topic").asText(), request.get("partitions").asInt(), (short) 1);
            admin.createTopics(Collections.singleton(topic)).all().get();
        }
        return null;
    }

    private static Object produce(JsonNode request) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        Properties p = properties("acks", "all", "compression.type", request.get("codec").asText(), "linger.ms", "20");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode r : request.get("records")) {
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(request.get("topic").asText(), r.get("p").asInt(),
                    r.get("t").asLong(), bytes(r.get("k")), bytes(r.get("v")));
                for (JsonNode h : r.get("h")) record.headers().add(h.get(0).asText(), bytes(h.get(1)));
                sent.add(producer.send(record));
            }
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> s : sent) offsets.add(s.get().offset());
        return Map.of("offsets", offsets);
    }

    private static Object consume(JsonNode request) {
        List<Object> records = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 0; i < request.get("partitions").asInt(); i++) all.add(new TopicPartition(request.get("topic").asText(), i));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            while (records.size() < request.get("count").asInt()) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    List<Object> headers = new ArrayList<>();
                    for (Header h : r.headers()) {
                        List<String> pair = new ArrayList<>();
                        pair.add(h.key());
                        pair.add(text(h.value()));
                        headers.add(pair);
                    }
                    Map<String, Object> one = new LinkedHashMap<>();
                    one.put("p", r.partition());
                    one.put("o", r.offset());
                    one.put("k", text(r.key()));
                    one.put("v", text(r.value()));
                    one.put("h", headers);
                    one.put("t", r.timestamp());
                    records.add(one);
                }
            }
        }
        return Map.of("records", records);
    }

    /** A group member: a thread that polls and, between polls, does what it is asked. */
    private static class Member extends Thread {
        final BlockingQueue<CompletableFuture<Void>> commits = new LinkedBlockingQueue<>();
        final String name;
        final String topic;
        final KafkaConsumer<byte[], byte[]> consumer;
        volatile boolean leaving;

        Member(JsonNode request) {
            name = request.get("member").asText();
            topic = request.get("topic").asText();
            consumer = consumer("group.id", request.get("group").asText(), "heartbeat.interval.ms", "300",
                "session.timeout.ms", "10000", "partition.assignment.strategy", RangeAssignor.class.getName());
            setDaemon(true);
        }

        private void assigned() {
            List<Integer> partitions = new ArrayList<>();
            for (TopicPartition p : consumer.assignment()) partitions.add(p.partition());
            say(Map.of("event", "assigned", "member", name, "partitions", partitions));
        }

        @Override
        public void run() {
            consumer.subscribe(Collections.singleton(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    say(Map.of("event", "assigned", "member", name, "partitions", List.of()));
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    assigned();
                }
            });
            while (!leaving) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    say(Map.of("event", "record", "member", name, "p", r.partition(), "o", r.offset()));
                }
                for (CompletableFuture<Void> c; (c = commits.poll()) != null; ) {
                    try {
                        consumer.commitSync();
                        c.complete(null);
                    } catch (RuntimeException e) {
                        c.completeExceptionally(e);
                    }
                }
            }
            consumer.close();
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[args.length - 1];
        Map<String, Member> members = new HashMap<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode request = JSON.readTree(line);
            Map<String, Object> answer = new LinkedHashMap<>();
            answer.put("id", request.get("id").asInt());
            try {
                Object more = null;
                switch (request.get("op").asText()) {
                    case "create": more = create(request); break;
                    case "produce": more = produce(request); break;
                    case "consume": more = consume(request); break;
                    case "join": {
                        Member m = new Member(request);
                        members.put(m.name, m);
                        m.start();
                        break;
                    }
                    case "commit": {
                        CompletableFuture<Void> done = new CompletableFuture<>();
                        members.get(request.get("member").asText()).commits.add(done);
                        done.get();
                        break;
                    }
                    case "leave": {
                        Member m = members.remove(request.get("member").asText());
                        m.leaving = true;
                        m.join();
                        break;
                    }
                    default: throw new IllegalArgumentException("unknown op");
                }
                if (more != null) answer.putAll((Map<String, Object>) more);
            } catch (Exception e) {
                e.printStackTrace();
                answer.put("error", String.valueOf(e));
            }
            say(answer);
        }
        Runtime.getRuntime().halt(0);
    }
}
