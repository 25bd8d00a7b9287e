package mark

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/svg"
)

// undecided is an error that is not the certificate's fault and may be gone later.
type undecided struct{ error }

// add adds a check. err says what is wrong and what to change. If it is nil, the detail says what was
// found.
func (j *Judgement) add(word string, err error, detail string, args ...any) {
	check := bimi.Check{Word: word, OK: err == nil}
	if err != nil {
		check.Detail = err.Error()
		j.failed(word, err)
	} else {
		check.Detail = fmt.Sprintf(detail, args...)
	}
	j.Checks = append(j.Checks, check)
}

// failed keeps the first failure. A fault of the certificate counts more than what is undecided.
func (j *Judgement) failed(word string, err error) {
	var open undecided
	switch {
	case errors.As(err, &open):
		if j.Result == "" {
			j.Result, j.Reason = bimi.TempError, word
		}
	case j.Result != bimi.Fail:
		j.Result, j.Reason = bimi.Fail, word
	}
}

// decided sets what follows from the checks.
func (j *Judgement) decided() Judgement {
	switch j.Result {
	case bimi.Fail:
		j.Authority, j.SVG, j.Until = bimi.AuthorityFail, nil, time.Time{}
	case bimi.TempError:
		j.Authority, j.Until = bimi.AuthorityNone, time.Time{}
	default:
		j.Result, j.Authority = bimi.Pass, bimi.AuthorityPass
	}
	return *j
}

// drawable checks the picture, and returns it if it may be shown.
func (j *Judgement) drawable(picture []byte) []byte {
	plain, err := svg.Check(picture)
	var told []string
	for _, p := range svg.Problems(err) {
		told = append(told, p.String())
	}
	if err != nil {
		err = errors.New(strings.Join(told, "; "))
	}
	j.add(wordPicture, err, "%d octets of SVG Tiny Portable/Secure", len(plain))
	return plain
}

func listed(names []string) string { return strings.Join(names, ", ") }

// day writes a date for a person.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
