// Package bimi finds out whether the author's mark may be shown beside a message, and which mark it is
// (draft-brand-indicators-for-message-identification, text of -12). It asks DNS; it fetches nothing. The
// certificate and the picture come from an [Indicators], which fetches them in the background.
package bimi

import (
	"context"
	"time"

	"sekimori/internal/dns"
)

// Result is a result of BIMI, as Authentication-Results has it.
type Result string

// The results.
const (
	Pass      Result = "pass"      // the mark may be shown
	None      Result = "none"      // there is no record, or no certificate vouches for the mark
	Fail      Result = "fail"      // the record, the certificate or the picture is wrong
	TempError Result = "temperror" // DNS or the certificate's revocation list is not available
	Declined  Result = "declined"  // the record says that the domain takes no part
	Skipped   Result = "skipped"   // the message is not eligible, or the mark is not fetched yet
)

// Authority is the value of policy.authority.
type Authority string

// The authorities.
const (
	AuthorityPass Authority = "pass" // a mark certificate vouches for the mark
	AuthorityFail Authority = "fail"
	AuthorityNone Authority = "none" // no certificate was checked
)

// Query asks for the mark of one assertion record.
type Query struct {
	// Domain is the domain under which the record was found: the Author Domain or its Organizational
	// Domain. Selector is the record's first label. A mark certificate must be for Domain, or for
	// <Selector>._bimi.<Domain>.
	Domain   dns.Name
	Selector string
	// Organization is the author's Organizational Domain. Limits on fetching count by it.
	Organization dns.Name
	// Location is the tag l=, and Evidence the tag a=: https URIs, already checked, or "".
	Location, Evidence string
}

// Check is one thing that was looked at, in the order in which it was. A person reads it.
type Check struct {
	Word   string `json:"word"` // such as "chain" or "san", one of a fixed list
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what was found, and what to change if OK is false
}

// Mark is a picture, and the certificate that vouches for it. It does not change once it is made.
type Mark struct {
	SVG []byte // uncompressed, checked; at most 32 KiB
	// Certified means that a mark certificate holds this picture. The fields below are then set.
	Certified bool
	Type      string    // the mark type of the certificate's subject, such as "Registered Mark"
	Owner     string    // the organization of the certificate's subject
	Issuer    string    // the organization of its issuer
	Serial    string    // hexadecimal
	NotAfter  time.Time // when the first certificate of the chain ends
	// Same means that the picture at Query.Location is the certificate's, or that there is no Location.
	Same bool

	hash, indicator string // set by Prepared
}

// Answer is what is known of a mark.
type Answer struct {
	// Result is Pass, Fail or TempError if the mark was fetched and judged; it is Skipped if it was not
	// (yet), and None if the record has no certificate and one is asked for.
	Result    Result
	Authority Authority
	Reason    string // one of a fixed list of words, see the metrics; "" if Result is Pass
	Mark      *Mark  // nil unless Result is Pass
	Checks    []Check
	// Fetched is when the mark was judged last. Until is when it must be fetched again.
	Fetched, Until time.Time
}

// Indicators knows marks that were fetched. Find does not wait for a web server, unless the operator
// allows that (bimi.wait). It may begin to fetch what it does not know, so only messages that passed
// DMARC and are otherwise eligible may ask.
type Indicators interface {
	Find(ctx context.Context, q Query) Answer
}

// MarkType is the type of a certified mark, as the subject of its certificate has it (attribute
// 1.3.6.1.4.1.53087.1.13).
type MarkType string

// The mark types of the requirements for mark certificates.
const (
	RegisteredMark         MarkType = "Registered Mark"          // a registered trademark
	GovernmentMark         MarkType = "Government Mark"          // granted to an authority by law
	PriorUseMark           MarkType = "Prior Use Mark"           // shown in public for at least a year
	ModifiedRegisteredMark MarkType = "Modified Registered Mark" // a registered trademark with small changes
)

// MarkTypes lists every mark type.
func MarkTypes() []MarkType {
	return []MarkType{RegisteredMark, GovernmentMark, PriorUseMark, ModifiedRegisteredMark}
}

// Unfetched is an [Indicators] that fetches nothing and knows no mark.
type Unfetched struct{}

// Find implements [Indicators].
func (Unfetched) Find(context.Context, Query) Answer {
	return Answer{Result: Skipped, Reason: ReasonNotFetched, Authority: AuthorityNone,
		Checks: []Check{{Word: "fetch", Detail: "certificate and picture are not fetched here"}}}
}
