package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/mtaconf"
)

// CheckSendmail returns what is wrong with a sendmail.cf. The second result says what could not be
// judged.
func CheckSendmail(s *mtaconf.Sendmail, ours *Ours) (found []Finding, skipped []string) {
	c := &sendmailCheck{s: s, ours: ours}
	at := slices.IndexFunc(s.Filters, func(f mtaconf.Filter) bool { return ours.reaches(f.Network, f.Address, f.Address) })
	switch {
	case at >= 0:
		c.filter(&s.Filters[at])
	case ours.Unknown && len(s.Filters) > 0:
		c.skipped = append(c.skipped, "whether Sendmail asks sekimori: systemd opens its sockets, and only the running daemon knows them")
	default:
		c.add("milter_missing", "no filter of "+s.File+" is where sekimori listens", "mail is not verified", c.line())
	}
	if name := s.Macros["j"]; !strings.Contains(name, "$") {
		c.found = append(c.found, judgeName(ours.AuthservID, name)...)
	}
	return c.found, c.skipped
}

type sendmailCheck struct {
	s       *mtaconf.Sendmail
	ours    *Ours
	found   []Finding
	skipped []string
}

func (c *sendmailCheck) add(kind, what, why, fix string) {
	c.found = append(c.found, Finding{AreaMTA, kind, what, why, fix})
}

// line returns the line of sendmail.mc that names sekimori.
func (c *sendmailCheck) line() string {
	spec := c.ours.example()
	if a := c.ours.Listen; len(a) > 0 && a[0].Network == "inet" {
		if i := strings.LastIndexByte(a[0].Address, ':'); i >= 0 {
			spec = "inet:" + a[0].Address[i+1:] + "@" + strings.Trim(a[0].Address[:i], "[]")
		}
	}
	return "sendmail.mc: INPUT_MAIL_FILTER(`sekimori', `S=" + spec + ", F=T, T=C:30s;S:10s;R:10s;E:5m')dnl"
}

// filter judges the filter that is the daemon.
func (c *sendmailCheck) filter(f *mtaconf.Filter) {
	if c.ours.another(f.Network, f.Address) {
		c.found = judgeListener(f.Network, f.Address, "sendmail", c.ours, c.found)
		return
	}
	c.asked(f)
	switch {
	case f.Fail == "" && c.ours.Enforce:
		c.add("default_action", fmt.Sprintf("the filter %s has no F=", f.Name),
			"while the daemon does not answer, forged mail is delivered without a label and with forged results", c.line())
	case f.Fail == "R":
		c.add("default_action", fmt.Sprintf("the filter %s has F=R", f.Name),
			"while the daemon does not answer, for example during a restart, wanted mail is refused for good", c.line())
	}
	for _, timeout := range []struct {
		letter byte
		least  time.Duration
		why    string
	}{
		{'C', restart, "a restart of the daemon takes a few seconds"},
		{'S', restart, "a restart of the daemon takes a few seconds"},
		{'R', 2 * restart, "the daemon sends a sign of progress every 5 s, and a busy host needs some reserve"},
		{'E', c.ours.Budget, fmt.Sprintf("the daemon may wait %v for DNS (dns.message_budget) before it answers", c.ours.Budget)},
	} {
		if d, ok := f.Timeouts[timeout.letter]; ok && d < timeout.least {
			c.add("timeout", fmt.Sprintf("the timeout %c of the filter %s is %v", timeout.letter, f.Name, d),
				timeout.why+", and Sendmail would give up earlier", c.line())
		}
	}
	command := time.Hour // Sendmail's default
	if d, err := mtaconf.Duration(c.s.Options["Timeout.command"], time.Minute); err == nil {
		command = d
	}
	if command > c.ours.Idle {
		c.add("idle",
			fmt.Sprintf("Sendmail lets a client be silent for %v (Timeout.command), and the daemon closes the connection after %v",
				command, c.ours.Idle),
			"the rest of such a session is treated as if the daemon did not answer", "sendmail.mc: define(`confTO_COMMAND', `5m')dnl")
	}
	if f.Network == "unix" {
		c.found, c.skipped = judgeSocket(f.Address, c.ours, c.found, c.skipped)
	}
	c.found = judgeListener(f.Network, f.Address, "sendmail", c.ours, c.found)
}

// asked judges which listeners ask the filter, and in which order.
func (c *sendmailCheck) asked(f *mtaconf.Filter) {
	for i := range c.s.Daemons {
		d := &c.s.Daemons[i]
		submission := slices.Contains([]string{"587", "465", "submission", "smtps"}, daemonOption(d, "Port", "P"))
		if submission || isLoopback(daemonOption(d, "Addr", "A")) {
			continue
		}
		c.order(f, c.s.Asked(d), "the listener "+d.Name)
	}
	if len(c.s.Daemons) == 0 {
		c.order(f, c.s.Input, "Sendmail")
	}
}

func daemonOption(d *mtaconf.Daemon, names ...string) string {
	for _, name := range names {
		if v := d.Options[name]; v != "" {
			return v
		}
	}
	return ""
}

func (c *sendmailCheck) order(f *mtaconf.Filter, asked []string, who string) {
	switch at := slices.Index(asked, f.Name); {
	case at < 0:
		c.add("milter_missing", fmt.Sprintf("%s does not ask the filter %s", who, f.Name), "mail that comes in there is not verified",
			"sendmail.mc: INPUT_MAIL_FILTER instead of MAIL_FILTER, or InputMailFilters="+f.Name+" in DAEMON_OPTIONS")
	case at > 0:
		c.add("milter_before", fmt.Sprintf("%s asks the filter %s before sekimori", who, asked[0]),
			"if that filter changes a message (a footer, a subject tag), the signatures of the sender no longer verify",
			"sendmail.mc: put the INPUT_MAIL_FILTER line of sekimori before the others")
	}
}
