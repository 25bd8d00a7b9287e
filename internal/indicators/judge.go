package indicators

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/bimi/svg"
	"sekimori/internal/webfetch"
)

// The reasons of answers for which a fetch is to blame. All others are words of package mark.
const (
	ReasonUnreachable = "unreachable"  // the web server gives nothing at present
	ReasonFetch       = "fetch_failed" // what the record names is not there, or may not be fetched
)

// The words of the checks that are added to those of package mark.
const (
	wordEvidence = "evidence" // the certificate was fetched
	wordLocation = "location" // the picture was fetched, and is that of the certificate
	wordPicture  = "picture"  // the picture may be shown
)

// Reasons returns all words that Answer.Reason may have, without those of package mark.
func Reasons() []string {
	return []string{ReasonNotFetched, ReasonNotEstablished, ReasonNoCertificate, ReasonInternal, ReasonUnreachable, ReasonFetch, wordPicture}
}

// Fetch fetches a URL, as [webfetch.Client.Fetch] does. Its error is a *webfetch.Error.
type Fetch func(ctx context.Context, kind webfetch.Kind, url string) ([]byte, error)

// Judge fetches a mark and judges it.
type Judge struct {
	Fetch Fetch
	Marks mark.Rules
	// RequireCertificate means that there is no mark without a certificate.
	RequireCertificate bool
	Lists              *Lists // of revoked certificates, shared by all that judge
}

// Rules returns a digest of the settings.
func (j *Judge) Rules() Rules {
	h := sha256.New()
	add := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	add(fmt.Append(nil, format, " ", j.RequireCertificate, j.Marks.Pilot, len(j.Marks.Roots), len(j.Marks.Types)))
	for _, c := range j.Marks.Roots {
		add(c.Raw)
	}
	for _, t := range j.Marks.Types {
		add([]byte(t))
	}
	for _, l := range j.Marks.Logs {
		id := l.ID()
		add(id[:])
	}
	return Rules(h.Sum(nil))
}

// judged is what came of fetching a mark.
type judged struct {
	bimi.Answer
	// Ends is when a good answer must not be used any more, even if there is no newer one: a certificate
	// has ended by then, or a revocation list is a day overdue.
	Ends time.Time `json:"ends,omitzero"`
}

// Check fetches a mark now and judges it, whoever the domain is. It is for commands.
func (j *Judge) Check(ctx context.Context, q bimi.Query, now time.Time) bimi.Answer {
	return j.judge(ctx, q, now, func(context.Context) error { return nil }).Answer
}

// CheckFile judges a mark certificate that is not published yet, for the domain of q. It fetches only the
// revocation lists that the certificate names.
func (j *Judge) CheckFile(ctx context.Context, text []byte, q bimi.Query, now time.Time) bimi.Answer {
	var a judged
	j.vouched(ctx, &a, text, q, now, j.Fetch)
	return a.Answer
}

// judge fetches a mark and judges it. It calls pace before each fetch.
func (j *Judge) judge(ctx context.Context, q bimi.Query, now time.Time, pace func(context.Context) error) judged {
	fetch := func(ctx context.Context, kind webfetch.Kind, url string) ([]byte, error) {
		if err := pace(ctx); err != nil {
			return nil, &webfetch.Error{Result: webfetch.Stopped, URL: url, Temporary: true, Err: err}
		}
		return j.Fetch(ctx, kind, url)
	}
	var a judged
	if q.Evidence == "" {
		a = selfAsserted(ctx, q, fetch)
	} else {
		a = j.certified(ctx, q, now, fetch)
	}
	a.Fetched = now
	if a.Result != bimi.Pass {
		a.Mark, a.Until, a.Ends = nil, time.Time{}, time.Time{}
		return a
	}
	a.Mark = a.Mark.Prepared()
	if until := now.Add(keepGood); a.Until.IsZero() || a.Until.After(until) {
		a.Until = until
	}
	if ends := a.Until.Add(keepStale); a.Ends.IsZero() || a.Ends.After(ends) {
		a.Ends = ends
	}
	return a
}

// selfAsserted judges a mark for which no certificate vouches.
func selfAsserted(ctx context.Context, q bimi.Query, fetch Fetch) (a judged) {
	a.Authority = bimi.AuthorityNone
	text, err := fetch(ctx, webfetch.Picture, q.Location)
	if err != nil {
		a.failed(wordLocation, err)
		return a
	}
	a.good(wordLocation, fmt.Sprintf("%d octets from %s", len(text), q.Location))
	plain, err := svg.Check(text)
	if err != nil {
		a.Result, a.Reason = bimi.Fail, wordPicture
		a.Checks = append(a.Checks, bimi.Check{Word: wordPicture, Detail: problems(err)})
		return a
	}
	a.good(wordPicture, fmt.Sprintf("%d octets of SVG Tiny Portable/Secure", len(plain)))
	a.Result, a.Mark = bimi.Pass, &bimi.Mark{SVG: plain, Same: true}
	return a
}

// certified judges a mark with its certificate.
func (j *Judge) certified(ctx context.Context, q bimi.Query, now time.Time, fetch Fetch) (a judged) {
	a.Authority = bimi.AuthorityNone
	text, err := fetch(ctx, webfetch.Certificate, q.Evidence)
	if err != nil {
		a.failed(wordEvidence, err)
		return a
	}
	a.good(wordEvidence, fmt.Sprintf("%d octets from %s", len(text), q.Evidence))
	j.vouched(ctx, &a, text, q, now, fetch)
	if a.Mark != nil {
		a.Mark.Same = a.same(ctx, q, fetch)
	}
	return a
}

// vouched judges a certificate. The revocation lists that it names are fetched only if it leads to a mark
// root: a stranger could otherwise choose them.
func (j *Judge) vouched(ctx context.Context, a *judged, text []byte, q bimi.Query, now time.Time, fetch Fetch) {
	e := mark.Evidence{PEM: text, Domain: q.Domain, Selector: q.Selector}
	verdict := j.Marks.Judge(e, now)
	var next time.Time
	if verdict.Result != bimi.Fail && len(verdict.CRLs) > 0 {
		e.CRLs, next = j.Lists.get(ctx, verdict.CRLs, now, fetch)
		verdict = j.Marks.Judge(e, now)
	}
	a.Result, a.Authority, a.Reason = verdict.Result, verdict.Authority, verdict.Reason
	a.Checks = append(a.Checks, verdict.Checks...)
	if a.Mark = verdict.Mark(); a.Mark == nil {
		return
	}
	a.Until, a.Ends = verdict.Until, verdict.Until
	if !next.IsZero() && next.Before(a.Until) {
		a.Until = maxTime(next, now.Add(keepBad)) // a list that is overdue by less than a day serves
	}
}

// same reports whether the picture at the record's location is that of the certificate. A record whose
// pictures differ keeps its mark, that of the certificate.
func (a *judged) same(ctx context.Context, q bimi.Query, fetch Fetch) bool {
	if q.Location == "" {
		return true
	}
	text, err := fetch(ctx, webfetch.Picture, q.Location)
	if err != nil {
		a.Checks = append(a.Checks, bimi.Check{Word: wordLocation, Detail: cause(err) + "; the certificate's picture is used, and l= is not passed on"})
		return false
	}
	plain, err := svg.Uncompress(text)
	switch {
	case err != nil:
		a.Checks = append(a.Checks, bimi.Check{Word: wordLocation, Detail: problems(err) + "; the certificate's picture is used, and l= is not passed on"})
		return false
	case !bytes.Equal(plain, a.Mark.SVG):
		a.Checks = append(a.Checks, bimi.Check{Word: wordLocation, Detail: "it is not the picture of the certificate: publish that one at l=; " +
			"the certificate's picture is used, and l= is not passed on"})
		return false
	}
	a.good(wordLocation, "it is the picture of the certificate")
	return true
}

func (a *judged) good(word, detail string) {
	a.Checks = append(a.Checks, bimi.Check{Word: word, OK: true, Detail: detail})
}

// failed sets the result of a fetch that failed.
func (a *judged) failed(word string, err error) {
	a.Result, a.Reason = bimi.Fail, ReasonFetch
	if e := (*webfetch.Error)(nil); !errors.As(err, &e) || e.Temporary {
		a.Result, a.Reason = bimi.TempError, ReasonUnreachable
	}
	a.Checks = append(a.Checks, bimi.Check{Word: word, Detail: cause(err)})
}

// cause says why a fetch failed, without the name of a package.
func cause(err error) string {
	if e := (*webfetch.Error)(nil); errors.As(err, &e) {
		return e.Err.Error() + " (" + e.URL + ")"
	}
	return err.Error()
}

// problems says what is wrong with a picture.
func problems(err error) string {
	var told []string
	for _, p := range svg.Problems(err) {
		told = append(told, p.String())
	}
	return strings.Join(told, "; ")
}
