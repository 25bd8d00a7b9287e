package milter_test

import (
	"log/slog"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// quiet is a Session that does nothing, so that only the protocol is measured.
type quiet struct{ strict }

func (quiet) Header(string, string) milter.Reply { return milter.Continue }

func BenchmarkMessage(b *testing.B) {
	server := milter.New(milter.Options{
		NewSession: func(*milter.Conn) milter.Session { return &quiet{strict{r: &recorder{}}} },
		Logger:     slog.New(slog.DiscardHandler),
	})
	ln, err := milter.Listen("inet:127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	c, err := client.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Connect("x", client1); err != nil {
		b.Fatal(err)
	}
	raw := []byte(strings.Repeat("X-Header: "+strings.Repeat("x", 70)+"\n", 30) + "\n" + strings.Repeat("body\n", 4000))
	b.ReportAllocs()
	for b.Loop() {
		if res, err := c.SendMessage(envelope(), raw); err != nil || !res.Action.Delivers() {
			b.Fatal(res, err)
		}
	}
}
