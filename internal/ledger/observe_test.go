package ledger

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// evaluation returns an Evaluation of a message of news.shop.example that passes.
func evaluation() *msgauth.Evaluation {
	return &msgauth.Evaluation{
		Time: today.Time(), Session: msgauth.Session{Client: netip.MustParseAddr("192.0.2.7")}, From: author.From{AuthorDomain: "news.shop.example"},
		MailFrom: spf.Check{Result: spf.Pass, Domain: "shop.example", Record: "v=spf1 -all"},
		DKIM:     []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", Selector: "s1", KeyBits: 2048}},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultPass, AlignedDKIM: true, AlignedSPF: true, PolicyPublished: dmarc.PolicyReject, PolicyDomain: "shop.example",
			Record: &dmarc.Record{}, OrganizationalDomain: "shop.example"},
	}
}

// failed makes the message one that fails.
func failed(e *msgauth.Evaluation) {
	e.MailFrom = spf.Check{Result: spf.None, Domain: "x.example"}
	e.DKIM = nil
	e.DMARC.Result, e.DMARC.AlignedDKIM, e.DMARC.AlignedSPF = dmarc.ResultFail, false, false
}

func TestObserve(t *testing.T) {
	accepted := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, ID: "ABCD2345"}
	base := Entry{
		Time: today.Time(), Author: "news.shop.example", Owner: "shop.example", Policy: "reject", Result: Pass, DKIM: true, SPF: true, Signed: true,
		Applied: policy.Accept, Client: netip.MustParseAddr("192.0.2.7"), Signers: []Signer{{"shop.example", "s1", 1, 0}},
		Sending: Sending{Network: netip.MustParsePrefix("192.0.2.0/24"), Pass: 1, Record: recordHash("v=spf1 -all")},
		Total:   Total{SPF: "pass", DKIM: "pass", Policy: "reject", DMARC: "pass", Applied: "accept", Messages: 1},
	}
	for _, x := range []struct {
		name   string
		change func(*msgauth.Evaluation, *policy.Verdict)
		want   func(*Entry)
		not    bool
	}{
		{name: "passes"},
		{name: "put off", change: func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Applied = policy.TempFail }, not: true},
		{name: "not evaluated", change: func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Applied = policy.Skip }, not: true},
		{name: "nobody agreed", change: func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Consent.Out = 1 }, not: true},
		{name: "one agreed", change: func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Consent = policy.Consent{In: 1, Out: 1} }},
		{name: "fails and is rejected", change: func(e *msgauth.Evaluation, v *policy.Verdict) {
			failed(e)
			v.Action, v.Applied, v.Indirect = policy.Reject, policy.Reject, []trait.Trait{trait.List}
		}, want: func(x *Entry) {
			x.Result, x.DKIM, x.SPF, x.Signed, x.Signers, x.Applied, x.Indirect, x.Example = Fail, false, false, false, nil, policy.Reject, true, "ABCD2345"
			x.Sending = Sending{}
			x.Total.SPF, x.Total.DKIM, x.Total.DMARC, x.Total.Applied = "none", "none", "fail", "reject"
		}},
		{name: "quarantined by its label", change: func(e *msgauth.Evaluation, v *policy.Verdict) {
			v.Action, v.Applied, v.Enforced = policy.Quarantine, policy.Tag, true
		}, want: func(x *Entry) { x.Applied, x.Total.Applied = policy.Quarantine, "quarantine" }},
		{name: "monitor mode", change: func(e *msgauth.Evaluation, v *policy.Verdict) {
			v.Action, v.Applied = policy.Quarantine, policy.Tag
		}, want: func(x *Entry) { x.Applied, x.Total.Applied = policy.Tag, "tag" }},
		{name: "no author", change: func(e *msgauth.Evaluation, _ *policy.Verdict) { e.From.AuthorDomain = "" }, want: onlyTotal},
		{name: "nothing published", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DMARC, e.MailFrom, e.DKIM = dmarc.Evaluation{Result: dmarc.ResultNone}, spf.Check{}, nil
		}, want: func(x *Entry) {
			onlyTotal(x)
			x.Policy, x.Total = "", Total{SPF: "none", DKIM: "none", DMARC: "none", Applied: "accept", Messages: 1}
		}},
		{name: "a public suffix", change: func(e *msgauth.Evaluation, _ *policy.Verdict) { e.From.AuthorDomain = "co.jp" }, want: onlyTotal},
		{name: "no DMARC record, but SPF", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DMARC, e.DKIM = dmarc.Evaluation{Result: dmarc.ResultNone}, nil
		}, want: func(x *Entry) {
			x.Policy, x.DKIM, x.Signed, x.Signers = "", false, false, nil
			x.Total.Policy, x.Total.DMARC, x.Total.DKIM = "", "none", "none"
		}},
		{name: "an answer is missing", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DMARC.Result, e.DMARC.AlignedDKIM, e.DMARC.AlignedSPF, e.DKIM[0].Result = dmarc.ResultTempError, false, false, dkim.TempError
		}, want: func(x *Entry) {
			x.Result, x.DKIM, x.SPF, x.Signers, x.Total.DKIM, x.Total.DMARC = TempError, false, false, nil, "temperror", "temperror"
		}},
		{name: "SPF does not know the address", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.MailFrom.Result, e.DMARC.AlignedSPF = spf.SoftFail, false
		}, want: func(x *Entry) {
			x.SPF, x.Total.SPF = false, "softfail"
			x.Sending.Pass, x.Sending.Missed, x.Sending.Signed = 0, 1, 1
		}},
		{name: "SPF forbids the address, and nothing else passes", change: func(e *msgauth.Evaluation, v *policy.Verdict) {
			failed(e)
			e.MailFrom = spf.Check{Result: spf.Fail, Domain: "news.shop.example", Record: "v=spf1 a -all"}
		}, want: func(x *Entry) {
			x.Result, x.DKIM, x.SPF, x.Signed, x.Signers, x.Example = Fail, false, false, false, nil, "ABCD2345"
			x.Sending.Pass, x.Sending.Missed, x.Sending.Record = 0, 1, recordHash("v=spf1 a -all")
			x.Total.SPF, x.Total.DKIM, x.Total.DMARC = "fail", "none", "fail"
		}},
		{name: "the SPF record is broken", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.MailFrom.Result, e.DMARC.AlignedSPF = spf.PermError, false
		}, want: func(x *Entry) { x.SPF, x.Total.SPF, x.Sending = false, "permerror", Sending{} }},
		{name: "many signatures", change: func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DKIM = append(e.DKIM, e.DKIM[0], dkim.Signature{Result: dkim.Pass, Domain: "esp.example", Selector: "k"})
			for i := range 10 {
				e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Fail, Domain: "a.shop.example", Selector: fmt.Sprint(i)})
			}
		}, want: func(x *Entry) {
			for i := range maxEntrySigners - 1 {
				x.Signers = append(x.Signers, Signer{"a.shop.example", fmt.Sprint(i), 0, 1})
			}
		}},
	} {
		e, v, want := evaluation(), accepted, base
		want.Signers = slices.Clone(base.Signers)
		if x.change != nil {
			x.change(e, &v)
		}
		if x.want != nil {
			x.want(&want)
		}
		got, ok := Observe(e, &v, Same, owner)
		if ok == x.not || ok && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %t\n got %+v\nwant %+v", x.name, ok, got, want)
		}
	}
}

func onlyTotal(x *Entry) {
	*x = Entry{Time: x.Time, Policy: x.Policy, Applied: x.Applied, Client: x.Client, Total: x.Total}
}

// owner is suffix.Owner, for names below example as well.
func owner(n dns.Name) dns.Name { return suffix.Owner(n) }

// TestUsualSigns looks at each sign from both sides.
func TestUsualSigns(t *testing.T) {
	signed := usual(20, 400, 400, 400, 5) // its networks are 10.0.0.0/24 to 10.0.4.0/24, seen on 1 to 4 days
	unsigned := usual(20, 400, 200, 200, 5)
	fresh := usual(5, 400, 400, 400, 5)
	many := usual(20, 400, 400, 400, MaxUsual+1)
	no, broken := dkim.Signature{}, dkim.Signature{Result: dkim.Fail, Domain: "shop.example", Selector: "s1"}
	for _, x := range []struct {
		name   string
		usual  Usual
		client string
		dkim   []dkim.Signature
		want   []trait.Trait
	}{
		{"unsigned, from elsewhere", signed, "192.0.2.1", nil, []trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}},
		{"a broken signature", signed, "192.0.2.1", []dkim.Signature{broken}, []trait.Trait{trait.UnknownSource}},
		{"an expired signature of a subdomain", signed, "192.0.2.1", []dkim.Signature{{Result: dkim.Fail, Domain: "mail.shop.example"}}, []trait.Trait{trait.UnknownSource}},
		{"a signature of the parent", signed, "192.0.2.1", []dkim.Signature{{Result: dkim.PermError, Domain: "shop.example"}}, []trait.Trait{trait.UnknownSource}},
		{"a signature of nobody", signed, "192.0.2.1", []dkim.Signature{no}, []trait.Trait{trait.UnknownSource}},
		{"a signature of another", signed, "192.0.2.1", []dkim.Signature{{Result: dkim.Pass, Domain: "x.test"}}, []trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}},
		{"from a known network", signed, "10.0.3.99", nil, []trait.Trait{trait.UnsignedUnlikeUsual, trait.KnownSource}},
		{"from a network seen on two days", signed, "10.0.2.99", nil, []trait.Trait{trait.UnsignedUnlikeUsual}},
		{"from a network seen once", signed, "10.0.0.99", nil, []trait.Trait{trait.UnsignedUnlikeUsual}},
		{"usually not signed", unsigned, "192.0.2.1", nil, []trait.Trait{trait.UnknownSource}},
		{"not known for long", fresh, "192.0.2.1", nil, nil},
		{"not known at all", Usual{}, "192.0.2.1", nil, nil},
		{"many networks", many, "192.0.2.1", nil, []trait.Trait{trait.UnsignedUnlikeUsual}},
		{"the client is not known", signed, "10.0.3.99x", nil, []trait.Trait{trait.UnsignedUnlikeUsual}},
	} {
		e := evaluation()
		failed(e)
		e.DKIM = x.dkim
		e.Session.Client, _ = netip.ParseAddr(x.client)
		// Addresses of 10.0.0.0/8 stand for public ones here.
		got := x.usual.signs(e, !e.Session.Client.IsValid())
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
		e.DMARC.Result = dmarc.ResultPass
		if got := x.usual.Signs(e); got != nil {
			t.Errorf("%s, and passes: %v", x.name, got)
		}
	}
}

// rowsOf returns rows of 15 days up to yesterday. change gets how many days ago a row is.
func rowsOf(change func(ago int, r *Row)) (rows []Row) {
	for ago := 15; ago >= 1; ago-- {
		r := Row{Day: today - Day(ago), Domain: "shop.example", Counts: Counts{Messages: 100, Pass: 95, PassDKIM: 95, PassSPF: 90, Fail: 5, Signed: 95},
			Signers: []Signer{{"shop.example", "s1", 90, 2}, {"shop.example", "s2", 5, 0}}, Example: "EX"}
		change(ago, &r)
		rows = append(rows, r)
	}
	return rows
}

func TestFindBreakages(t *testing.T) {
	morning, evening := today.Time().Add(8*3600e9), today.Time().Add(20*3600e9)
	yesterday := func(f func(*Row)) func(int, *Row) {
		return func(ago int, r *Row) {
			if ago == 1 {
				f(r)
			}
		}
	}
	for _, x := range []struct {
		name   string
		change func(int, *Row)
		want   []Kind
	}{
		{"nothing", func(int, *Row) {}, nil},
		{"no mail yesterday", yesterday(func(r *Row) { r.Day = today - 100 }), nil},
		{"signatures fail", yesterday(func(r *Row) { r.Signers[0].Pass, r.Signers[0].Fail = 3, 80 }), []Kind{SignatureFails}},
		{"signatures of a forger fail beside good ones", yesterday(func(r *Row) { r.Signers[0].Fail = 8000 }), nil},
		{"the key is gone", yesterday(func(r *Row) { r.Signers, r.PassDKIM = nil, 0 }), []Kind{SelectorGone}},
		{"another key has taken its place", yesterday(func(r *Row) { r.Signers[0].Selector = "s3" }), nil},
		{"less mail", yesterday(func(r *Row) { r.Counts, r.Signers = Counts{Messages: 5, Pass: 5, PassSPF: 5}, nil }), nil},
		{"SPF is broken", yesterday(func(r *Row) { r.PassSPF = 2 }), []Kind{SPFBroken}},
		{"nothing passes", yesterday(func(r *Row) { r.Pass, r.PassDKIM, r.PassSPF, r.Fail = 2, 2, 1, 98 }), []Kind{PassShareFallen}},
		{"a wave of forgeries", yesterday(func(r *Row) { r.Messages, r.Fail = 10_000, 9905 }), nil},
		{"a small sender", func(ago int, r *Row) {
			r.Counts, r.Signers = Counts{Messages: 10, Pass: 9, PassDKIM: 9, PassSPF: 9}, []Signer{{"shop.example", "s1", 9, 0}}
			if ago == 1 {
				r.Counts, r.Signers = Counts{Messages: 10}, nil
			}
		}, nil},
		{"not known for long", func(ago int, r *Row) {
			if ago > 6 {
				r.Day -= 100
			}
			if ago == 1 {
				r.PassSPF = 0
			}
		}, nil},
	} {
		rows := rowsOf(x.change)
		slices.SortFunc(rows, func(a, b Row) int { return a.Compare(&b) })
		var got []Kind
		for _, b := range FindBreakages(rows, morning) {
			got = append(got, b.Kind)
			if b.Domain != "shop.example" || b.Example != "EX" || b.Evidence == "" || !b.First.Equal(morning) || (b.Subject != "") != (b.Kind == SignatureFails || b.Kind == SelectorGone) {
				t.Errorf("%s: %+v", x.name, b)
			}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
		// The same day in its evening, when most of it is over.
		for i := range rows {
			rows[i].Day++
		}
		got = nil
		for _, b := range FindBreakages(rows, evening) {
			got = append(got, b.Kind)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s, in the evening: %v, want %v", x.name, got, x.want)
		}
		if got := FindBreakages(rows, morning); len(got) > 0 && x.name != "not known for long" {
			t.Errorf("%s, in the morning: %+v", x.name, got)
		}
	}
}

// TestFindBreakagesOfGroups adds up the groups of a day.
func TestFindBreakagesOfGroups(t *testing.T) {
	var rows []Row
	for _, r := range rowsOf(func(ago int, r *Row) {
		if ago == 1 {
			r.PassSPF = 0
		}
	}) {
		a, b := r, r
		a.Group, b.Group = "a", "b"
		if r.PassSPF == 0 {
			b.PassSPF = 180 // the mail went to the other hosts
		}
		rows = append(rows, a, b)
	}
	if got := FindBreakages(rows, today.Time()); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, x := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 1}, {[]float64{9, 1, 5}, 5}} {
		if got := median(x.in); got != x.want {
			t.Errorf("%v: %v", x.in, got)
		}
	}
	if PassShare(&Row{}) != 0 || MedianShare([]Row{{Counts: Counts{Messages: 4, Pass: 1}}}) != 0.25 {
		t.Error("the shares are wrong")
	}
}
