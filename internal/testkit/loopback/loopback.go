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
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
