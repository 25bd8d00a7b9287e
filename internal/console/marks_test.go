package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/indicators"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/status"
)

// hostileSVG is a picture that no check would let pass. The page must not trust the check.
const hostileSVG = `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script>"'><img src=x onerror=alert(1)></svg>`

func TestMarks(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/marks", 200, "Marks are off", `<a href="/marks" aria-current="page">`, "!<table")
	mark := &bimi.Mark{SVG: []byte(hostileSVG), Certified: true, Owner: hostile, Issuer: hostile, Type: hostile, NotAfter: start.Add(certificateSoon - time.Hour)}
	known := []indicators.Known{
		{Domain: hostile, Selector: hostile, Answer: bimi.Answer{Result: bimi.Pass, Mark: mark, Fetched: start}, Stale: true},
		{Domain: "bad.example", Selector: "default", Answer: bimi.Answer{Result: bimi.Fail, Reason: "san", Checks: []bimi.Check{{Word: "san", Detail: hostile}}}},
	}
	b.marks = &status.Marks{}
	b.console.o.Marks = func(int) Marks {
		return Marks{known, []indicators.Root{{Name: hostile, Ends: start.Add(rootSoon - time.Hour)}}}
	}
	b.shows(t, "/marks", 200, `src="data:image/svg&#43;xml;base64,`, "its web server gives no newer one", `<b class="trouble">until <time`, `<b class="trouble"><time`,
		"bad.example", "!<script>alert", "!<img src=x", "!onload", "!\x1b", "!\u202e", "!ZgotmplZ")
	known = nil
	b.shows(t, "/marks", 200, "No mark was fetched yet")
}

func TestManyMarks(t *testing.T) {
	b := newBench(t)
	b.marks = &status.Marks{}
	b.console.o.Marks = func(most int) (m Marks) {
		for n := range most {
			m.Known = append(m.Known, indicators.Known{Domain: dns.Name(fmt.Sprintf("d%d.example", n)), Answer: bimi.Answer{Result: bimi.Fail}})
		}
		return m
	}
	b.shows(t, "/marks", 200, "d99.example", "!d100.example", "There are more marks in memory")
}

// TestMarkBesideDecision shows the mark of a message as long as it is the one in memory.
func TestMarkBesideDecision(t *testing.T) {
	b := newBench(t)
	mark := &bimi.Mark{SVG: []byte("<svg/>"), Certified: true}
	b.console.o.Mark = func(q bimi.Query) *bimi.Mark {
		if q.Domain != "shop.example" || q.Evidence != "https://shop.example/vmc.pem" {
			return nil
		}
		return mark
	}
	e := &msgauth.Evaluation{
		Envelope: msgauth.Envelope{QueueID: "Q1", MailFrom: "<a@shop.example>"}, From: author.From{AuthorDomain: "shop.example"},
		BIMI: &bimi.Evaluation{Result: bimi.Pass, Domain: "shop.example", Selector: "default", Evidence: "https://shop.example/vmc.pem", Hash: mark.Hash()},
	}
	b.ring.Decided(decided(e, policy.Verdict{Action: policy.Accept}), time.Millisecond)
	img := `src="` + strings.ReplaceAll(string(pictureOf(mark)), "+", "&#43;") + `"`
	b.shows(t, "/decisions", 200, img)
	b.shows(t, "/decision?queue_id=Q1", 200, img)
	other := *e.BIMI
	other.Hash = "00000000" // the domain has another mark now
	e.BIMI = &other
	b.ring.Decided(decided(e, policy.Verdict{Action: policy.Accept}), time.Millisecond)
	b.shows(t, "/decision?queue_id=Q1", 200, "!"+img)
	b.console.o.Mark = nil
	b.shows(t, "/decisions", 200, "!"+img)
}
