package reporting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// Suppression is a destination that gets no mail, or that had failures.
type Suppression struct {
	Target string    `json:"target"` // an address, or "@" and a domain
	Since  time.Time `json:"since"`
	// Until is missing if the destination still gets mail and only had failures.
	Until   *time.Time `json:"until,omitempty"`
	Active  bool       `json:"active"`  // whether it gets no mail now
	Strikes int        `json:"strikes"` // windows whose reports came back
	Reason  string     `json:"reason"`
	By      string     `json:"by"` // bounce, refusal or operator
}

// Suppressions is the answer of "sekimori report suppress list".
type Suppressions struct {
	Suppressions []Suppression `json:"suppressions"` // by target
}

// ListSuppressions returns the suppressed destinations, and those with failures.
func ListSuppressions(ctx context.Context, s report.Store, now time.Time) (*Suppressions, error) {
	all, err := s.Suppressions(ctx)
	if err != nil {
		return nil, err
	}
	out := &Suppressions{Suppressions: []Suppression{}}
	for _, one := range all {
		shown := Suppression{Target: one.Target, Since: one.Since.UTC(), Active: one.Suppressed(now), Strikes: one.Strikes, Reason: one.Reason, By: one.By}
		if !one.Until.IsZero() {
			until := one.Until.UTC()
			shown.Until = &until
		}
		out.Suppressions = append(out.Suppressions, shown)
	}
	slices.SortFunc(out.Suppressions, func(a, b Suppression) int { return strings.Compare(a.Target, b.Target) })
	return out, nil
}

// Text writes the list for a person.
func (l *Suppressions) Text(out io.Writer) error {
	if len(l.Suppressions) == 0 {
		_, err := fmt.Fprintln(out, "No destination is suppressed.")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DESTINATION\tSUPPRESSED UNTIL\tSTRIKES\tBY\tREASON")
	for _, s := range l.Suppressions {
		until := "no"
		if s.Until != nil {
			until = stamp(*s.Until)
			if !s.Active {
				until = "over since " + until
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", printable.Value(s.Target), until, s.Strikes, printable.Value(s.By), printable.Value(s.Reason))
	}
	return t.Flush()
}

// longestSuppression is the longest time for which an operator can suppress a destination. For ever, there
// is report.aggregate.never.
const longestSuppression = 10 * 366 * 24 * time.Hour

// Suppress suppresses a destination for an operator.
func Suppress(ctx context.Context, s report.Store, target string, d time.Duration, reason string, now time.Time) error {
	target, err := parseTarget(target)
	switch {
	case err != nil:
		return err
	case d <= 0 || d > longestSuppression:
		return fmt.Errorf("%w: --for %v is not between a second and ten years; for ever, write the destination into report.aggregate.never", ErrUse, d)
	case len(reason) > 200 || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: --reason has more than 200 octets or a control character", ErrUse)
	}
	// The strikes stay: a destination that came back twice is not new when the operator's time is over.
	old, err := s.Suppression(ctx, target)
	if err != nil && !errors.Is(err, report.ErrUnknown) {
		return err
	}
	return s.Suppress(ctx, report.Suppression{Target: target, Since: now.UTC(), Until: now.UTC().Add(d), Strikes: old.Strikes, Window: old.Window,
		Reason: reason, By: report.ByOperator})
}

// Unsuppress lifts the suppression of a destination and forgets its strikes.
func Unsuppress(ctx context.Context, s report.Store, target string) error {
	target, err := parseTarget(target)
	if err != nil {
		return err
	}
	if err = s.Unsuppress(ctx, target); errors.Is(err, report.ErrUnknown) {
		return fmt.Errorf(`%s is not suppressed; "sekimori report suppress list" shows what is`, target)
	}
	return err
}

// parseTarget returns an address or "@domain" as the store has it: the domain in A-labels and lower
// case.
func parseTarget(text string) (string, error) {
	local, domain, _ := strings.Cut(text, "@")
	name, err := dns.ParseHostname(domain) // refuses "", too
	if err != nil || strings.ContainsFunc(local, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<>[\]`, r) }) {
		return "", fmt.Errorf(`%w: %q is neither an address such as rua@shop.example nor "@" and a domain such as @shop.example`, ErrUse, text)
	}
	return report.Target(local + "@" + string(name)), nil
}
