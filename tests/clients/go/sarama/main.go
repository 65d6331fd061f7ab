// sarama.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/IBM/sarama"

	"minikafka/clients/driver"
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Metadata.Retry.Max = 50
	return c
}

type client struct {
	bootstrap []string
	members   map[string]*member
}

func (c *client) Create(r driver.Request) error {
	admin, err := sarama.NewClusterAdmin(c.bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(r.Topic, &sarama.TopicDetail{NumPartitions: r.Partitions, ReplicationFactor: 1}, false)
}

// encoder lets an empty key or value differ from none.
func encoder(b *[]byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(driver.Bytes(b))
}

func (c *client) Produce(r driver.Request) ([]int64, error) {
	conf := config()
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Idempotent = true
	conf.Net.MaxOpenRequests = 1
	conf.Producer.Compression = codecs[r.Codec]
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	conf.Producer.Return.Successes = true
	conf.Producer.Retry.Max = 50
	conf.Producer.Flush.Frequency = 20 * time.Millisecond
	producer, err := sarama.NewSyncProducer(c.bootstrap, conf)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	var all []*sarama.ProducerMessage
	for _, x := range r.Records {
		m := &sarama.ProducerMessage{Topic: r.Topic, Partition: x.Partition, Key: encoder(x.Key), Value: encoder(x.Value), Timestamp: time.UnixMilli(x.Time)}
		for _, h := range x.Headers {
			name, value := driver.Header(h)
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(name), Value: value})
		}
		all = append(all, m)
	}
	if err := producer.SendMessages(all); err != nil {
		var each sarama.ProducerErrors
		if errors.As(err, &each) {
			err = each[0]
		}
		return nil, err
	}
	var offsets []int64
	for _, m := range all {
		offsets = append(offsets, m.Offset)
	}
	return offsets, nil
}

func (c *client) Consume(r driver.Request) ([]driver.Record, error) {
	consumer, err := sarama.NewConsumer(c.bootstrap, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	for p := int32(0); p < r.Partitions; p++ {
		pc, err := consumer.ConsumePartition(r.Topic, p, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				messages <- m
			}
		}()
	}
	var got []driver.Record
	for len(got) < r.Count {
		m := <-messages
		x := driver.Record{Partition: m.Partition, Offset: m.Offset, Key: driver.Nullable(m.Key), Value: driver.Nullable(m.Value), Headers: [][2]any{}, Time: m.Timestamp.UnixMilli()}
		for _, h := range m.Headers {
			x.Headers = append(x.Headers, driver.Pair(string(h.Key), h.Value))
		}
		got = append(got, x)
	}
	return got, nil
}

type member struct {
	name    string
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	ended   chan struct{}
	session chan sarama.ConsumerGroupSession
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	var owned []int32
	for _, partitions := range s.Claims() {
		owned = append(owned, partitions...)
	}
	select {
	case <-m.session:
	default:
	}
	m.session <- s
	driver.Assigned(m.name, owned)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	driver.Assigned(m.name, nil)
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case k, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			driver.Seen(m.name, k.Partition, k.Offset)
			s.MarkMessage(k, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (c *client) Join(r driver.Request) error {
	conf := config()
	conf.Consumer.Offsets.Initial = sarama.OffsetOldest
	conf.Consumer.Offsets.AutoCommit.Enable = false
	conf.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	conf.Consumer.Group.Session.Timeout = 10 * time.Second
	conf.Consumer.Group.Rebalance.Retry.Max = 50
	group, err := sarama.NewConsumerGroup(c.bootstrap, r.Group, conf)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{r.Member, group, cancel, make(chan struct{}), make(chan sarama.ConsumerGroupSession, 1)}
	c.members[r.Member] = m
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{r.Topic}, m); err != nil {
				os.Stderr.WriteString(r.Member + ": " + err.Error() + "\n")
			}
		}
	}()
	return nil
}

func (c *client) Commit(member string) error {
	m := c.members[member]
	s := <-m.session
	s.Commit()
	m.session <- s
	return nil
}

func (c *client) Leave(member string) error {
	m := c.members[member]
	delete(c.members, member)
	m.cancel()
	<-m.ended
	return m.group.Close()
}

func main() {
	driver.Serve(&client{[]string{os.Args[len(os.Args)-1]}, map[string]*member{}})
}
