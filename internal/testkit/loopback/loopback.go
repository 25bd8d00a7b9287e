// Package loopback chooses addresses for programs of a test that must be told where to listen.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Address returns a host:port for a TCP listener of another program. The host is a random address of
// 127.0.0.0/8. A port that was free on 127.0.0.1 a moment ago may be taken when the program starts:
// tests of other packages run at the same time, and their listeners and connections are all there.
func Address(t testing.TB) string {
	t.Helper()
	return address(t, host(rand.IntN))
}

// host makes a host of random numbers from 0 to under n. It is never one of 127.0.0.0/16, nor ends in 0 or 255.
func host(random func(n int) int) string {
	return fmt.Sprintf("127.%d.%d.%d", 1+random(254), random(256), 1+random(254))
}

// address adds a port that is free on the host.
func address(t testing.TB, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
