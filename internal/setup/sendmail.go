package setup

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Sendmail is what was read about Sendmail.
type Sendmail struct {
	Path string // of sendmail.mc
	Text []byte
}

var (
	mcFilter  = regexp.MustCompile("(?m)^[ \t]*(?:INPUT_)?MAIL_FILTER\\(`?([A-Za-z0-9_-]+)'?.*$")
	mcMailer  = regexp.MustCompile("(?m)^[ \t]*MAILER\\(")
	mcList    = regexp.MustCompile("(?m)^[ \t]*define\\(`?confINPUT_MAIL_FILTERS'?.*$")
	mcInclude = regexp.MustCompile("(?m)^[ \t]*include\\(`?[^)]*sekimori\\.m(?:4|c)'?\\)")
	mcUser    = regexp.MustCompile("(?m)^[ \t]*define\\(`?confRUN_AS_USER'?,[ \t]*`?([^')]*)'?\\)")
)

// filterFlags is what a filter's line says besides its address. With F=T, the client must try
// again later if the filter does not answer. T= has the longest times to connect, to send, to read,
// and for the whole verdict.
const filterFlags = ", F=T, T=C:30s;S:10s;R:10s;E:5m"

// sendmail returns the address as INPUT_MAIL_FILTER names it.
func (e Endpoint) sendmail() string {
	if e.Network == "unix" {
		return "unix:" + e.Address
	}
	at := strings.LastIndexByte(e.Address, ':')
	host, port, scheme := strings.Trim(e.Address[:at], "[]"), e.Address[at+1:], "inet"
	if strings.Contains(host, ":") {
		scheme = "inet6"
	}
	return scheme + ":" + port + "@" + host
}

// PlanSendmail returns what has to change in sendmail.mc so that Sendmail asks the daemon d. What
// has to be run afterwards is left to the operator, because each system builds sendmail.cf in its
// own way.
func PlanSendmail(s Sendmail, d Daemon) Plan {
	plan := Plan{MTA: "sendmail"}
	plan.fact("Sendmail, built from %s", s.Path)
	if plan.taken(d) {
		return plan
	}
	all, systemd := d.listeners()
	at, ok := pick(all, func(e Endpoint) bool { return e.Network == "unix" })
	if !ok {
		at, ok = pick(all, func(e Endpoint) bool { return e.Network == "tcp" })
	}
	if !ok {
		why := "the daemon listens on no address that a program on this host can name"
		if systemd {
			why = "the daemon listens on a socket of systemd, and sekimori.socket is not installed"
		}
		plan.problem("%s: %s", d.Path, why)
		return plan
	}
	plan.Endpoint, plan.Listens = at, true
	if m := mcUser.FindSubmatch(s.Text); m != nil && at.Network == "unix" {
		plan.note("Sendmail runs as %s (confRUN_AS_USER); give the socket to that user's group: "+
			"SocketGroup= in a drop-in of sekimori.socket", m[1])
	}
	plan.note("Sendmail has no list like mynetworks; write your own networks into trusted.networks of %s", d.Path)
	line := "INPUT_MAIL_FILTER(`sekimori', `S=" + at.sendmail() + filterFlags + "')dnl"
	plan.filterLine(s, line)
	if systemd && !d.Systemd {
		plan.offline(d)
	}
	if len(plan.Mail.Changes) > 0 {
		restart := []string{"systemctl", "restart", "sendmail"}
		if !d.Systemd {
			restart = []string{"/etc/init.d/sendmail", "restart"}
		}
		plan.Mail.ByHand, plan.Mail.Runs = true, [][]string{{"make", "-C", "/etc/mail"}, restart}
	}
	return plan
}

// filterLine puts the filter's line before those of the other filters.
func (plan *Plan) filterLine(s Sendmail, line string) {
	if bytes.Contains(s.Text, []byte("\r\n")) {
		plan.problem("%s has the line ends of another system; write by hand:\n%s", s.Path, line)
		return
	}
	if m := mcList.Find(s.Text); m != nil {
		plan.problem("%s lists the filters by itself (%s); add sekimori to that list, first, and by hand:\n%s",
			s.Path, m, strings.TrimPrefix(line, "INPUT_"))
		return
	}
	if mcInclude.Match(s.Text) {
		plan.fact("%s includes sekimori.m4, which has the line", s.Path)
		return
	}
	after, others, ok := placeFilter(string(s.Text), line)
	if !ok {
		plan.problem("%s has no MAILER line before which the filter could be written; write by hand:\n%s", s.Path, line)
		return
	}
	if after == string(s.Text) {
		return
	}
	why := "Sendmail shows every message to the daemon, and says \"try again later\" if it does not answer (F=T)"
	if len(others) > 0 {
		why += before(others)
	}
	plan.Mail.Changes = append(plan.Mail.Changes, Change{Path: s.Path, Before: s.Text, After: []byte(after), Why: why})
}

// placeFilter returns a sendmail.mc that has our line before those of all other filters, and the
// names of those filters.
func placeFilter(text, line string) (after string, others []string, ok bool) {
	at := -1
	var rest strings.Builder
	last, old := 0, ""
	for _, m := range mcFilter.FindAllStringSubmatchIndex(text, -1) {
		name := text[m[2]:m[3]]
		if name != "sekimori" {
			others = append(others, name)
			continue
		}
		if strings.Count(text[m[0]:m[1]], "(") != strings.Count(text[m[0]:m[1]], ")") {
			return "", nil, false // the line goes on in the next one
		}
		old = text[m[0]:m[1]]
		rest.WriteString(text[last:m[0]])
		last = min(m[1]+1, len(text)) // with the end of the line
	}
	rest.WriteString(text[last:])
	bare := rest.String()
	if m := mcFilter.FindStringIndex(bare); m != nil {
		at = m[0]
	} else if m := mcMailer.FindStringIndex(bare); m != nil {
		at = m[0]
	}
	if at < 0 {
		return "", nil, false
	}
	if after = bare[:at] + line + "\n" + bare[at:]; strings.TrimSpace(old) != strings.TrimSpace(line) {
		return after, others, true
	}
	// Our line is there already. It is moved only if another filter is before it.
	if first := mcFilter.FindStringSubmatch(text); slices.Contains(first[1:], "sekimori") {
		return text, others, true
	}
	return after, others, true
}
