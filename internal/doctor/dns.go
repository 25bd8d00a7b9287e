package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Asked is what one query to a DNS server led to.
type Asked struct {
	Err       error // no answer came
	Rcode     string
	Truncated bool
	EDNS      bool // the answer has an OPT record
	Records   int  // records of the type that was asked for
	Took      time.Duration
}

// answered reports whether an answer came, whatever it says.
func (a Asked) answered() bool { return a.Err == nil && a.Rcode != "" }

// good reports whether the answer has records.
func (a Asked) good() bool { return a.answered() && a.Rcode == "NOERROR" && a.Records > 0 }

// Probes is what a DNS server did when it was tried.
type Probes struct {
	Server string // as it is configured
	TLS    bool   // the server is asked over TLS only
	UDP    []Asked
	TCP    Asked
	// Invented are the answers for names that do not exist, by name and type.
	Invented map[string]Asked
	// Known are the answers for names that exist.
	Known []Known
}

// Known are the answers of one server for a name that has MX and TXT records.
type Known struct {
	Name         string
	MX, TXT, TCP Asked // TCP is the same question as TXT, over TCP
}

// slow is the longest time that a server may take for an answer from its cache. A message waits for
// several answers in a row.
const slow = 250 * time.Millisecond

// JudgeDNS returns what is wrong with a DNS server. The second result says what could not be judged.
func JudgeDNS(p *Probes) (found []Finding, skipped []string) {
	add := func(kind, what, why, fix string) {
		found = append(found, Finding{AreaDNS, kind, "the DNS server " + p.Server + " " + what, why, fix})
	}
	const other = "sekimori.yaml: dns: {servers: [...]} (a resolver of your own, such as unbound on this host)"
	udp := slices.ContainsFunc(p.UDP, Asked.answered)
	if !p.TLS && !udp {
		add("silent_udp", "does not answer over UDP", "every message waits for it",
			"start the server, open UDP port 53 to it, or remove it from dns.servers")
	}
	if !p.TCP.answered() {
		add("silent_tcp", "does not answer over TCP",
			"long answers, such as those with DKIM keys, come over TCP, and end in a temporary error without it",
			"open TCP port 53 (TLS: 853) to the server")
	}
	if !udp && (!p.TLS || !p.TCP.answered()) {
		return found, nil // the questions that follow are asked in the same way
	}
	if udp && !slices.ContainsFunc(p.UDP, func(a Asked) bool { return a.EDNS }) {
		add("no_edns", "does not understand EDNS", "every answer over 512 octets needs a second query over TCP", other)
	}
	if median := median(p.UDP); median > slow {
		add("slow", fmt.Sprintf("takes %v for an answer", median.Round(time.Millisecond)), "a message waits for several answers in a row",
			"run a resolver on this host or in its network, and name it in dns.servers")
	}
	if deadEnd(p) {
		add("dead_end", "answers, but finds nothing out: "+p.said(),
			"all mail is deferred or delivered undecided; "+
				"often such a server forwards to itself, does not serve this host, or has no way to the Internet",
			"look at the forwarders of the server, and ask it: "+dig(p.Server))
		return found, nil
	}
	if lies := p.lies(); lies != "" {
		add("invents", "answers for names that do not exist: "+lies,
			"a domain that does not exist then seems to exist, with addresses or records that nobody published", other)
	}
	f, notes := judgeText(p)
	for _, one := range f {
		add(one.Kind, one.What, one.Why, other)
	}
	return found, notes
}

// dig returns a command that asks a server. dig wants the port apart from the address.
func dig(server string) string {
	command := "dig"
	if rest, ok := strings.CutPrefix(server, "tls://"); ok {
		command = "dig +tls"
		server, _, _ = strings.Cut(rest, "#")
	}
	if a, err := netip.ParseAddrPort(server); err == nil {
		server = fmt.Sprintf("%v -p %d", a.Addr(), a.Port())
	}
	return command + " @" + server + " example.com txt"
}

func median(list []Asked) time.Duration {
	var took []time.Duration
	for _, a := range list {
		if a.answered() {
			took = append(took, a.Took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// deadEnd reports whether the server had a useful answer to none of the questions about names. The
// answers to other questions may come from its cache.
func deadEnd(p *Probes) bool {
	useful := func(a Asked) bool { return a.answered() && (a.Rcode == "NOERROR" || a.Rcode == "NXDOMAIN") }
	for _, a := range p.Invented {
		if useful(a) {
			return false
		}
	}
	for _, k := range p.Known {
		if useful(k.MX) || useful(k.TXT) {
			return false
		}
	}
	return len(p.Invented)+len(p.Known) > 0
}

// said returns the different outcomes of the questions for names that do not exist.
func (p *Probes) said() string {
	seen := map[string]bool{}
	for _, a := range p.Invented {
		if a.answered() {
			seen[a.Rcode] = true
		} else {
			seen["no answer"] = true
		}
	}
	var out []string
	for text := range seen {
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// lies returns the names that do not exist, but for which the server returned records.
func (p *Probes) lies() string {
	var out []string
	for name, a := range p.Invented {
		if a.good() {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// judgeText judges the answers for names that have TXT records.
func judgeText(p *Probes) (found []Finding, notes []string) {
	exists, text := 0, 0
	for _, k := range p.Known {
		if !k.MX.good() {
			continue
		}
		exists++
		over := k.TCP
		if k.TXT.good() || over.good() {
			text++
		}
		switch {
		case p.TLS || !over.answered():
		case k.TXT.Truncated && !over.good():
			found = append(found, Finding{
				Kind: "truncation", Why: "long SPF records and DKIM keys cannot be read",
				What: "cuts the TXT records of " + k.Name + " off, and does not send the rest over TCP",
			})
		case k.TXT.answered() && !k.TXT.Truncated && k.TXT.Records < over.Records:
			found = append(found, Finding{
				Kind: "truncation", Why: "an SPF record or a DMARC policy may seem not to exist",
				What: fmt.Sprintf("sends %d of %d TXT records of %s over UDP, and does not say that some are missing",
					k.TXT.Records, over.Records, k.Name),
			})
		}
	}
	switch {
	case exists == 0:
		notes = append(notes, "whether the DNS server "+p.Server+" passes TXT records on: it knows none of the names that were tried")
	case text == 0:
		found = append(found, Finding{Kind: "no_txt", What: "has MX records, but no TXT records",
			Why: "SPF, DKIM and DMARC are published in TXT records, so every result is none or a temporary error"})
	}
	return found, notes
}
