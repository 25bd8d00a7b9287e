// Package forwarders finds, in what the daemon decided, the hosts through which
// wanted mail comes that fails DMARC on the way: forwarders and mailing lists.
// It only proposes; anybody can send mail that looks forwarded, so that somebody
// who knows the host has to confirm each.
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

// Bounds on what is remembered; strangers choose names and addresses.
const (
	maxSources = 20_000 // what is beyond them is counted, not looked at
	maxAuthors = 200    // author domains of a source
	maxNames   = 5      // client names of a source that are listed one by one
)

// Record is what is known of one message; the log and the daemon's memory both
// have it.
type Record struct {
	Client      netip.Addr
	IPRev       iprev.Status
	IPRevName   string // verified
	MailFrom    string
	SPF         spf.Result
	SPFDomain   string
	Author      string
	Signatures  []Signature
	ARCSealer   string // newest seal of a valid chain
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

// Kind is by what a source is known, the best evidence first. The words are the
// keys of a rule.
type Kind string

// The kinds.
const (
	ARCSealer  Kind = "arc_sealer"
	DKIM       Kind = "dkim"        // d= of a passing signature that is not the author's
	SPF        Kind = "spf"         // the envelope domain, where SRS rewrote it and SPF passes
	ClientName Kind = "client_name" // verified by iprev; value is the domain of the names
	Client     Kind = "client"      // the /24 or /64
)

// Confidence is how much speaks for a forwarder.
type Confidence string

// The confidences.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low" // it may as well be a spoofer
)

// Source is where failing mail comes from.
type Source struct {
	Kind       Kind       `json:"kind"`
	Value      string     `json:"value"`
	Confidence Confidence `json:"confidence"`
	// Messages counts all of this source, Failures those that fail DMARC, and
	// Harmed those of them that were, or without mode monitor would have been,
	// quarantined or rejected.
	Messages int `json:"messages"`
	Failures int `json:"failures"`
	Harmed   int `json:"harmed"`
	// Authors counts the distinct author domains of the failures, up to 200.
	Authors int `json:"authors"`
	// Intact counts messages whose author's signature survived, so that DMARC
	// passes although SPF is not aligned: nobody but their authors can write
	// these. IntactAuthors counts the distinct author domains, up to 200.
	Intact        int `json:"intact"`
	IntactAuthors int `json:"intact_authors"`
	// Broken counts failures with a signature of the author's domain that no
	// longer matches the message; Bare those without any signature of it.
	Broken int `json:"broken"`
	Bare   int `json:"bare"`
	// SRS counts failures with a return path that a forwarder rewrote.
	SRS int `json:"srs"`
	// AuthorSPFFail counts failures of which SPF of the author's own domain says
	// that the source may not send for it, as of a spoof.
	AuthorSPFFail int `json:"author_spf_fail"`
	// Names are the verified client names, if they are few.
	Names []string `json:"names,omitempty"`

	authors map[string]bool
	intact  map[string]bool // authors
	names   map[string]bool
	more    bool // there are more names
}

type key struct {
	kind  Kind
	value string
}

// Finder gathers sources.
type Finder struct {
	sources map[key]*Source
	// Records counts what was added, Dropped those of sources beyond the bound.
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

// source names the best evidence of who handed the message over, whatever the
// author's domain has to say.
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

// related reports whether two names belong to one owner.
func related(a, b string) bool {
	return a == b || registered(a) != "" && registered(a) == registered(b)
}

// authorSignature reports whether the author's domain signed the message, and
// whether a signature by it, or by a domain below, no longer matches. That is
// the trait broken_author_signature at its narrowest: a rule that asks for the
// trait matches what is counted here.
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

// Sources returns those with at least least failures, the surest and largest
// first.
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
		return cmp.Or(rank[a.Confidence]-rank[b.Confidence], b.Failures-a.Failures, strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Value, b.Value))
	})
	return out
}

// What it takes to be taken for a forwarder.
const (
	highFailures   = 10
	highAuthors    = 3
	highIntact     = 3 // authors
	mediumFailures = 5
	mediumAuthors  = 2
)

// confidence is by what a spoofer cannot write: mail that passes DMARC by the
// signatures of several authors came through the source unchanged, so authors'
// mail does come through it. Broken signatures and rewritten return paths say
// what became of the rest, but anybody can write those, and then they prove
// nothing alone. A host that the SPF record of an author excludes is at most
// likely; an abused provider sends mail without any signature of the author's.
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
