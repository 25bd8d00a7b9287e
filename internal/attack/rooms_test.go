package attack

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// crowdZone has a bank whose mail only DKIM authenticates, a shop whose mail only SPF
// authenticates, and names for which the server never answers. The bank's key is published under
// every selector. So a test can choose a selector that is not yet in the daemon's cache.
func crowdZone(tb testing.TB) *zone.Zone {
	tb.Helper()
	return nameserver.Zone(tb, bankZone+txt("*._domainkey.bank.example", edRecord(bankKey()))+`
*.shop.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.shop.example   TXT "v=DMARC1; p=reject"
! *.silent.example    *   timeout
! silent.example      *   timeout
`)
}

// crowded starts a daemon in enforce mode with a cache. It returns the daemon and the zone of its
// name server.
func crowded(t *testing.T) (*daemon.Daemon, *zone.Zone) {
	t.Helper()
	z := crowdZone(t)
	cfg := daemon.Config(nameserver.ServeZone(t, z, nameserver.Options{}).Addr())
	cfg.AuthservID, cfg.Mode = rigID, policy.Enforce
	cfg.DNS.Cache.Size = config.Default().DNS.Cache.Size
	cfg.DNS.MessageBudget = config.Duration(5 * time.Second)
	return daemon.Start(t, cfg), z
}

// fullSwing waits until the daemon has asked n questions for the names that are never answered.
func fullSwing(t *testing.T, z *zone.Zone, n int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		silent := 0
		for _, q := range z.Queries() {
			if strings.Contains(q, "silent.example ") {
				silent++
			}
		}
		if silent >= n {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d silent questions, want %d", silent, n)
		}
	}
}

// flood opens n connections, numbered from 0. On each connection it calls f again and again until
// the returned function "stop" is called. flood returns when every connection has begun.
func flood(t *testing.T, d *daemon.Daemon, n int, peer func(i int) mta.Peer, f func(c *client.Client, i, round int) error) (stop func()) {
	t.Helper()
	var all, begun sync.WaitGroup
	done := make(chan struct{})
	conns := make([]*client.Client, n)
	begun.Add(n)
	for i := range n {
		c, err := mta.Dial("tcp", d.Addr, peer(i))
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				if round == 0 {
					begun.Done()
				}
				if f(c, i, round) != nil {
					return // the connection was closed by stop or by the daemon
				}
			}
		})
	}
	begun.Wait()
	return sync.OnceFunc(func() {
		close(done)
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	})
}

// bystanders sends mail while an attack goes on. Honest mail of the bank and the shop must be
// delivered within two seconds. Unsigned or wrongly signed mail in the bank's name, from the
// attacker's address and from another address, must not be accepted.
func bystanders(t *testing.T, d *daemon.Daemon, why string, attacker netip.Addr) {
	t.Helper()
	tags := func(n int) string {
		return fmt.Sprintf("v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=%s-%d; h=from:subject; bh=%%BH; b=",
			strings.ReplaceAll(strings.ToLower(why), " ", "-"), n)
	}
	const mail = "From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"
	send := func(ip netip.Addr, from, raw string) (client.Result, time.Duration) {
		begin := time.Now()
		res, err := d.Send(mta.Peer{Addr: netip.AddrPortFrom(ip, 25), HELO: "mail.example"},
			client.Envelope{From: from, To: []string{"<r@here.example>"}, QueueID: "4Q"}, []byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		return res, time.Since(begin)
	}
	spoof := func(ip netip.Addr, what, raw string) {
		res, _ := send(ip, "<x@evil.example>", raw)
		if v, _ := verdict(t, res); v == "accept" {
			t.Errorf("%s: a spoof %s from %s is accepted", why, what, ip)
		}
	}
	honest, stranger := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.66")
	for n := range 3 {
		for what, raw := range map[string]string{
			"<list@other.example>": signer.DKIM(t, bankKey(), tags(n), mail),
			fmt.Sprintf("<x@h%d-%s.shop.example>", n, strings.ReplaceAll(strings.ToLower(why), " ", "-")): "From: b@shop.example\r\nSubject: s\r\n\r\nbody\r\n",
		} {
			if res, took := send(honest, what, raw); !res.Action.Delivers() || took > 2*time.Second {
				t.Errorf("%s: honest mail of %s is answered %s after %v", why, what, res.Action, took)
			}
		}
		for _, ip := range []netip.Addr{attacker, stranger} {
			for what, raw := range map[string]string{
				"unsigned":                mail,
				"with a forged signature": signer.DKIM(t, evilKey(), tags(100+n), mail),
			} {
				spoof(ip, what, raw)
			}
		}
	}
}

// TestSilentKeysOfOthers keeps 45 connections busy with messages that each name 110 keys on a name
// server that never answers. Meanwhile no spoof may be accepted, and honest mail must be delivered
// within two seconds even if its key is not in the cache (see bystanders).
func TestSilentKeysOfOthers(t *testing.T) {
	d, z := crowded(t)
	for why, tc := range map[string]struct {
		author string
		client func(i int) string
	}{
		"One address":   {"other.example", func(int) string { return "203.0.113.1" }},
		"Silent author": {"silent.example", func(i int) string { return fmt.Sprint("203.0.113.", i+1) }},
		"Network":       {"other.example", func(i int) string { return fmt.Sprint("203.0.113.", i+1) }},
		"Many networks": {"silent.example", func(i int) string { return fmt.Sprintf("198.18.%d.1", i) }},
	} {
		peer := func(i int) mta.Peer {
			return mta.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(tc.client(i)), 25), HELO: "mail.other.example"}
		}
		z.ResetQueries()
		stop := flood(t, d, 45, peer, func(c *client.Client, i, round int) error {
			env := client.Envelope{From: "<x@other.example>", To: []string{"<r@here.example>"}, QueueID: "4F"}
			_, err := c.SendMessage(env, signer.Unanswered(tc.author, "silent.example", 1000*round+i))
			return err
		})
		fullSwing(t, z, 6)
		bystanders(t, d, why, netip.MustParseAddr(tc.client(0)))
		stop()
	}
}

// TestClientsThatLeave plays a client that sends HELO and MAIL with names for which the server
// never answers, and then aborts the message, as fast as it can. The lookups for other clients must
// still be answered in time.
func TestClientsThatLeave(t *testing.T) {
	d, z := crowded(t)
	attacker := netip.MustParseAddr("203.0.113.1")
	peer := func(int) mta.Peer { return mta.Peer{Addr: netip.AddrPortFrom(attacker, 25), HELO: "h.silent.example"} }
	stop := flood(t, d, 1, peer, func(c *client.Client, _, round int) error {
		if _, err := c.Helo(fmt.Sprintf("h%d.silent.example", round)); err != nil {
			return err
		}
		if _, err := c.Mail(fmt.Sprintf("<x@m%d.silent.example>", round)); err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // gives the daemon time to send the questions
		return c.Abort()
	})
	defer stop()
	fullSwing(t, z, 600)
	bystanders(t, d, "Leaving", attacker)
}
