package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/milter/wire"
	"sekimori/internal/testkit/loopback"
	"sekimori/internal/testkit/mta"
)

// TestAsk: only a program that has sekimori's sign in its negotiation is sekimori. That the daemon
// has it is checked by the tests of packages setup and probe.
func TestAsk(t *testing.T) {
	listener := func(serve func(net.Listener)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go serve(ln)
		return ln.Addr().String()
	}
	speak := func(text string) func(net.Listener) {
		return func(ln net.Listener) {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = nc.Write([]byte(text))
			}
		}
	}
	for _, tt := range []struct {
		name, address string
		want          error
	}{
		{"sekimori", listener(func(ln net.Listener) { mta.Answer(ln, "j", wire.Sign) }), nil},
		{"a milter without a list", listener(func(ln net.Listener) { mta.Answer(ln) }), client.ErrAnother},
		{"a milter with a list", listener(func(ln net.Listener) { mta.Answer(ln, "j", "{daemon_name}") }), client.ErrAnother},
		{"an SMTP server", listener(speak("220 mx.example.jp ESMTP Postfix\r\n")), client.ErrAnother},
		{"a frame that is not a negotiation", listener(speak("\x00\x00\x00\x01c")), client.ErrAnother},
		{"hangs up", listener(func(ln net.Listener) {
			if nc, err := ln.Accept(); err == nil {
				_, _ = io.ReadFull(nc, make([]byte, 17)) // the negotiation, so that the end is no reset
				_ = nc.Close()
			}
		}), io.EOF},
		{"silent", listener(func(net.Listener) {}), context.DeadlineExceeded},
		{"nobody", loopback.Address(t), syscall.ECONNREFUSED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timeout := 30 * time.Second
			if errors.Is(tt.want, context.DeadlineExceeded) {
				timeout = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			if err := client.Ask(ctx, "tcp", tt.address); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// TestAskHangsUp: the connection to another program is closed, also if the program would go on.
func TestAskHangsUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err == nil {
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = nc.Write([]byte("220 mx.example.jp"))
			_, err = io.Copy(io.Discard, nc)
		}
		ended <- err
	}()
	if err := client.Ask(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, client.ErrAnother) {
		t.Error(err)
	}
	if err := <-ended; err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}
