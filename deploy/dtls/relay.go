package main

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
)

const (
	handshakeTimeout = 30 * time.Second
	datagramBytesMax = 65535
)

// relay moves datagrams between devices and Millrace, each session over a port of its own.
type relay struct {
	millrace *control
	upstream *net.UDPAddr
	idle     time.Duration
	room     chan struct{}
	shaking  handshakes
}

// handshakes are those under way. Anybody can begin one from any address, pion keeps each from the first datagram on, and
// most of a flood never goes on: so where there are too many the oldest ends, which a device that answers never is.
type handshakes struct {
	max  int
	mu   sync.Mutex
	ends list.List
}

// begin returns what is to be called when it is over.
func (h *handshakes) begin(cancel context.CancelFunc) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := h.ends.PushBack(cancel)
	if h.ends.Len() > h.max {
		h.ends.Remove(h.ends.Front()).(context.CancelFunc)()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ends.Remove(own)
	}
}

type session struct {
	relay      *relay
	device     *dtls.Conn
	up         *net.UDPConn
	open       question
	introduced atomic.Bool
	once       sync.Once
	over       chan struct{}
}

func (r *relay) serve(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// Of one connection: the others go on.
			time.Sleep(time.Millisecond)
			continue
		}
		go r.handle(ctx, conn.(*dtls.Conn))
	}
}

func (r *relay) handle(ctx context.Context, device *dtls.Conn) {
	defer device.Close()
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	over := r.shaking.begin(cancel)
	err := device.HandshakeContext(limited)
	over()
	cancel()
	if err != nil {
		slog.Debug("handshake", "device", device.RemoteAddr().String(), "error", err)
		return
	}
	select {
	case r.room <- struct{}{}:
		defer func() { <-r.room }()
	default:
		return
	}
	up, err := net.DialUDP("udp", nil, r.upstream)
	if err != nil {
		slog.Error("no port of the loopback is free", "error", err)
		return
	}
	s := &session{relay: r, device: device, up: up, over: make(chan struct{})}
	defer s.close()
	state, ok := device.ConnectionState()
	if !ok {
		return
	}
	from, _ := device.RemoteAddr().(*net.UDPAddr)
	if from == nil {
		return
	}
	address := from.IP.String()
	s.open = question{Op: "open", Port: up.LocalAddr().(*net.UDPAddr).Port, Address: &address, DevicePort: from.Port}
	switch {
	case len(state.PeerCertificates) > 0:
		s.open.Certificate = state.PeerCertificates[0]
	case len(state.IdentityHint) > 0:
		s.open.PSK = &pskShown{Identity: state.IdentityHint, Key: r.millrace.keyOf(state.IdentityHint, time.Now())}
	}
	if s.anonymous() {
		// Its requests say who it is (?auth=).
		s.introduced.Store(true)
	} else {
		r.millrace.mu.Lock()
		r.millrace.sessions[s.open.Port] = s
		r.millrace.mu.Unlock()
		defer r.millrace.closed(s.open.Port)
		if s.introduce() != nil {
			// It waits for nothing: the device shakes hands again.
			return
		}
	}
	go s.down()
	s.forward()
}

func (s *session) anonymous() bool { return s.open.PSK == nil && s.open.Certificate == nil }

// introduce tells Millrace who this is; who may not be here is sent away.
func (s *session) introduce() error {
	said, err := s.relay.millrace.ask(s.open)
	if err != nil {
		return err
	}
	if !said.OK {
		s.close()
		return errRefused
	}
	s.introduced.Store(true)
	return nil
}

// reintroduce tells a Millrace that has just come back of a session that goes on, again and again while its registry is
// not there yet: the device would not know that nobody hears it. A few at a time, so that none waits for its answer for
// longer than it may.
func (s *session) reintroduce(conn net.Conn) {
	c := s.relay.millrace
	for pause := reconnectMin; c.isPresent(conn); pause = min(2*pause, reconnectMax) {
		select {
		case c.introducing <- struct{}{}:
		case <-s.over:
			return
		}
		err := errAway
		if c.isPresent(conn) {
			err = s.introduce()
		}
		<-c.introducing
		if err != errAway {
			return
		}
		select {
		case <-time.After(pause):
		case <-s.over:
			return
		}
	}
}

// forward moves what the device says, while Millrace knows who it is.
func (s *session) forward() {
	datagram := make([]byte, datagramBytesMax)
	for {
		s.device.SetReadDeadline(time.Now().Add(s.relay.idle))
		n, err := s.device.Read(datagram)
		if err != nil {
			return
		}
		if s.introduced.Load() {
			s.up.Write(datagram[:n])
		}
	}
}

func (s *session) down() {
	datagram := make([]byte, datagramBytesMax)
	for {
		n, err := s.up.Read(datagram)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Nobody listens there for now.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.device.Write(datagram[:n])
	}
}

func (s *session) close() {
	s.once.Do(func() {
		close(s.over)
		s.up.Close()
		s.device.Close()
	})
}
