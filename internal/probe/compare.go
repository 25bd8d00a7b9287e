package probe

import (
	"fmt"
	"slices"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/judge"
	"sekimori/internal/policy"
)

// Advice for the problems.
const (
	adviceConfig = "The running daemon may have another configuration than the file. Compare them by " +
		"\"sekimori config check --against-running FILE\", then run \"sekimori reload\"."
	adviceDNS     = "See the DNS lines of \"sekimori status\", and whether dns.servers answer on this host."
	adviceRefused = "Read the reply. If the daemon's log has no record of the message, the MTA itself refused it: let --rcpt name a mailbox " +
		"for which the MTA takes mail from this address. Otherwise see \"sekimori status\". "
	adviceOur = "This command asks the same DNS servers as the daemon (dns.servers, otherwise /etc/resolv.conf). See whether they answer."
)

// compare fills in how Came differs from Meant. d is the decision behind Meant.
func (p *Play) compare(d *judge.Decision) {
	switch {
	case p.Came.Fate == NoAnswer:
		p.problem("The daemon took the connection, but did not answer in time.",
			"See \"sekimori status\" and the daemon's log. If it is busy, see the limits in deploy/docs/operate.md.")
		return
	case !p.sameFate():
		p.otherFate(d)
		return
	case codes(p.Came.Reply) != codes(p.Meant.Reply):
		p.problem(fmt.Sprintf("The reply is %q, but %q was meant.", codes(p.Came.Reply), codes(p.Meant.Reply)), adviceConfig)
	}
	if p.Came.Fate == Delivered || p.Came.Fate == Held {
		p.compareFields()
	}
	if len(d.Verdict.Missing) > 0 && p.Name != silentDomain {
		p.Notes = append(p.Notes, "DNS gave no answer to a question that decides on this message. "+adviceDNS)
	}
	if d.Skipped == policy.ReasonTrusted {
		p.Notes = append(p.Notes,
			fmt.Sprintf("The address %s is in trusted.networks, so this message shows nothing about what strangers get.", p.Client))
	}
}

// sameFate reports whether the fate is as meant. An SMTP client cannot see whether a message that the
// MTA accepted is held.
func (p *Play) sameFate() bool {
	if p.Came.Fate == Accepted {
		return p.Meant.Fate == Delivered || p.Meant.Fate == Held
	}
	return p.Came.Fate == p.Meant.Fate
}

func (p *Play) problem(what, toDo string) { p.Problems = append(p.Problems, Problem{what, toDo}) }

// otherFate names the problem of a message whose fate is not as meant.
func (p *Play) otherFate(d *judge.Decision) {
	what := fmt.Sprintf("The message was %s, but %s was meant.", p.Came.Fate, p.Meant.Fate)
	switch {
	case len(d.Verdict.Missing) > 0:
		p.problem(what+" What is meant is not certain, because this command got no answer from DNS.", adviceOur)
	case p.Name == overSMTP && p.Came.Fate != Accepted:
		p.problem(what, adviceRefused+adviceConfig)
	case p.Came.Fate == Deferred && strings.Contains(p.Came.Reply, " 4.7."), slices.ContainsFunc(p.Came.Results, undecided):
		p.problem(what+" The daemon got no answer from DNS.", adviceDNS)
	case p.Came.Fate == Deferred:
		p.problem(what+" The daemon has no room, or is being stopped.", "See \"sekimori status\", limits.max_sessions and limits.memory.")
	case p.Came.Fate == Accepted:
		p.problem(what+" The MTA may not pass its mail on to the daemon.",
			"Send the message without --smtp. If the answer is then as meant, see smtpd_milters (Postfix) or INPUT_MAIL_FILTER (Sendmail).")
	default:
		p.problem(what, adviceConfig)
	}
}

// undecided reports whether a label says that DNS gave no answer that decides.
func undecided(label string) bool { return slices.Contains(methods(label), "dmarc="+noAnswer) }

// compareFields compares the results in our name. Their text may differ in details, such as a
// comment. The results of the methods must be the same, except where DNS gave no answer.
func (p *Play) compareFields() {
	if p.Came.Foreign != p.Meant.Foreign {
		p.problem(fmt.Sprintf("%d Authentication-Results fields of other hosts are left, but %d were meant.", p.Came.Foreign, p.Meant.Foreign),
			"Please report this as a bug.")
	}
	if len(p.Came.Results) != len(p.Meant.Results) {
		p.problem(fmt.Sprintf("The message has %d Authentication-Results fields in our name, but %d were meant.",
			len(p.Came.Results), len(p.Meant.Results)), "If authserv_id was changed in the file, run \"sekimori reload\". "+adviceConfig)
		return
	}
	for i := range p.Came.Results {
		if came, meant := id(p.Came.Results[i]), id(p.Meant.Results[i]); came != meant {
			p.problem(fmt.Sprintf("The label names the host %q, but %q was meant.", came, meant), adviceConfig)
			return
		}
		p.compareResults(methods(p.Came.Results[i]), methods(p.Meant.Results[i]))
	}
}

const noAnswer = "temperror" // the result if DNS gave no answer

func (p *Play) compareResults(came, meant []string) {
	if slices.Equal(came, meant) {
		return
	}
	what := fmt.Sprintf("The label says %q, but %q was meant.", strings.Join(came, " "), strings.Join(meant, " "))
	lacks := func(s string) bool { return strings.HasSuffix(s, "="+noAnswer) }
	switch {
	case slices.ContainsFunc(came, lacks) && !slices.ContainsFunc(meant, lacks):
		p.Notes = append(p.Notes, what+" The daemon did not wait for each answer of DNS (limits.shown_wait), or got none. Run the probe again; "+
			"if the note comes again, see the DNS lines of \"sekimori status\".")
	case slices.ContainsFunc(meant, lacks):
		p.Notes = append(p.Notes, what+" This command got no answer from DNS. "+adviceOur)
	default:
		p.problem(what, adviceConfig)
	}
}

// id returns the authserv-id at the beginning of an Authentication-Results field's value.
func id(value string) string {
	name, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(name)
}

// methods returns the results of a field, such as "spf=pass".
func methods(value string) (out []string) {
	f, err := authres.Parse(value)
	if err != nil {
		return []string{strings.TrimSpace(strings.TrimPrefix(value, id(value)))}
	}
	for _, r := range f.Results {
		out = append(out, r.Method+"="+r.Value)
	}
	return out
}

// codes returns the code and the enhanced code of an SMTP reply. The rest of the text may differ,
// because it has an ID of the message.
func codes(reply string) string {
	words := strings.Fields(reply)
	return strings.Join(words[:min(2, len(words))], " ")
}
