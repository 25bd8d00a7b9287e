package console

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
)

// offer is a text that a postmaster may want to copy.
type offer struct {
	ID, Title, Text, Hint string
	Lines                 int
}

// ruleLife is how long an offered rule applies. A rule that nobody looks after must end.
const ruleLife = 90 * 24 * time.Hour

// plainID matches an ID that needs no quotes in a shell and cannot be read as an option.
var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// offers returns what can be copied from the page of a decision.
func offers(d *recent.Entry, now time.Time) (out []offer) {
	switch {
	case d.ID != "" && plainID.MatchString(d.ID):
		out = append(out, offer{"copy-command", "Command that prints this explanation", "sekimori explain --id " + d.ID, "", 1})
	case plainID.MatchString(d.QueueID):
		out = append(out, offer{"copy-command", "Command that prints this explanation", "sekimori explain --queue-id " + d.QueueID, "", 1})
	}
	if text, hint := rule(d, now); text != "" {
		out = append(out, offer{"copy-rule", "Rule for policy.overrides that accepts such mail", text, hint, 5})
	}
	return out
}

// rule returns a rule of policy.overrides, in YAML, that accepts mail as this message, and in words
// what it accepts. It returns "" for a message that needs no rule, or to which no rule would apply.
//
// A rule that names only the author would accept every forgery of the author. So the rule also
// names what a stranger cannot write into a message: a signature that passes, or a domain for which
// SPF passes, or the client.
func rule(d *recent.Entry, now time.Time) (text, hint string) {
	e := d.Evaluation
	harsh := slices.Contains([]policy.Action{policy.Reject, policy.Quarantine, policy.Tag}, d.Verdict.Action)
	if e == nil || !harsh || d.Verdict.Rule != "" || !plainID.MatchString(d.ID) ||
		e.DMARC.Result != dmarc.ResultFail && e.DMARC.Result != dmarc.ResultNone || !named(e.From.AuthorDomain) {
		return "", ""
	}
	key, value, words := evidence(e)
	if key == "" {
		return "", ""
	}
	text = fmt.Sprintf("- id: accept-%s\n  reason: %s\n  expires: %s\n  when: {author: [%q], %s: [%q], dmarc: [%s]}\n  then: accept",
		d.ID, strconv.QuoteToASCII("message "+d.QueueID), now.Add(ruleLife).UTC().Format(time.DateOnly),
		e.From.AuthorDomain, key, value, e.DMARC.Result)
	return text, fmt.Sprintf("Accepts mail of %s %s, although nothing of %s authenticates. "+
		"Add it only if whoever sends it may write in the name of %[1]s.", e.From.AuthorDomain, words, e.From.AuthorDomain)
}

// evidence returns a condition of a rule that the message fulfils and that is evidence (see
// policy.CheckRule), and in words what it asks for.
func evidence(e *msgauth.Evaluation) (key, value, words string) {
	for _, s := range e.DKIM {
		if s.Result == dkim.Pass && named(s.Domain) {
			return "dkim", string(s.Domain), "with a valid signature of " + string(s.Domain)
		}
	}
	if e.MailFrom.Result == spf.Pass && named(e.MailFrom.Domain) {
		return "spf", string(e.MailFrom.Domain), "whose envelope sender is of " + string(e.MailFrom.Domain) + " and passes SPF"
	}
	if client := e.Session.Client.Unmap().WithZone(""); client.IsValid() {
		return "client", netip.PrefixFrom(client, client.BitLen()).String(), "that comes from " + client.String()
	}
	return "", "", ""
}

// named reports whether a rule can name the domain.
func named(d dns.Name) bool {
	p, err := policy.ParsePattern(string(d))
	return err == nil && string(p) == string(d)
}
