package doctor

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"sekimori/internal/mtaconf"
	"sekimori/internal/topology"
)

// CheckPostfix returns what is wrong with the configuration of Postfix. The second result says what
// could not be judged.
func CheckPostfix(p *mtaconf.Postfix, ours *Ours) (found []Finding, skipped []string) {
	c := &postfixCheck{p: p, ours: ours}
	services := c.public()
	if len(services) == 0 {
		c.skip("the milters of Postfix: master.cf has no smtpd that takes mail from other hosts")
	}
	asking := false
	for _, s := range services {
		asking = c.service(s) || asking
	}
	if asking {
		c.submission()
	}
	c.networks()
	c.names()
	c.general()
	return c.found, c.skipped
}

type postfixCheck struct {
	p       *mtaconf.Postfix
	ours    *Ours
	found   []Finding
	skipped []string
}

func (c *postfixCheck) add(kind, what, why, fix string) {
	f := Finding{AreaMTA, kind, what, why, fix}
	if !slices.Contains(c.found, f) {
		c.found = append(c.found, f)
	}
}

func (c *postfixCheck) skip(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(c.skipped, text) {
		c.skipped = append(c.skipped, text)
	}
}

// public returns the smtpd services that take mail from other hosts: not those for submission, and
// not those on a loopback address.
func (c *postfixCheck) public() []*mtaconf.Service {
	var out []*mtaconf.Service
	for _, s := range c.p.SMTPD() {
		port := s.Name
		if host, p, err := net.SplitHostPort(s.Name); err == nil {
			if isLoopback(host) {
				continue
			}
			port = p
		}
		submission := slices.Contains([]string{"submission", "submissions", "smtps", "587", "465"}, port)
		if (s.Type == "inet" && !submission) || s.Type == "pass" {
			out = append(out, s)
		}
	}
	return out
}

func isLoopback(host string) bool {
	a, _ := netip.ParseAddr(strings.Trim(host, "[]")) // a name has the zero Addr, which is not a loopback address
	return host == "localhost" || a.IsLoopback()
}

// place returns how a parameter of the service is written: in main.cf, or as an option of the
// service.
func (c *postfixCheck) place(s *mtaconf.Service, name, value string) string {
	if _, own := s.Options[name]; own {
		if value == "" {
			return fmt.Sprintf("master.cf, service %s: -o %s=", s.Label(), name)
		}
		return fmt.Sprintf("master.cf, service %s: -o { %s = %s }", s.Label(), name, value)
	}
	return fmt.Sprintf("main.cf: %s = %s", name, value)
}

// service judges one smtpd. It reports whether the smtpd asks the daemon.
func (c *postfixCheck) service(s *mtaconf.Service) bool {
	if filter := c.p.Value(s, "smtpd_proxy_filter"); filter != "" {
		c.add("proxy_filter", fmt.Sprintf("the smtpd %s has smtpd_proxy_filter = %s", s.Label(), filter),
			"Postfix shows the milters of this smtpd senders and recipients, but no message, so nothing is evaluated",
			c.place(s, "smtpd_proxy_filter", "")+" (use content_filter, which runs after the milters)")
	}
	value := c.p.Value(s, "smtpd_milters")
	milters, err := mtaconf.Milters(value)
	if err != nil {
		c.add("milter_syntax", fmt.Sprintf("smtpd_milters of %s cannot be read: %s", s.Label(), plain(err)),
			"Postfix answers every client with 451", c.place(s, "smtpd_milters", c.ours.example()))
		return false
	}
	at := slices.IndexFunc(milters, func(m mtaconf.Milter) bool { return c.ours.reaches(m.Network, m.Address, c.p.File(s, m)) })
	if at < 0 {
		c.missing(s, milters)
		return false
	}
	if m := milters[at]; c.ours.another(m.Network, cmp.Or(c.p.File(s, m), m.Address)) {
		// The other findings would be about the other program's settings.
		c.found = judgeListener(m.Network, cmp.Or(c.p.File(s, m), m.Address), "postfix", c.ours, c.found)
		return false
	}
	if strings.Contains(c.p.Value(s, "receive_override_options"), "no_milters") {
		c.add("no_milters", fmt.Sprintf("the smtpd %s has receive_override_options = no_milters", s.Label()),
			"this smtpd asks no milter, so its mail is not verified", c.place(s, "receive_override_options", "")+" (without no_milters)")
	}
	if maps := c.p.Value(s, "smtpd_milter_maps"); maps != "" {
		c.skip("for which clients smtpd_milter_maps (%s) turns the milters off", maps)
	}
	if at > 0 {
		c.add("milter_before", fmt.Sprintf("the smtpd %s asks %s before sekimori", s.Label(), milters[0]),
			"if that milter changes a message (a footer, a subject tag), the signatures of the sender no longer verify",
			c.place(s, "smtpd_milters", c.ours.example()+", ...")+" (sekimori first)")
	}
	c.milter(s, milters[at])
	c.rewriting(s)
	return true
}

// missing adds the finding that the smtpd does not ask the daemon. It distinguishes the cases in
// which the operator has meant to name the daemon.
func (c *postfixCheck) missing(s *mtaconf.Service, milters []mtaconf.Milter) {
	why := "mail that comes in there is not verified"
	fix := c.place(s, "smtpd_milters", c.ours.example())
	for _, m := range milters {
		if c.ours.reaches(m.Network, m.Address, m.Address) {
			c.add("chroot",
				fmt.Sprintf("the smtpd %s looks for the socket %s at %s, because it runs in a chroot", s.Label(), m.Address, c.p.File(s, m)),
				"Postfix cannot reach the daemon and answers as default_action says, usually with 451",
				"let systemd open a second socket inside the chroot (sekimori.socket.d/postfix.conf), or use inet:\n"+fix)
			return
		}
	}
	if c.ours.Unknown && len(milters) > 0 {
		c.skip("whether the smtpd %s asks sekimori: systemd opens its sockets, and only the running daemon knows them", s.Label())
		return
	}
	what := fmt.Sprintf("the smtpd %s asks no milter", s.Label())
	if len(milters) > 0 {
		what = fmt.Sprintf("the smtpd %s asks %s, which is not where sekimori listens", s.Label(), join(milters))
	}
	c.add("milter_missing", what, why, "sekimori setup postfix --apply, which chooses a socket that the smtpd can see; or by hand:\n"+fix)
}

func join(milters []mtaconf.Milter) string {
	var out []string
	for _, m := range milters {
		out = append(out, m.String())
	}
	return strings.Join(out, ", ")
}

// milter judges the settings with which the smtpd asks the daemon. A milter in braces may have its
// own settings.
func (c *postfixCheck) milter(s *mtaconf.Service, m mtaconf.Milter) {
	setting := func(option, normal string) (value, fix string) {
		if v, own := m.Setting(option); own {
			return v, fmt.Sprintf("smtpd_milters = { %s, %s = %s }", m, option, normal)
		}
		return c.p.Value(s, "milter_"+option), c.place(s, "milter_"+option, normal)
	}
	if v, fix := setting("protocol", "6"); olderThan(v, 6) {
		c.add("milter_protocol", fmt.Sprintf("the smtpd %s speaks milter protocol %s", s.Label(), v),
			"Postfix then does not show the leading space of header fields, which simple canonicalization of DKIM signs", fix)
	}
	if v, fix := setting("default_action", "tempfail"); v == "accept" && c.ours.Enforce || v == "reject" {
		why := "while the daemon does not answer, forged mail is delivered without a label and with forged results"
		if v == "reject" {
			why = "while the daemon does not answer, for example during a restart, wanted mail is refused for good"
		}
		c.add("default_action", fmt.Sprintf("if the daemon does not answer the smtpd %s, the default action is %s", s.Label(), v),
			why, fix)
	}
	for _, timeout := range []struct {
		option string
		least  time.Duration
		normal string
		why    string
	}{
		{"connect_timeout", restart, "30s", "a restart of the daemon takes a few seconds, and clients would get 451 meanwhile"},
		{"command_timeout", restart, "30s", "a restart of the daemon takes a few seconds, and clients would get 451 meanwhile"},
		{
			"content_timeout", c.ours.Budget, "300s",
			fmt.Sprintf("the daemon may wait %v for DNS (dns.message_budget), and the MTA would give up earlier", c.ours.Budget),
		},
	} {
		v, fix := setting(timeout.option, timeout.normal)
		if d, err := mtaconf.Duration(v, time.Second); err == nil && d < timeout.least {
			c.add("timeout", fmt.Sprintf("%s for sekimori is %s in the smtpd %s", timeout.option, v, s.Label()), timeout.why, fix)
		}
	}
	c.found, c.skipped = judgeSocket(c.p.File(s, m), c.ours, c.found, c.skipped)
	c.found = judgeListener(m.Network, cmp.Or(c.p.File(s, m), m.Address), "postfix", c.ours, c.found)
}

// restart is the least time that an MTA should wait for the daemon.
const restart = 5 * time.Second

// olderThan reports whether the version of the milter protocol is below n. Postfix also writes
// names after the number, such as "6 no_header_reply".
func olderThan(version string, n byte) bool {
	f := strings.Fields(version)
	return len(f) > 0 && len(f[0]) == 1 && f[0][0] >= '0' && f[0][0] < '0'+n
}

// rewritingActions matches the actions of header_checks and body_checks that change or delete a
// part of a message.
var rewritingActions = regexp.MustCompile(`(?m)^[^#\n]*\s(REPLACE|IGNORE|STRIP)\b`)

// rewriting judges what cleanup changes in a message before it shows the message to a milter.
func (c *postfixCheck) rewriting(s *mtaconf.Service) {
	cleanup := c.p.Service(cmp.Or(c.p.Value(s, "cleanup_service_name"), "cleanup"), "unix")
	why := "Postfix changes the message before it shows it to milters, so the signatures of the sender no longer verify"
	for _, name := range []string{"header_checks", "mime_header_checks", "nested_header_checks", "body_checks"} {
		for _, table := range strings.FieldsFunc(c.p.Value(cleanup, name), func(r rune) bool { return r == ',' || r == ' ' }) {
			text, err := c.table(table)
			if err != nil {
				c.skip("the table %s of %s: %v", table, name, err)
				continue
			}
			if m := rewritingActions.FindSubmatch(text); m != nil {
				c.add("rewriting", fmt.Sprintf("%s has the table %s with the action %s", name, table, m[1]), why,
					fmt.Sprintf("move the rule from %s to smtp_header_checks or to the delivery; the line is in %s", name, table))
			}
		}
	}
	if clients := c.p.Value(cleanup, "local_header_rewrite_clients"); strings.Contains(clients, "static:all") ||
		c.p.Value(cleanup, "remote_header_rewrite_domain") != "" {
		c.add("rewriting",
			"Postfix rewrites header addresses of mail from other hosts (local_header_rewrite_clients, remote_header_rewrite_domain)", why,
			"main.cf: local_header_rewrite_clients = permit_inet_interfaces\nmain.cf: remote_header_rewrite_domain =")
	}
}

// table returns the text of a lookup table that is a file with one rule a line.
func (c *postfixCheck) table(name string) ([]byte, error) {
	kind, path, _ := strings.Cut(name, ":")
	if !slices.Contains([]string{"pcre", "regexp"}, kind) || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("only tables of the types pcre and regexp can be read")
	}
	return c.ours.ReadFile(path)
}

// submission finds the other ways into Postfix on which Postfix asks the daemon without a need.
func (c *postfixCheck) submission() {
	milters, err := mtaconf.Milters(c.p.Params["non_smtpd_milters"])
	if err != nil {
		c.skip("non_smtpd_milters: %v", err)
	}
	cleanup := c.p.Service("cleanup", "unix")
	for _, m := range milters {
		if c.ours.reaches(m.Network, m.Address, c.p.File(cleanup, m)) {
			c.add("non_smtpd", "non_smtpd_milters names sekimori",
				"mail of this host's own programs has no SMTP client, so SPF cannot be evaluated, and a refusal would lose the mail",
				"main.cf: non_smtpd_milters = (without sekimori)")
		}
	}
	for _, s := range c.p.SMTPD() {
		host, _, err := net.SplitHostPort(s.Name)
		if err != nil || !isLoopback(host) || strings.Contains(c.p.Value(s, "receive_override_options"), "no_milters") {
			continue
		}
		milters, _ := mtaconf.Milters(c.p.Value(s, "smtpd_milters")) // Postfix itself reports a mistake in the value
		if slices.ContainsFunc(milters, func(m mtaconf.Milter) bool { return c.ours.reaches(m.Network, m.Address, c.p.File(s, m)) }) {
			c.add("asked_twice", fmt.Sprintf("the smtpd %s, which takes mail back from a content filter, asks sekimori again", s.Label()),
				"the client there is this host, which is trusted, so the second look finds nothing, and costs time",
				fmt.Sprintf("master.cf, service %s: -o receive_override_options=no_milters", s.Label()))
		}
	}
}

// networks compares mynetworks with trusted.networks.
func (c *postfixCheck) networks() {
	networks, others := mtaconf.Networks(c.p.Params["mynetworks"])
	for _, other := range others {
		c.skip("whether %s of mynetworks is within trusted.networks: only Postfix knows what it stands for", other)
	}
	var beyond, yaml []string
	for _, n := range networks {
		own := n.IsSingleIP() && c.ours.Own(n.Addr())
		if c.ours.Trusts(n) || own {
			continue
		}
		beyond = append(beyond, n.String())
		if n.Addr().Is6() {
			yaml = append(yaml, `"`+n.String()+`"`) // YAML would take the colons for its own
			continue
		}
		yaml = append(yaml, n.String())
	}
	if len(beyond) > 0 {
		c.add("networks", "mynetworks has networks that are not in trusted.networks: "+strings.Join(beyond, ", "),
			"mail of the site's own hosts is evaluated like mail from strangers, and may be refused",
			"sekimori.yaml: trusted: {networks: [..., "+strings.Join(yaml, ", ")+"]}")
	}
}

// names compares the MTA's name with the configured authserv_id.
func (c *postfixCheck) names() {
	c.found = append(c.found, judgeName(c.ours.AuthservID, c.p.Params["myhostname"])...)
}

func judgeName(servID, mta string) []Finding {
	if servID == "" || mta == "" || !strings.Contains(mta, ".") || topology.Related(servID, mta) {
		return nil
	}
	return []Finding{{
		AreaMTA, "foreign_name", fmt.Sprintf("authserv_id is %s, and the MTA calls itself %s", servID, mta),
		"programs behind this MTA that expect its name ignore the results, and results in its name that a sender forged are not deleted",
		"sekimori.yaml: remove authserv_id, or write authserv_id: " + mta,
	}}
}

// general judges single parameters, and what postconf itself warns of.
func (c *postfixCheck) general() {
	if c.p.Params["soft_bounce"] == "yes" {
		c.add("soft_bounce", "soft_bounce is on", "Postfix turns every refusal (5xx) into 4xx, so forged mail is offered again and again",
			"main.cf: soft_bounce = no")
	}
	for _, text := range c.p.Warnings {
		if strings.Contains(text, "milter") && strings.Contains(text, "unused parameter") {
			c.add("unused_parameter", "Postfix does not know a parameter: "+text, "a misspelt parameter has no effect",
				"correct the name in main.cf")
		}
	}
}
