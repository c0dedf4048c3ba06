// Millrace's DTLS terminator: CoAPS from devices, CoAP to Millrace on the same host.
//
// Millrace is asked for keys, and told which port of the loopback is whom, over a Unix socket
// (MILLRACE_COAP_TERMINATOR). A device is known by its handshake alone.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pion/dtls/v3"
)

func main() {
	listen := flag.String("listen", ":5684", "address for devices")
	coap := flag.String("coap", "127.0.0.1:5683", "CoAP of Millrace, on this host")
	control := flag.String("control", "", "Unix socket of Millrace (MILLRACE_COAP_TERMINATOR)")
	certificate := flag.String("cert", "", "file of the server's certificate chain (PEM, EC P-256); without it only PSK")
	key := flag.String("key", "", "file of its private key (PEM)")
	clients := flag.String("client-certificates", "optional", "off, optional or required, where devices use certificates")
	cid := flag.Int("cid", 8, "length of connection ids in bytes; 0: none")
	idle := flag.Duration("idle", 24*time.Hour, "a session ends when it was silent for so long")
	sessions := flag.Int("sessions", 20000, "sessions at once; each takes a port of the loopback")
	shaking := flag.Int("handshakes", 2000, "handshakes under way at once; of more, the oldest end")
	flag.Parse()
	if *control == "" {
		fail("-control is missing: the path that MILLRACE_COAP_TERMINATOR names")
	}
	upstream, err := net.ResolveUDPAddr("udp", *coap)
	if err != nil || !upstream.IP.IsLoopback() {
		fail("-coap must be an address of the loopback: what goes there is in the clear")
	}
	address, err := net.ResolveUDPAddr("udp", *listen)
	if err != nil {
		fail(err.Error())
	}

	millrace := newControl(*control)
	config := &dtls.Config{
		ExtendedMasterSecret: dtls.RequestExtendedMasterSecret,
		CipherSuites:         []dtls.CipherSuiteID{dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.TLS_PSK_WITH_AES_128_GCM_SHA256},
		PSK:                  millrace.key,
	}
	if *cid > 0 {
		config.ConnectionIDGenerator = dtls.RandomCIDGenerator(*cid)
	}
	if *certificate != "" {
		own, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			fail(err.Error())
		}
		config.Certificates = []tls.Certificate{own}
		config.CipherSuites = append(config.CipherSuites,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
		// Whom a certificate stands for is Millrace's to say: the handshake proves only who holds its key.
		switch *clients {
		case "off":
			config.ClientAuth = dtls.NoClientCert
		case "optional":
			config.ClientAuth = dtls.RequestClientCert
		case "required":
			config.ClientAuth = dtls.RequireAnyClientCert
		default:
			fail("-client-certificates is off, optional or required")
		}
	}
	listener, err := dtls.Listen("udp", address, config)
	if err != nil {
		fail(err.Error())
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go millrace.run(ctx)
	relay := &relay{millrace: millrace, upstream: upstream, idle: *idle, room: make(chan struct{}, *sessions)}
	relay.shaking.max = *shaking
	go relay.serve(ctx, listener)
	slog.Info("ready", "listen", listener.Addr().String(), "coap", upstream.String())
	<-ctx.Done()
	listener.Close()
}

func fail(problem string) {
	slog.Error(problem)
	os.Exit(2)
}
