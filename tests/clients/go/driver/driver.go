// Package driver is what the Go clients share: the loop over requests in JSON lines, and the form of records.
package driver

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
)

// Record is one record on its way in or out; nil is Kafka's null.
type Record struct {
	Partition int32    `json:"p"`
	Offset    int64    `json:"o"`
	Key       *[]byte  `json:"k"`
	Value     *[]byte  `json:"v"`
	Headers   [][2]any `json:"h"`
	Time      int64    `json:"t"`
}

// Request is one line of stdin.
type Request struct {
	ID         int      `json:"id"`
	Op         string   `json:"op"`
	Topic      string   `json:"topic"`
	Codec      string   `json:"codec"`
	Partitions int32    `json:"partitions"`
	Count      int      `json:"count"`
	Member     string   `json:"member"`
	Group      string   `json:"group"`
	Records    []Record `json:"records"`
}

// Answer is what an operation gives; empty fields are left out.
type Answer struct {
	ID      int      `json:"id"`
	Offsets []int64  `json:"offsets,omitempty"`
	Records []Record `json:"records,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// Client is one client library.
type Client interface {
	Create(Request) error
	Produce(Request) ([]int64, error)
	Consume(Request) ([]Record, error)
	Join(Request) error
	Commit(member string) error
	Leave(member string) error
}

var lock sync.Mutex

func say(line any) {
	lock.Lock()
	defer lock.Unlock()
	b, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

// Assigned tells what a member owns now.
func Assigned(member string, partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	say(map[string]any{"event": "assigned", "member": member, "partitions": partitions})
}

// Seen tells that a record was handed to a member.
func Seen(member string, partition int32, offset int64) {
	say(map[string]any{"event": "record", "member": member, "p": partition, "o": offset})
}

// Bytes turns the nullable form into Go's, where nil is null.
func Bytes(b *[]byte) []byte {
	if b == nil {
		return nil
	}
	if *b == nil {
		return []byte{}
	}
	return *b
}

// Nullable is the way back.
func Nullable(b []byte) *[]byte {
	if b == nil {
		return nil
	}
	return &b
}

// Header gives the parts of a header pair.
func Header(pair [2]any) (string, []byte) {
	name := pair[0].(string)
	if pair[1] == nil {
		return name, nil
	}
	var b []byte
	if err := json.Unmarshal([]byte(`"`+pair[1].(string)+`"`), &b); err != nil {
		panic(err)
	}
	if b == nil {
		b = []byte{}
	}
	return name, b
}

// Pair is the way back.
func Pair(name string, value []byte) [2]any {
	if value == nil {
		return [2]any{name, nil}
	}
	return [2]any{name, value}
}

// Serve answers requests until stdin ends, then ends the process at once.
func Serve(c Client) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			panic(err)
		}
		a := Answer{ID: r.ID}
		switch r.Op {
		case "create":
			err = c.Create(r)
		case "produce":
			a.Offsets, err = c.Produce(r)
		case "consume":
			a.Records, err = c.Consume(r)
		case "join":
			err = c.Join(r)
		case "commit":
			err = c.Commit(r.Member)
		case "leave":
			err = c.Leave(r.Member)
		}
		if err != nil {
			a.Error = err.Error()
		}
		say(a)
	}
}
