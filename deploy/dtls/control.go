package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	questionTimeout = 10 * time.Second
	reconnectMin    = 100 * time.Millisecond
	reconnectMax    = 5 * time.Second
	lineBytesMax    = 32768
	introducingMax  = 256
	// Beyond it, those of handshakes that are over are forgotten.
	givenMax = 10000
)

var (
	errAway    = errors.New("Millrace can not be asked now")
	errUnknown = errors.New("nobody has this identity")
	errRefused = errors.New("it may not be here")
)

// pskShown is what a device used; the key goes to Millrace as it came from there.
type pskShown struct {
	Identity []byte `json:"identity"`
	Key      []byte `json:"key"`
}

// question is a line to Millrace; []byte goes as base64.
type question struct {
	Op          string    `json:"op"`
	ID          *uint64   `json:"id,omitempty"`
	Identity    []byte    `json:"identity,omitempty"`
	Address     *string   `json:"address,omitempty"`
	Port        int       `json:"port,omitempty"`
	DevicePort  int       `json:"devicePort,omitempty"`
	PSK         *pskShown `json:"psk,omitempty"`
	Certificate []byte    `json:"certificate,omitempty"`
}

// word is a line from Millrace.
type word struct {
	ID    *uint64  `json:"id"`
	Keys  [][]byte `json:"keys"`
	OK    bool     `json:"ok"`
	Error string   `json:"error"`
	Op    string   `json:"op"`
	Port  int      `json:"port"`
}

// control is the connection to Millrace. When it breaks, Millrace forgets whom it was told of, so all sessions are told
// anew once it is back, and until then nothing of theirs is forwarded.
type control struct {
	path string

	mu       sync.Mutex
	conn     net.Conn
	next     uint64
	waiting  map[uint64]chan word
	sessions map[int]*session
	// Of handshakes under way, by identity: a device shows which key it has only by succeeding.
	given map[string]given
	// Those that are told of anew at a time.
	introducing chan struct{}
}

// given is the key that pion was told for an identity.
type given struct {
	key []byte
	at  time.Time
	// Another one was told to a handshake that may still be under way: until then nobody knows which of them succeeded.
	unclear time.Time
}

func newControl(path string) *control {
	return &control{path: path, waiting: map[uint64]chan word{}, sessions: map[int]*session{}, given: map[string]given{}, introducing: make(chan struct{}, introducingMax)}
}

// run keeps the connection until the context ends.
func (c *control) run(ctx context.Context) {
	pause := reconnectMin
	for ctx.Err() == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.path)
		if err != nil {
			slog.Warn("Millrace is not there", "control", c.path, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, reconnectMax)
			continue
		}
		pause = reconnectMin
		slog.Info("connected", "control", c.path)
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		c.begin(conn)
		c.read(conn)
		stop()
		c.end(conn)
	}
}

func (c *control) begin(conn net.Conn) {
	c.mu.Lock()
	c.conn = conn
	known := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		known = append(known, s)
	}
	c.mu.Unlock()
	for _, s := range known {
		go s.reintroduce(conn)
	}
}

func (c *control) read(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 4096), lineBytesMax)
	for lines.Scan() {
		var said word
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			return
		}
		c.mu.Lock()
		if said.Op == "cut" {
			s := c.sessions[said.Port]
			c.mu.Unlock()
			if s != nil {
				s.close()
			}
			continue
		}
		var answer chan word
		if said.ID != nil {
			answer = c.waiting[*said.ID]
			delete(c.waiting, *said.ID)
		}
		c.mu.Unlock()
		if answer != nil {
			answer <- said
		}
	}
}

func (c *control) end(conn net.Conn) {
	conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		answer <- word{Error: "away"}
	}
	for _, s := range c.sessions {
		s.introduced.Store(false)
	}
}

func (c *control) ask(q question) (word, error) {
	answer := make(chan word, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	q.ID = &id
	conn := c.conn
	if conn != nil {
		c.waiting[id] = answer
	}
	c.mu.Unlock()
	if conn == nil || write(conn, q) != nil {
		c.forget(id)
		return word{}, errAway
	}
	select {
	case said := <-answer:
		if said.Error != "" {
			return word{}, errAway
		}
		return said, nil
	case <-time.After(questionTimeout):
		c.forget(id)
		return word{}, errAway
	}
}

// isPresent says whether this is still the connection to Millrace.
func (c *control) isPresent(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn == conn
}

func (c *control) forget(id uint64) {
	c.mu.Lock()
	delete(c.waiting, id)
	c.mu.Unlock()
}

func (c *control) closed(port int) {
	c.mu.Lock()
	delete(c.sessions, port)
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		write(conn, question{Op: "close", Port: port})
	}
}

// key is pion's question for the key of a PSK identity. Where one overlaps another, the newer one counts: pion takes one.
func (c *control) key(identity []byte) ([]byte, error) {
	nowhere := ""
	said, err := c.ask(question{Op: "keys", Identity: identity, Address: &nowhere})
	if err != nil {
		return nil, err
	}
	if len(said.Keys) == 0 {
		return nil, errUnknown
	}
	c.remember(string(identity), said.Keys[0], time.Now())
	return said.Keys[0], nil
}

func (c *control) remember(identity string, key []byte, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.given[identity]
	next := given{key: key, at: now, unclear: before.unclear}
	if known && !bytes.Equal(before.key, key) && now.Sub(before.at) < handshakeTimeout {
		next.unclear = now.Add(handshakeTimeout)
	}
	c.given[identity] = next
	if len(c.given) > givenMax {
		for each, one := range c.given {
			if now.Sub(one.at) >= handshakeTimeout {
				delete(c.given, each)
			}
		}
	}
}

// keyOf is the key that a handshake has succeeded with; nil where the key was replaced meanwhile, so that a session of
// the old one is never introduced with the new one: the device shakes hands again.
func (c *control) keyOf(identity []byte, now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.given[string(identity)]
	if now.Before(one.unclear) {
		return nil
	}
	return one.key
}

func write(conn net.Conn, q question) error {
	line, err := json.Marshal(q)
	if err != nil {
		return err
	}
	conn.SetWriteDeadline(time.Now().Add(questionTimeout))
	_, err = conn.Write(append(line, '\n'))
	return err
}
