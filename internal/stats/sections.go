package stats

import (
	"cmp"
	"fmt"
	"html/template"
	"strconv"
	"time"
)

// slices of a bar, by their shares of a whole.
func (l Lang) cut(of int64, parts ...piece) (out []Slice) {
	for _, p := range parts {
		out = append(out, Slice{p.colour, share(p.n, of), l.word(p.key) + " " + percent(p.n, of)})
	}
	return out
}

type piece struct {
	colour Colour
	key    string
	n      int64
}

func (l Lang) legend(parts ...piece) (out []Key) {
	for _, p := range parts {
		out = append(out, Key{p.colour, l.word(p.key)})
	}
	return out
}

// results of DMARC.
func (p *Policy) pieces() []piece {
	return []piece{{Good, "passes", p.Pass}, {Bad, "fails", p.Fail}, {Other, "other", p.Other}}
}

// dmarc is the section of the results of DMARC, also by policy.
func (m *Month) dmarc(l Lang) Section {
	s := m.results(l, "dmarc", "ofall", m.DMARC)
	c := Chart{Title: l.word("policies"), Sub: l.word("ofpolicy"), Legend: l.legend((&Policy{}).pieces()...)}
	s.Table.Title = l.word("policies")
	s.Table.Columns = []string{l.word("policy"), l.word("messages"), l.word("share"), l.word("passes"), l.word("fails"), l.word("other"), l.word("rejected"), l.word("quarantined")}
	s.Table.Rows = nil
	for _, p := range m.Policies {
		name := l.word("p_" + p.Policy)
		c.Bars = append(c.Bars, Bar{name, percent(p.Pass, p.Messages), l.cut(p.Messages, p.pieces()...)})
		s.Table.Rows = append(s.Table.Rows, []string{name, grouped(p.Messages), percent(p.Messages, m.Messages), grouped(p.Pass), grouped(p.Fail), grouped(p.Other),
			grouped(p.Rejected), grouped(p.Quarantined)})
	}
	s.Charts = append(s.Charts, c.HTML())
	return s
}

func (c *Class) pieces() []piece {
	return []piece{{Good, "p_reject", c.Reject}, {Mid, "p_quarantine", c.Quarantine}, {Weak, "p_none", c.None}, {Absent, "p_absent", c.Absent}}
}

// classes is the section of the author domains.
func (m *Month) classes(l Lang) Section {
	c := Chart{Title: l.word("classes"), Bare: true, Sub: l.word("ofclass"), Legend: l.legend((&Class{}).pieces()...)}
	t := Table{Title: l.word("classes"), Columns: []string{l.word("class"), l.word("domains"), "DMARC", l.word("p_reject"), l.word("p_quarantine"), l.word("p_none"), l.word("p_absent"),
		l.word("messages"), l.word("passes"), l.word("fails")}}
	for _, x := range m.Classes {
		name := x.Class
		if name == ClassOther || name == ClassAll {
			name = l.word(name)
		}
		of := func(n int64) string { return percent(n, x.Domains) }
		c.Bars = append(c.Bars, Bar{name, "DMARC " + of(x.DMARC), l.cut(x.Domains, x.pieces()...)})
		t.Rows = append(t.Rows, []string{name, grouped(x.Domains), of(x.DMARC), of(x.Reject), of(x.Quarantine), of(x.None), of(x.Absent),
			grouped(x.Messages), percent(x.Pass, x.Messages), percent(x.Fail, x.Messages)})
	}
	return Section{l.word("classes"), []template.HTML{c.HTML()}, t}
}

// done is the section of what was done with messages.
func (m *Month) done(l Lang) Section {
	colours := map[string]Colour{"reject": Good, "quarantine": Mid, "tag": Weak, "accept": Other}
	done := Chart{Title: l.word("done"), Sub: l.word("ofall")}
	for _, x := range m.Applied {
		name, value := l.word("a_"+x.Word), percent(x.Messages, m.Messages)
		done.Bars = append(done.Bars, Bar{name, value, []Slice{{colours[x.Word], x.Share, name + " " + value}}})
	}
	charts := []template.HTML{done.HTML()}
	if len(m.Overrides) > 0 {
		c := Chart{Title: l.word("override"), Sub: l.word("ofall")}
		for _, x := range m.Overrides {
			name, value := l.word(x.Word), percent(x.Messages, m.Messages)
			c.Bars = append(c.Bars, Bar{name, value, []Slice{{Mid, x.Share, name + " " + value}}})
		}
		charts = append(charts, c.HTML())
	}
	t := Table{Title: l.word("reasons"), Columns: []string{l.word("reason"), l.word("done"), l.word("messages"), l.word("share")}}
	for _, r := range m.Reasons {
		if r.Applied == "reject" || r.Applied == "quarantine" {
			key := r.Reason
			if key == "temperror" {
				key = "temperror_r" // it is the name of a result, too
			}
			t.Rows = append(t.Rows, []string{cmp.Or(l.word(key), "-"), l.word("a_" + r.Applied), grouped(r.Messages), percent(r.Messages, m.Messages)})
		}
	}
	return Section{l.word("done"), charts, t}
}

func (s *Standings) pieces() []piece {
	return []piece{{Good, "dmarc_pass", s.Pass}, {Mid, "nopol", s.Other}, {Bad, "dmarc_fail", s.Fail}, {Absent, "nothing", s.Nothing}}
}

// countries is the section of the clients' countries. Those beyond maxCountries are added up.
func (m *Month) countries(l Lang) Section {
	c := Chart{Title: l.word("country"), Bare: true, Sub: l.word("ofland"), Legend: l.legend((&Standings{}).pieces()...)}
	t := Table{Title: l.word("country"), Columns: []string{l.word("code"), l.word("messages"), l.word("share"), l.word("dmarc_pass"), l.word("nopol"), l.word("dmarc_fail"), l.word("nothing")}}
	shown := m.Countries
	if len(shown) > maxCountries {
		rest := Country{Country: fmt.Sprintf(l.word("rest"), len(shown)-maxCountries)}
		for _, x := range shown[maxCountries:] {
			rest.Messages += x.Messages
			rest.Pass, rest.Fail, rest.Other, rest.Nothing = rest.Pass+x.Pass, rest.Fail+x.Fail, rest.Other+x.Other, rest.Nothing+x.Nothing
		}
		shown = append(shown[:maxCountries:maxCountries], rest)
	}
	for _, x := range shown {
		name, of := l.word(x.Country), func(n int64) string { return percent(n, x.Messages) }
		c.Bars = append(c.Bars, Bar{name, grouped(x.Messages), l.cut(x.Messages, x.pieces()...)})
		t.Rows = append(t.Rows, []string{name, grouped(x.Messages), percent(x.Messages, m.Messages), of(x.Pass), of(x.Other), of(x.Fail), of(x.Nothing)})
	}
	return Section{l.word("country"), []template.HTML{c.HTML()}, t}
}

// days is the section of the days.
func (m *Month) days(l Lang) Section {
	var peak int64 = 1
	for _, d := range m.Days {
		peak = max(peak, d.Messages)
	}
	c := Columns{Title: l.word("days"), Bare: true, Legend: l.legend((&Standings{}).pieces()...), Top: grouped(peak)}
	t := Table{Title: l.word("days"), Columns: []string{l.word("day"), l.word("messages"), l.word("dmarc_pass"), l.word("nopol"), l.word("dmarc_fail"), l.word("nothing"),
		l.word("rejected"), l.word("quarantined")}}
	for i, d := range m.Days {
		col := Column{}
		if at, _ := time.Parse(time.DateOnly, d.Day); at.Day() == 1 || at.Day()%5 == 0 { // Collect has written the day
			col.Label = strconv.Itoa(at.Day())
		}
		for _, p := range m.Days[i].pieces() {
			col.Parts = append(col.Parts, Slice{p.colour, share(p.n, peak), d.Day + " " + l.word(p.key) + " " + grouped(p.n)})
		}
		c.Columns = append(c.Columns, col)
		t.Rows = append(t.Rows, []string{d.Day, grouped(d.Messages), grouped(d.Pass), grouped(d.Other), grouped(d.Fail), grouped(d.Nothing), grouped(d.Rejected), grouped(d.Quarantined)})
	}
	return Section{l.word("days"), []template.HTML{c.HTML()}, t}
}
