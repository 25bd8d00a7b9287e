package loopback

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/testkit/recorder"
)

// TestAddress checks that a program can listen at once where it is told to.
func TestAddress(t *testing.T) {
	got := Address(t)
	at, err := netip.ParseAddrPort(got)
	if err != nil || !at.Addr().IsLoopback() || at.Addr() == netip.MustParseAddr("127.0.0.1") || at.Port() == 0 {
		t.Errorf("%s, %v", got, err)
	}
	l, err := net.Listen("tcp", got)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestHost(t *testing.T) {
	for want, random := range map[string]func(int) int{
		"127.1.0.1":       func(int) int { return 0 },
		"127.254.255.254": func(n int) int { return n - 1 },
		"127.128.128.128": func(n int) int { return n / 2 },
	} {
		if got := host(random); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestForeignHost checks that the test ends if its program could not listen either.
func TestForeignHost(t *testing.T) {
	said := recorder.Run(t, func(tb testing.TB) { t.Error(address(tb, "192.0.2.1")) })
	if !strings.HasPrefix(said, "fatal: listen tcp 192.0.2.1:0: ") {
		t.Errorf("%q", said)
	}
}
