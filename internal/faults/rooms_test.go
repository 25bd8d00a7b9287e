package faults

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// silentZone returns zoneText, a key of the bank under every selector, and names for which the
// server never answers.
func silentZone(t *testing.T, key ed25519.PrivateKey) *zone.Zone {
	t.Helper()
	return nameserver.Zone(t, zoneText+`
*._domainkey.bank.example TXT "`+signer.Record(key.Public())+`"
! silent.example   * timeout
! *.silent.example * timeout
`)
}

// signed returns a message of the bank that is signed with key under the given selector.
func signed(t *testing.T, key ed25519.PrivateKey, selector string) []byte {
	t.Helper()
	tags := "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=" + selector + "; h=from:subject; bh=%BH; b="
	return []byte(signer.DKIM(t, key, tags, "From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"))
}

// background opens a connection as the given peer and calls f on it again and again until done is
// closed.
func (d *daemon) background(all *sync.WaitGroup, done <-chan struct{}, peer mta.Peer, f func(c *client.Client) error) {
	d.t.Helper()
	c, err := mta.Dial("tcp", d.milter, peer)
	if err != nil {
		d.t.Fatal(err)
	}
	all.Go(func() {
		<-done
		_ = c.Close()
	})
	all.Go(func() {
		for {
			err := f(c)
			select {
			case <-done:
				return
			default:
			}
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					d.t.Error(err)
				}
				return
			}
		}
	})
}

// TestSilentKeysUnderLoad runs an attack while ten connections send ordinary mail: 45 connections
// send messages with 110 keys each on a name server that never answers, and one connection only
// sends HELO and MAIL and aborts. Honest mail whose key is not in the cache must pass, within three
// seconds. A spoof must not pass. The ordinary mail must be evaluated correctly.
func TestSilentKeysUnderLoad(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte("the bank's key of thirty-two oct"))
	thief := ed25519.NewKeyFromSeed([]byte("the evil key of thirty-two octet"))
	d := startWith(t, settings{zone: silentZone(t, key)})
	d.serves()
	var all sync.WaitGroup
	done := make(chan struct{})
	stop := sync.OnceFunc(func() { close(done); all.Wait() })
	defer stop()
	var mu sync.Mutex
	round := 0
	for i := range 45 {
		author, addr := "other.example", netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})
		if i%2 == 0 {
			author, addr = "silent.example", netip.AddrFrom4([4]byte{198, 18, byte(i), 1})
		}
		d.background(&all, done, mta.Peer{Addr: netip.AddrPortFrom(addr, 25), HELO: "x.other.example"}, func(c *client.Client) error {
			mu.Lock()
			round++
			n := round
			mu.Unlock()
			_, err := c.SendMessage(client.Envelope{From: "<x@other.example>", To: []string{"<r@here.example>"}}, signer.Unanswered(author, "silent.example", n))
			return err
		})
	}
	d.background(&all, done, mta.Peer{Addr: netip.MustParseAddrPort("203.0.113.200:25"), HELO: "x.silent.example"}, func(c *client.Client) error {
		mu.Lock()
		round++
		n := round
		mu.Unlock()
		if _, err := c.Helo(fmt.Sprintf("h%d.silent.example", n)); err != nil {
			return err
		}
		if _, err := c.Mail(fmt.Sprintf("<x@m%d.silent.example>", n)); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // limits this connection to about 200 rounds per second
		return c.Abort()
	})
	for range 10 {
		d.background(&all, done, bank, func(c *client.Client) error { return good(c, "") })
	}
	d.eventually("in full swing", func() bool { return d.metric(`sekimori_dns_queries_total{result="timeout",type="TXT"}`) >= 20 })

	var slowest time.Duration
	for n := range 5 {
		for what, raw := range map[string][]byte{
			"honest": signed(t, key, fmt.Sprintf("s%d", n)),
			"forged": signed(t, thief, fmt.Sprintf("t%d", n)),
			"bare":   []byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"),
		} {
			begin := time.Now()
			res, err := mta.Send("tcp", d.milter, mta.Peer{Addr: netip.MustParseAddrPort("203.0.113.99:25"), HELO: "x.evil.example"},
				client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}}, raw)
			if err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, time.Since(begin))
			label := fmt.Sprint(res.Modifications)
			accepted := res.Action.Delivers() && !strings.Contains(label, "quarantine")
			if pass := strings.Contains(label, "dmarc=pass"); pass != (what == "honest") || accepted && !pass && !strings.Contains(label, "dmarc=fail") {
				t.Errorf("%s: %s %s", what, res.Action, label)
			}
		}
	}
	stop()
	if slowest > 3*time.Second { // all DNS names of these messages are answered at once
		t.Errorf("the slowest took %v", slowest)
	}
	t.Logf("the slowest took %v; no room %v (dkim), %v (arc)", slowest.Round(time.Millisecond),
		d.metric(`sekimori_dns_no_room_total{mechanism="dkim"}`), d.metric(`sekimori_dns_no_room_total{mechanism="arc"}`))
	d.serves()
}
