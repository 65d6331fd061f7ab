// franz-go.
package main

import (
	"context"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"minikafka/clients/driver"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

type member struct {
	client *kgo.Client
	ended  chan struct{}
}

type client struct {
	seed    kgo.Opt
	members map[string]member
}

func (c *client) open(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, c.seed)...)
}

func (c *client) Create(r driver.Request) error {
	cl, err := c.open()
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(context.Background(), r.Partitions, 1, nil, r.Topic)
	return err
}

func (c *client) Produce(r driver.Request) ([]int64, error) {
	cl, err := c.open(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[r.Codec]), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var all []*kgo.Record
	for _, x := range r.Records {
		k := &kgo.Record{Topic: r.Topic, Partition: x.Partition, Key: driver.Bytes(x.Key), Value: driver.Bytes(x.Value), Timestamp: time.UnixMilli(x.Time)}
		for _, h := range x.Headers {
			name, value := driver.Header(h)
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: name, Value: value})
		}
		all = append(all, k)
	}
	if err := cl.ProduceSync(context.Background(), all...).FirstErr(); err != nil {
		return nil, err
	}
	var offsets []int64
	for _, k := range all {
		offsets = append(offsets, k.Offset)
	}
	return offsets, nil
}

func (c *client) Consume(r driver.Request) ([]driver.Record, error) {
	from := map[int32]kgo.Offset{}
	for p := int32(0); p < r.Partitions; p++ {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := c.open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: from}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var got []driver.Record
	for len(got) < r.Count {
		fetches := cl.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(k *kgo.Record) {
			x := driver.Record{Partition: k.Partition, Offset: k.Offset, Key: driver.Nullable(k.Key), Value: driver.Nullable(k.Value), Headers: [][2]any{}, Time: k.Timestamp.UnixMilli()}
			for _, h := range k.Headers {
				x.Headers = append(x.Headers, driver.Pair(h.Key, h.Value))
			}
			got = append(got, x)
		})
	}
	return got, nil
}

func (c *client) Join(r driver.Request) error {
	cl, err := c.open(kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic), kgo.DisableAutoCommit(), kgo.Balancers(kgo.RangeBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(10*time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, a map[string][]int32) { driver.Assigned(r.Member, a[r.Topic]) }),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { driver.Assigned(r.Member, nil) }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { driver.Assigned(r.Member, nil) }))
	if err != nil {
		return err
	}
	m := member{cl, make(chan struct{})}
	c.members[r.Member] = m
	go func() {
		defer close(m.ended)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(k *kgo.Record) { driver.Seen(r.Member, k.Partition, k.Offset) })
		}
	}()
	return nil
}

func (c *client) Commit(member string) error {
	return c.members[member].client.CommitUncommittedOffsets(context.Background())
}

func (c *client) Leave(member string) error {
	m := c.members[member]
	delete(c.members, member)
	m.client.Close()
	<-m.ended
	return nil
}

func main() {
	driver.Serve(&client{kgo.SeedBrokers(os.Args[len(os.Args)-1]), map[string]member{}})
}
