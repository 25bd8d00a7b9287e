package milter_test

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// TestLimitsAtTheirEdges checks that a message with exactly as much as a limit allows is delivered, and that
// one with one more is not.
func TestLimitsAtTheirEdges(t *testing.T) {
	field := func(octets int) string { return "A: " + strings.Repeat("x", octets-len("A ")) + "\n" } // with its name
	to := func(n int, local string) (list []string) {
		for range n {
			list = append(list, "<"+local+">")
		}
		return list
	}
	for _, tt := range []struct {
		what      string
		limits    milter.Limits
		fits, not string
		to, more  []string // the recipients that fit, and those that do not
	}{
		{milter.OversizeHeaderFields, milter.Limits{MaxHeaderFields: 10}, strings.Repeat(field(3), 10), strings.Repeat(field(3), 11), nil, nil},
		{milter.OversizeFieldBytes, milter.Limits{MaxFieldBytes: 500}, field(500), field(501), nil, nil},
		{milter.OversizeHeaderBytes, milter.Limits{MaxHeaderBytes: 1000}, field(600) + field(400), field(600) + field(401), nil, nil},
		{milter.OversizeRecipients, milter.Limits{MaxRecipients: 3}, field(3), field(3), to(3, "x"), to(4, "x")},
		// Each argument has the NUL at its end.
		{milter.OversizeEnvelope, milter.Limits{MaxEnvelopeBytes: 3 + 2*5}, field(3), field(3), to(2, "xx"), to(2, "xxx")},
	} {
		for i, raw := range []string{tt.fits, tt.not} {
			w := newWorld(t, given{Limits: tt.limits})
			c := w.start()
			env := client.Envelope{From: "<>", To: to(1, "x")}
			if tt.to != nil {
				env.To = [][]string{tt.to, tt.more}[i]
			}
			res, err := c.SendMessage(env, []byte(raw+"\nbody\n"))
			if err != nil || res.Action.Delivers() != (i == 0) {
				t.Errorf("%s, %s: %s, %v", tt.what, []string{"at the limit", "over it"}[i], res.Action, err)
			}
			_ = c.Quit()
			w.end()
			if n := strings.Count(fmt.Sprint(w.log()), "+oversize "+tt.what); n != i {
				t.Errorf("%s: counted %d times for message %d", tt.what, n, i)
			}
		}
	}
}

// TestMemoryAtEachStep checks which events of a message can exceed Limits.Memory, and that the message then
// gets the reply for that.
func TestMemoryAtEachStep(t *testing.T) {
	long := strings.Repeat("x", 40<<10)
	for _, tt := range []struct{ why, from, to, raw string }{
		{"the sender", "<" + long + ">", "<x>", mail},
		{"a recipient", "<>", "<" + long + ">", mail},
		{"a field", "<>", "<x>", "A: " + long + "\n" + mail},
	} {
		w := newWorld(t, given{Limits: milter.Limits{Memory: 128 << 10}})
		c := w.start()
		res, err := c.SendMessage(client.Envelope{From: tt.from, To: []string{tt.to}}, []byte(tt.raw))
		if err != nil || res.Action.Code != 452 || !strings.Contains(res.Action.String(), "4.3.1") {
			t.Errorf("%s: %s, %v", tt.why, res.Action, err)
		}
		if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
			t.Errorf("%s: the next message: %s, %v", tt.why, res.Action, err)
		}
		_ = c.Quit()
		w.end()
		if n := strings.Count(fmt.Sprint(w.log()), "+oversize "+milter.OversizeMemory); n != 1 {
			t.Errorf("%s: counted %d times", tt.why, n)
		}
	}
}
