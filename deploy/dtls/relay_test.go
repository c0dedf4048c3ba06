package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestTheOldestHandshakeEndsWhereThereAreTooMany(t *testing.T) {
	h := handshakes{max: 2}
	var ended []int
	var overs []func()
	begin := func(n int) { overs = append(overs, h.begin(func() { ended = append(ended, n) })) }
	begin(0)
	begin(1)
	overs[1]()
	begin(2)
	if len(ended) != 0 {
		t.Fatalf("ended %v though there is room", ended)
	}
	begin(3)
	if len(ended) != 1 || ended[0] != 0 {
		t.Fatalf("ended %v, want the oldest", ended)
	}
	// It tells that it is over, too.
	overs[0]()
	if h.ends.Len() != 2 {
		t.Fatalf("%d under way, want 2", h.ends.Len())
	}
}

func TestNoSessionOfAnOldKeyIsIntroducedWithTheNewOne(t *testing.T) {
	c := newControl("")
	start := time.Now()
	identity := []byte("thing")
	c.remember("thing", []byte("old"), start)
	if !bytes.Equal(c.keyOf(identity, start), []byte("old")) {
		t.Fatal("the key that was told is not known")
	}
	c.remember("thing", []byte("new"), start.Add(time.Second))
	if c.keyOf(identity, start.Add(2*time.Second)) != nil {
		t.Fatal("which key the handshake had is not clear, and one is told")
	}
	later := start.Add(time.Second + handshakeTimeout)
	c.remember("thing", []byte("new"), later)
	if !bytes.Equal(c.keyOf(identity, later), []byte("new")) {
		t.Fatal("no handshake with the old key can be under way any more")
	}
}

func TestSessionsAreIntroducedAgainUntilTheRegistryIsThere(t *testing.T) {
	const count = 2000
	path := filepath.Join(t.TempDir(), "dtls.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		asked := map[int]int{}
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			var q question
			if json.Unmarshal(lines.Bytes(), &q) != nil {
				return
			}
			asked[q.Port]++
			if asked[q.Port] < 3 {
				fmt.Fprintf(conn, "{\"id\":%d,\"error\":\"away\"}\n", *q.ID)
			} else {
				fmt.Fprintf(conn, "{\"id\":%d,\"ok\":true}\n", *q.ID)
			}
		}
	}()
	c := newControl(path)
	r := &relay{millrace: c}
	for port := 1; port <= count; port++ {
		c.sessions[port] = &session{relay: r, open: question{Op: "open", Port: port}, over: make(chan struct{})}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go c.run(ctx)
	deadline := time.Now().Add(20 * time.Second)
	for port := 1; port <= count; port++ {
		for !c.sessions[port].introduced.Load() {
			if time.Now().After(deadline) {
				t.Fatalf("the session of port %d is not introduced", port)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
