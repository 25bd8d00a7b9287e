package ledger

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sekimori/internal/dns"
)

// Kind is what stopped working for a sender.
type Kind string

// The kinds of breakages.
const (
	SelectorGone    Kind = "selector_gone"     // a key that signed much mail signs no more, and no other does
	SignatureFails  Kind = "signature_fails"   // signatures by a key that used to pass mostly fail
	SPFBroken       Kind = "spf_broken"        // SPF used to pass, and does not any more, while signatures do
	SPFAddressLost  Kind = "spf_address_lost"  // a network that still sends used to pass by SPF, and the record does not have it any more
	PassShareFallen Kind = "pass_share_fallen" // by 50 points
)

// Kinds lists all kinds.
var Kinds = []Kind{SelectorGone, SignatureFails, SPFBroken, SPFAddressLost, PassShareFallen}

// Breakage is a sender's own trouble, which the sender may not see.
type Breakage struct {
	Domain  dns.Name `json:"domain"`
	Kind    Kind     `json:"kind"`
	Subject string   `json:"subject"` // such as "d=… s=…"; "" if the kind says all
	// First is when it was found, Last when it was found again, and Ended when it was no longer so; zero
	// as long as it is.
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Ended    time.Time `json:"ended,omitzero"`
	Evidence string    `json:"evidence"` // a sentence with numbers
	Example  string    `json:"example"`  // an explanation id, or ""
}

// The rules of breakages.
const (
	// BreakageDays is how many days before the day in question are compared with it.
	BreakageDays = 14
	// leastCompared is how many of them must have mail.
	leastCompared = 7
	// leastUsual is how many messages a day must have passed by what is said to have broken, and
	// leastShare how many there must be for a share.
	leastUsual = 20
	leastShare = 50
	// fewer is the part of the usual number below which something counts as gone: a fifth.
	fewer = 0.2
	// fallen is how much of the share must be gone.
	fallen = 0.5
)

// FindBreakages looks for breakages of a domain. rows are those of the domain on BreakageDays+1 days up to
// today or more, of all groups, in ascending order of their days. The day in question is the current one
// from noon (UTC), if it has something to say, and otherwise the one before.
func FindBreakages(rows []Row, now time.Time) []Breakage {
	today := DayOf(now)
	if part := now.Sub(today.Time()).Hours() / 24; part >= 0.5 {
		if found := compare(rows, today, part); len(found) > 0 {
			return stamped(found, now)
		}
	}
	return stamped(compare(rows, today-1, 1), now)
}

func stamped(all []Breakage, now time.Time) []Breakage {
	for i := range all {
		all[i].First, all[i].Last = now.UTC(), now.UTC()
	}
	return all
}

// byDay adds up the groups of each day.
func byDay(rows []Row) (days []Row) {
	for i := range rows {
		r := rows[i]
		if n := len(days); n > 0 && days[n-1].Day == r.Day {
			last := &days[n-1]
			last.Add(r.Counts)
			for _, s := range r.Signers {
				last.Signers = addSigner(last.Signers, s)
			}
			for _, s := range r.Sending {
				last.Sending = addSending(last.Sending, s)
			}
			if r.Example != "" {
				last.Example = r.Example
			}
			continue
		}
		r.Signers, r.Sending = slices.Clone(r.Signers), slices.Clone(r.Sending)
		days = append(days, r)
	}
	return days
}

// compare compares a day with those before. part is how much of the day is over.
func compare(rows []Row, day Day, part float64) (found []Breakage) {
	var before []Row
	var now *Row
	all := byDay(rows)
	for i := range all {
		switch r := &all[i]; {
		case r.Day == day:
			now = r
		case r.Day < day && r.Day >= day-BreakageDays:
			before = append(before, *r)
		}
	}
	if now == nil || len(before) < leastCompared {
		return nil
	}
	usual := func(f func(*Row) int64) float64 { return part * MedianOf(before, f) }
	say := func(kind Kind, subject, evidence string, args ...any) {
		found = append(found, Breakage{Domain: now.Domain, Kind: kind, Subject: subject, Evidence: fmt.Sprintf(evidence, args...), Example: now.Example})
	}
	messages, passDKIM := usual(func(r *Row) int64 { return r.Messages }), usual(func(r *Row) int64 { return r.PassDKIM })
	for _, s := range signersOf(before) {
		of := func(r *Row) Signer { return signerOf(r, s) }
		pass := usual(func(r *Row) int64 { return of(r).Pass })
		if pass < leastUsual*part {
			continue
		}
		switch is := of(now); {
		case float64(is.Pass) >= fewer*pass:
		case is.Fail >= int64(leastUsual*part):
			say(SignatureFails, s, "%d signatures pass and %d fail; usually about %.0f pass", is.Pass, is.Fail, pass)
		case is.Pass+is.Fail == 0 && float64(now.PassDKIM) < fewer*passDKIM && float64(now.Messages) >= messages/2:
			say(SelectorGone, s, "no message is signed by it, and %d of %d pass by any signature; usually about %.0f are", now.PassDKIM, now.Messages, pass)
		}
	}
	if spf := usual(func(r *Row) int64 { return r.PassSPF }); spf >= leastUsual*part && float64(now.PassSPF) < fewer*spf {
		if pass := usual(func(r *Row) int64 { return r.Pass }); float64(now.Pass) >= pass/2 {
			say(SPFBroken, "", "%d messages pass by SPF; usually about %.0f do. %d pass by their signatures", now.PassSPF, spf, now.PassDKIM)
		}
	} else {
		for _, lost := range lostAddresses(before, now, part) {
			say(SPFAddressLost, lost.network.String(), "%s", lost.evidence)
		}
	}
	if share := MedianShare(before); now.Messages >= int64(leastShare*part) && messages >= leastShare*part && share-PassShare(now) >= fallen &&
		float64(now.Pass) < usual(func(r *Row) int64 { return r.Pass })/2 {
		say(PassShareFallen, "", "%.0f %% of %d messages pass; usually about %.0f %% do", 100*PassShare(now), now.Messages, 100*share)
	}
	return found
}

// lostAddress is a network that SPF permitted until lately, and that still sends.
type lostAddress struct {
	network  netip.Prefix
	evidence string
}

// lostAddresses looks for networks from which mail used to pass by SPF, and from which as much comes now that
// does not. Who forges mail of the domain cannot use its networks.
func lostAddresses(before []Row, now *Row, part float64) (all []lostAddress) {
	for _, is := range now.Sending {
		of := func(r *Row) *Sending {
			for i := range r.Sending {
				if r.Sending[i].Network == is.Network {
					return &r.Sending[i]
				}
			}
			return &Sending{}
		}
		pass := part * MedianOf(before, func(r *Row) int64 { return of(r).Pass })
		if pass < leastUsual*part || float64(is.Pass) >= fewer*pass || float64(is.Missed) < pass/2 {
			continue
		}
		changed := "its SPF record is the same, so one that it includes has changed"
		for i := len(before) - 1; i >= 0; i-- {
			if last := of(&before[i]); last.Pass > last.Missed {
				if last.Record != is.Record {
					changed = "the SPF record has changed since " + before[i].Day.Time().Format(time.DateOnly)
				}
				break
			}
		}
		all = append(all, lostAddress{is.Network, fmt.Sprintf("SPF passes for %d messages from there and does not for %d, of which %d are signed by the domain; usually it passes for about %.0f; %s",
			is.Pass, is.Missed, is.Signed, pass, changed)})
	}
	return all
}

// signersOf returns the names of all signers of some rows, each once.
func signersOf(rows []Row) (all []string) {
	for i := range rows {
		for _, s := range rows[i].Signers {
			if s.Selector != Others {
				all = append(all, s.subject())
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *Signer) subject() string { return "d=" + string(s.Domain) + " s=" + s.Selector }

func signerOf(r *Row, subject string) Signer {
	for _, s := range r.Signers {
		if s.subject() == subject {
			return s
		}
	}
	return Signer{}
}

// PassShare returns the part of a row's messages that passed, from 0 to 1.
func PassShare(r *Row) float64 {
	if r.Messages == 0 {
		return 0
	}
	return float64(r.Pass) / float64(r.Messages)
}

// MedianShare returns the median of the shares that passed, one for each row.
func MedianShare(rows []Row) float64 {
	shares := make([]float64, len(rows))
	for i := range rows {
		shares[i] = PassShare(&rows[i])
	}
	return median(shares)
}

// MedianOf returns the median of a number of each row.
func MedianOf(rows []Row, of func(*Row) int64) float64 {
	numbers := make([]float64, len(rows))
	for i := range rows {
		numbers[i] = float64(of(&rows[i]))
	}
	return median(numbers)
}

// median returns the lower median of the numbers, or 0 if there are none.
func median(numbers []float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	slices.Sort(numbers)
	return numbers[(len(numbers)-1)/2]
}
