// Package forwarders finds forwarders and mailing lists: hosts through which
// wanted mail comes that fails DMARC on the way. It looks at what the daemon
// decided. It only proposes rules. Anybody can send mail that looks forwarded,
// so a person who knows the host has to confirm each rule.
package forwarders

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Bounds on what is remembered. Strangers choose the names and the addresses.
const (
	maxSources = 20_000 // messages of further sources are only counted
	maxAuthors = 200    // author domains that are remembered for each source
	maxNames   = 5      // client names of a source that a rule lists one by one
)

// Record has the facts about one message that are needed here. Both the log and
// the daemon's memory of decisions have them.
type Record struct {
	Client      netip.Addr
	IPRev       iprev.Status
	IPRevName   string // verified by iprev
	MailFrom    string
	SPF         spf.Result
	SPFDomain   string
	Author      string
	Signatures  []Signature
	ARCSealer   string // the domain of the newest seal, if the chain is valid
	DMARC       dmarc.Result
	Policy      dmarc.Policy // published
	AlignedDKIM bool
	AlignedSPF  bool
	Verdict     policy.Action
}

// Signature is a DKIM signature.
type Signature struct {
	Result dkim.Result
	Domain string
	Reason dkim.Reason
}

// Kind says what a source is known by. The words are keys of rules.
type Kind string

// The kinds, the best evidence first.
const (
	ARCSealer  Kind = "arc_sealer"
	DKIM       Kind = "dkim"        // d= of a passing signature of another domain than the author's
	SPF        Kind = "spf"         // the envelope domain, if it was rewritten by SRS and SPF passes
	ClientName Kind = "client_name" // a name verified by iprev; the value is its registered domain
	Client     Kind = "client"      // the address, as a /24 or /64
)

// Confidence says how sure it is that a source is a forwarder.
type Confidence string

// The confidences.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low" // the source may as well be a spoofer
)

// Source is a host, or a group of hosts, from which failing mail comes.
type Source struct {
	Kind       Kind       `json:"kind"`
	Value      string     `json:"value"`
	Confidence Confidence `json:"confidence"`
	// Messages counts all messages of this source, Failures those that fail
	// DMARC. Harmed counts the failures that were quarantined or rejected, or
	// in monitor mode would have been.
	Messages int `json:"messages"`
	Failures int `json:"failures"`
	Harmed   int `json:"harmed"`
	// Authors counts the different author domains of the failures, up to 200.
	Authors int `json:"authors"`
	// Intact counts messages that pass DMARC only by the author's signature,
	// which survived the way. Nobody but the authors can write these.
	// IntactAuthors counts their different author domains, up to 200.
	Intact        int `json:"intact"`
	IntactAuthors int `json:"intact_authors"`
	// Broken counts failures with a signature of the author's domain that no
	// longer matches the message. Bare counts failures without any signature of
	// it.
	Broken int `json:"broken"`
	Bare   int `json:"bare"`
	// SRS counts failures with a return path that a forwarder rewrote.
	SRS int `json:"srs"`
	// AuthorSPFFail counts failures for which SPF of the author's own domain
	// says that the source may not send for it, as it does for a spoof.
	AuthorSPFFail int `json:"author_spf_fail"`
	// Names are the verified client names, if they are few.
	Names []string `json:"names,omitempty"`

	authors map[string]bool
	intact  map[string]bool // authors
	names   map[string]bool
	more    bool // the source has more names than are kept
}

type key struct {
	kind  Kind
	value string
}

// Finder gathers the sources in a number of messages.
type Finder struct {
	sources map[key]*Source
	// Records counts the messages that were added, Dropped those of them whose
	// source did not fit within the bound.
	Records, Dropped int
}

// New returns a Finder.
func New() *Finder { return &Finder{sources: map[key]*Source{}} }

// Add takes one message into account.
func (f *Finder) Add(r Record) {
	f.Records++
	k, ok := r.source()
	if !ok {
		return
	}
	s := f.sources[k]
	if s == nil {
		if len(f.sources) >= maxSources {
			f.Dropped++
			return
		}
		s = &Source{Kind: k.kind, Value: k.value, authors: map[string]bool{}, intact: map[string]bool{}, names: map[string]bool{}}
		f.sources[k] = s
	}
	s.add(r)
}

func (s *Source) add(r Record) {
	s.Messages++
	if r.IPRevName != "" && !s.names[r.IPRevName] {
		if s.more = s.more || len(s.names) >= maxNames; !s.more {
			s.names[r.IPRevName] = true
		}
	}
	if r.DMARC == dmarc.ResultPass && r.AlignedDKIM && !r.AlignedSPF {
		s.Intact++
		if len(s.intact) < maxAuthors {
			s.intact[r.Author] = true
		}
	}
	if r.DMARC != dmarc.ResultFail {
		return
	}
	s.Failures++
	if r.Verdict == policy.Quarantine || r.Verdict == policy.Reject {
		s.Harmed++
	}
	if len(s.authors) < maxAuthors {
		s.authors[r.Author] = true
	}
	switch broken, signed := r.authorSignature(); {
	case broken:
		s.Broken++
	case !signed:
		s.Bare++
	}
	if r.srs() {
		s.SRS++
	}
	if r.SPF == spf.Fail && related(r.SPFDomain, r.Author) {
		s.AuthorSPFFail++
	}
}

// source returns the best evidence of who handed the message over. A seal or a
// signature by the author's own domain is not such evidence.
func (r *Record) source() (key, bool) {
	if r.ARCSealer != "" && !related(r.ARCSealer, r.Author) {
		return key{ARCSealer, r.ARCSealer}, true
	}
	for _, s := range r.Signatures {
		if s.Result == dkim.Pass && s.Domain != "" && !related(s.Domain, r.Author) {
			return key{DKIM, s.Domain}, true
		}
	}
	switch {
	case r.srs() && r.SPF == spf.Pass && r.SPFDomain != "":
		return key{SPF, r.SPFDomain}, true
	case r.IPRevName != "" && r.IPRev == iprev.Pass && registered(r.IPRevName) != "":
		return key{ClientName, registered(r.IPRevName)}, true
	case r.Client.IsValid():
		bits := 24
		if r.Client.Unmap().Is6() {
			bits = 64
		}
		network, err := r.Client.Unmap().WithZone("").Prefix(bits)
		return key{Client, network.String()}, err == nil
	}
	return key{}, false
}

// registered returns the registered domain of a name in a log, "" if it has none.
func registered(name string) string {
	n, err := dns.ParseName(name)
	if err != nil {
		return ""
	}
	return string(suffix.Registered(n))
}

// related reports whether two names have the same registered domain.
func related(a, b string) bool {
	return a == b || registered(a) != "" && registered(a) == registered(b)
}

// authorSignature reports whether the author's domain signed the message, and
// whether a signature by it, or by a domain below it, no longer matches. broken
// is never true for a message without the trait broken_author_signature, so a
// rule that asks for the trait matches every message counted here.
func (r *Record) authorSignature() (broken, signed bool) {
	for _, s := range r.Signatures {
		if !related(s.Domain, r.Author) {
			continue
		}
		signed = true
		below := s.Domain == r.Author || strings.HasSuffix(s.Domain, "."+r.Author)
		broken = broken || below && msgauth.IsBroken(s.Reason)
	}
	return broken, signed
}

// srs reports whether a forwarder rewrote the return path.
func (r *Record) srs() bool { return mailaddr.IsSRS(strings.TrimPrefix(r.MailFrom, "<")) }

// Sources returns the sources with at least the given number of failures, the
// surest and largest first.
func (f *Finder) Sources(least int) []*Source {
	var out []*Source
	for _, s := range f.sources {
		if s.Failures < max(1, least) {
			continue
		}
		s.Authors, s.IntactAuthors = len(s.authors), len(s.intact)
		s.Confidence = s.confidence()
		if !s.more {
			s.Names = slices.Sorted(maps.Keys(s.names))
		}
		out = append(out, s)
	}
	rank := map[Confidence]int{High: 0, Medium: 1, Low: 2}
	slices.SortFunc(out, func(a, b *Source) int {
		return cmp.Or(rank[a.Confidence]-rank[b.Confidence], b.Failures-a.Failures,
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Value, b.Value))
	})
	return out
}

// Bounds from which a source is taken for a forwarder.
const (
	highFailures   = 10
	highAuthors    = 3
	highIntact     = 3 // authors
	mediumFailures = 5
	mediumAuthors  = 2
)

// confidence depends on what a spoofer cannot write. Mail that passes DMARC by
// the signatures of several authors came through the source unchanged, so the
// source does carry authors' mail. Broken signatures and rewritten return paths
// explain the failures, but anybody can write those, so alone they prove
// nothing. If the SPF record of an author excludes the host, the confidence is
// at most medium. An abused provider sends mail without any signature of the
// author's.
func (s *Source) confidence() Confidence {
	handled := 10 * max(s.Broken, s.SRS) // in tenths of the failures
	switch {
	case s.Failures >= highFailures && s.Authors >= highAuthors && s.IntactAuthors >= highIntact && s.AuthorSPFFail == 0 &&
		handled >= 8*s.Failures && 10*s.Bare <= 2*s.Failures && s.Kind != Client:
		return High
	case s.Failures >= mediumFailures && s.Authors >= mediumAuthors && s.IntactAuthors > 0 && handled >= 5*s.Failures:
		return Medium
	}
	return Low
}
