// Package forwarders finds forwarders and mailing lists: hosts that pass on wanted mail, which
// then fails DMARC. It looks at the decisions of the daemon and only proposes rules. Anybody can
// send mail that looks forwarded, so a person who knows the host must confirm each rule.
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

// Limits of what a Finder remembers. Strangers choose the names and the addresses, so there could
// be any number of them.
const (
	maxSources = 20_000 // messages of further sources are counted in Dropped only
	maxAuthors = 200    // remembered author domains for each source
	maxNames   = 5      // remembered client names for each source; a rule lists them one by one
)

// Record has the facts about one message that a Finder needs. They are in the log, and in the
// decisions that the daemon keeps in memory.
type Record struct {
	Client      netip.Addr
	IPRev       iprev.Status
	IPRevName   string // client name that iprev verified
	MailFrom    string
	SPF         spf.Result
	SPFDomain   string
	Author      string
	Signatures  []Signature
	ARCSealer   string // domain of the newest ARC seal, if the chain is valid
	DMARC       dmarc.Result
	Policy      dmarc.Policy // the policy that the author's domain publishes
	AlignedDKIM bool
	AlignedSPF  bool
	Verdict     policy.Action
}

// Signature is one DKIM signature of the message.
type Signature struct {
	Result dkim.Result
	Domain string
	Reason dkim.Reason
}

// Kind says which property identifies a source. The values are also the names of conditions in
// rules.
type Kind string

// The kinds. A source is identified by the first kind in this list that applies to its messages.
const (
	ARCSealer  Kind = "arc_sealer"
	DKIM       Kind = "dkim"        // d= of a valid signature of a domain other than the author's
	SPF        Kind = "spf"         // domain of the envelope sender, if a forwarder rewrote it (SRS) and SPF passes
	ClientName Kind = "client_name" // registered domain of the client name that iprev verified
	Client     Kind = "client"      // network of the client address, a /24 or /64
)

// Confidence says how likely a source is a forwarder.
type Confidence string

// The values of Confidence.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low" // the source may just as well be a spoofer
)

// Source is a host or a group of hosts that sends mail that fails DMARC.
type Source struct {
	Kind       Kind       `json:"kind"`
	Value      string     `json:"value"`
	Confidence Confidence `json:"confidence"`
	// Messages counts all messages of this source. Failures counts the messages that fail DMARC.
	// Harmed counts the failures for which the verdict was quarantine or reject, also in monitor
	// mode.
	Messages int `json:"messages"`
	Failures int `json:"failures"`
	Harmed   int `json:"harmed"`
	// Authors counts the different author domains of the failures. It counts at most 200.
	Authors int `json:"authors"`
	// Intact counts messages that pass DMARC only because of a DKIM signature of the author's
	// domain. The source did not break this signature, and only the author's domain can make one.
	// IntactAuthors counts the different author domains of these messages. It counts at most 200.
	Intact        int `json:"intact"`
	IntactAuthors int `json:"intact_authors"`
	// Broken counts failures with a signature of the author's domain that no longer matches the
	// message. Bare counts failures without any signature of the author's domain.
	Broken int `json:"broken"`
	Bare   int `json:"bare"`
	// SRS counts failures whose return path was rewritten by a forwarder.
	SRS int `json:"srs"`
	// AuthorSPFFail counts failures in which SPF of the author's domain says that the source is not
	// allowed to send for the domain. SPF says this of a spoofed message, too.
	AuthorSPFFail int `json:"author_spf_fail"`
	// Names are the verified client names. If there are more than maxNames, Names is empty.
	Names []string `json:"names,omitempty"`

	authors map[string]bool
	intact  map[string]bool // author domains of the messages that Intact counts
	names   map[string]bool
	more    bool // the source has more client names than the field "names" can hold
}

type key struct {
	kind  Kind
	value string
}

// Finder groups messages by source.
type Finder struct {
	sources map[key]*Source
	// Records counts the messages that were added. Dropped counts those of them that were ignored
	// because there were maxSources other sources.
	Records, Dropped int
}

// New returns a Finder.
func New() *Finder { return &Finder{sources: map[key]*Source{}} }

// Add adds one message.
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
		if s.more = len(s.names) >= maxNames; !s.more {
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

// Identity returns by what the host that handed the message over is known best, as Add groups messages. ok
// is false if nothing is known of it.
func (r *Record) Identity() (kind Kind, value string, ok bool) {
	k, ok := r.source()
	return k.kind, k.value, ok
}

// source returns the best evidence of the host that handed the message over. A seal or a signature
// of the author's own domain is not evidence, because another host may have forwarded the message
// after it was sealed or signed.
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
	case r.IPRev == iprev.Pass && registered(r.IPRevName) != "":
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

// registered returns the registered domain of a name. It returns "" if the name has none or is not
// a domain name.
func registered(name string) string {
	n, _ := dns.ParseName(name) // with an error, the root, which has none
	return string(suffix.Registered(n))
}

// related reports whether two names have the same registered domain.
func related(a, b string) bool {
	return a == b || registered(a) != "" && registered(a) == registered(b)
}

// authorSignature reports two things. signed says that the message was signed by the author's
// domain, or by a domain with the same registered domain. broken says that a signature of the
// author's domain, or of a domain below it, no longer matches the message. If broken is true, the
// message has the trait broken_author_signature, so a rule with this trait matches the message.
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

// Sources returns the sources with at least the given number of failures, sorted by confidence and
// then by the number of failures.
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
	rank := func(c Confidence) int { return slices.Index([]Confidence{High, Medium, Low}, c) }
	slices.SortFunc(out, func(a, b *Source) int {
		return cmp.Or(rank(a.Confidence)-rank(b.Confidence), b.Failures-a.Failures,
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Value, b.Value))
	})
	return out
}

// These are the numbers that a source must reach to be treated as a forwarder with high or medium
// confidence.
const (
	highFailures   = 10
	highAuthors    = 3
	highIntact     = 3 // author domains of intact messages
	mediumFailures = 5
	mediumAuthors  = 2
)

// confidence depends on what a spoofer cannot write. A spoofer cannot make messages that pass DMARC
// by the signatures of several authors. If the source sends such messages, it passes on mail of
// these authors unchanged. Broken signatures and rewritten return paths explain why mail fails, but
// anybody can write those, so they prove nothing alone.
//
// The confidence is at most medium if the SPF record of an author does not allow the source. It is
// not high if many failures have no signature of the author at all, because an abused provider
// sends such mail.
func (s *Source) confidence() Confidence {
	handled := 10 * max(s.Broken, s.SRS) // failures that a broken signature or SRS explains, times 10
	switch {
	case s.Failures >= highFailures && s.Authors >= highAuthors && s.IntactAuthors >= highIntact && s.AuthorSPFFail == 0 &&
		handled >= 8*s.Failures && 10*s.Bare <= 2*s.Failures && s.Kind != Client:
		return High
	case s.Failures >= mediumFailures && s.Authors >= mediumAuthors && s.IntactAuthors > 0 && handled >= 5*s.Failures:
		return Medium
	}
	return Low
}
