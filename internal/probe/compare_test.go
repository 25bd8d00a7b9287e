package probe

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/judge"
	"sekimori/internal/policy"
)

// TestCompare checks answers that the daemon should never give, and the notes on DNS.
func TestCompare(t *testing.T) {
	const label = "mx.jp; spf=pass smtp.mailfrom=a.jp; dmarc=pass header.from=a.jp"
	good := Outcome{Fate: Delivered, Results: []string{label}, Foreign: 1}
	with := func(change func(*Outcome)) Outcome {
		o := good
		o.Results = append([]string{}, good.Results...)
		change(&o)
		return o
	}
	for _, tt := range []struct {
		name        string
		came, meant Outcome
		ok          bool
		says        string
	}{
		{"the same", good, good, true, ""},
		{"another comment", with(func(o *Outcome) { o.Results[0] = "mx.jp; spf=pass (x) smtp.mailfrom=b.jp; dmarc=pass" }), good, true, ""},
		{"no label", with(func(o *Outcome) { o.Results = nil }), good, false, "has 0 Authentication-Results fields in our name, but 1 were meant"},
		{"a forged result is left", with(func(o *Outcome) { o.Results = append(o.Results, label) }), good, false, "has 2 Authentication-Results fields"},
		{"a result of another host is gone", with(func(o *Outcome) { o.Foreign = 0 }), good, false, "0 Authentication-Results fields of other hosts are left"},
		{"another host", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "mx.jp", "mx2.jp", 1) }), good, false, `names the host "mx2.jp"`},
		{"another result", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "dmarc=pass", "dmarc=fail", 1) }), good, false, `"spf=pass dmarc=fail"`},
		{"the daemon lacks an answer", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "spf=pass", "spf=temperror", 1) }), good, true, "did not wait for each answer"},
		{"we lack an answer", good, with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "spf=pass", "spf=temperror", 1) }), true, "This command got no answer"},
		{"unreadable", with(func(o *Outcome) { o.Results[0] = "mx.jp; ;;" }), good, false, "The label says"},
		{"another reply", Outcome{Fate: Rejected, Reply: "550 5.7.1 x (A)"}, Outcome{Fate: Rejected, Reply: "550 5.7.23 x (A)"}, false, `"550 5.7.1", but "550 5.7.23"`},
		{"another id", Outcome{Fate: Rejected, Reply: "550 5.7.1 x (A)"}, Outcome{Fate: Rejected, Reply: "550 5.7.1 x (B)"}, true, ""},
		{"no room", Outcome{Fate: Deferred, Reply: "tempfail"}, good, false, "has no room, or is being stopped"},
		{"no DNS", Outcome{Fate: Deferred, Reply: "451 4.7.5 x"}, good, false, "The daemon got no answer from DNS"},
		{"held", with(func(o *Outcome) { o.Fate = Held }), good, false, "was held, but delivered was meant"},
	} {
		p := Play{Mail: Mail{Client: netip.MustParseAddr("192.0.2.1")}, Came: tt.came, Meant: tt.meant}
		p.compare(&judge.Decision{})
		r := &Report{Plays: []Play{p}}
		if len(p.Problems) == 0 != tt.ok || !strings.Contains(problems(r), tt.says) {
			t.Errorf("%s: %s", tt.name, problems(r))
		}
	}
	p := Play{Came: Outcome{Fate: Held}, Meant: good}
	p.compare(&judge.Decision{Verdict: policy.Verdict{Missing: []policy.Missing{{}}}})
	if got := problems(&Report{Plays: []Play{p}}); !strings.Contains(got, "is not certain") {
		t.Errorf("an answer is missing here: %s", got)
	}
}

// TestText checks that the text escapes what came from outside.
func TestText(t *testing.T) {
	r := Report{Target: "unix:/x", Mode: "enforce", Notes: []string{"n\x1b"}, Plays: []Play{{
		Mail: Mail{Name: "spoof", Title: "t", From: "a\x1b@b"}, Came: Outcome{Fate: Rejected, Reply: "550 \x1b[2J"}, Meant: Outcome{Fate: Delivered},
		Why: "w", Problems: []Problem{{"what\x1b", "to do"}},
	}}}
	var out strings.Builder
	if err := r.Text(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q", out.String())
	}
	for _, want := range []string{"Messages to unix:/x; the configuration is in mode enforce.\n", "   came back  rejected: 550 ", "   meant      delivered\n              without a label of ours\n",
		"   WRONG      what", "   to do      to do\n", "0 of 1 messages came back"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
