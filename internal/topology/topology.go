// Package topology notices problems of the set-up around the daemon: the MTA is connected in a way
// that hides the client's address or the message, the MTA does not offer a feature that the daemon
// needs, or names or clocks do not agree. It counts such events, logs warnings, and tells other
// packages what it has noticed. No decision depends on it.
package topology

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/spf"
)

// Kind is a problem of the set-up around the daemon. It holds or it does not.
type Kind string

// The values of Kind.
const (
	// PrivateClients: for a long time, all clients have had the same private address. This is most
	// likely the address of a host between the clients and the MTA.
	PrivateClients Kind = "private_clients"
	// AllTrusted: the last messages, at least manyClients in a row, all came from trusted.networks.
	AllTrusted Kind = "all_trusted"
	// NothingEvaluated: since the last evaluated message, there were several transactions in which
	// a recipient was accepted, but the MTA sent the daemon no message.
	NothingEvaluated Kind = "nothing_evaluated"
	// ForeignName: authserv_id is configured and has no registered domain in common with the name
	// of the MTA. A program behind this MTA that reads our results then does not recognize them as
	// results of this MTA.
	ForeignName Kind = "foreign_name"
	// ClockOff: the last messages, at least manyClients in a row, all had a Date that is more than
	// clockTolerance before our clock, or all after it.
	ClockOff Kind = "clock_off"
	// FewDescriptors: the configuration can need more open files than the process may have.
	FewDescriptors Kind = "few_descriptors"
	// SocketLost: the file of a unix socket is gone, or another file has taken its place.
	SocketLost Kind = "socket_lost"
	// LongMonitor: the daemon has been in monitor mode for LongTime.
	LongMonitor Kind = "long_monitor"
)

// Kinds lists every Kind.
var Kinds = []Kind{PrivateClients, AllTrusted, NothingEvaluated, ForeignName, ClockOff, FewDescriptors, SocketLost, LongMonitor}

// LongTime is how long the daemon may be in monitor mode before that is a problem. Two or three
// months of reports are enough to find the forwarders and the sources of wanted mail.
const LongTime = 90 * 24 * time.Hour

// Lack is a feature that the daemon needs and that an MTA did not offer when a connection began.
type Lack string

// The values of Lack.
const (
	LackAdd          Lack = "add_header"
	LackChange       Lack = "change_header"
	LackQuarantine   Lack = "quarantine"
	LackLeadingSpace Lack = "leading_space"
	LackMacros       Lack = "macros"
)

// Lacks lists every Lack.
var Lacks = []Lack{LackAdd, LackChange, LackQuarantine, LackLeadingSpace, LackMacros}

// These constants say how many events there must be before a Kind holds.
const (
	// manyClients is the least number of sessions or messages in a row from one private address
	// (PrivateClients), and the least number of messages in a row from trusted.networks
	// (AllTrusted). A burst of mail from one host of the site is usually smaller.
	manyClients = 100
	// manyEmpty is the least number of transactions without a message since the last evaluated
	// message. A transaction in which the client sent DATA counts double. A transaction that ended
	// before DATA is weaker evidence, because a client that only checks an address also leaves
	// after RCPT.
	manyEmpty = 10
	// clockTolerance is how far the Date of a message may be from our clock. Among a hundred
	// messages in a row, there is always one that was written just before it came. If the Date of
	// none of them is close to our clock, our clock is wrong.
	clockTolerance = 10 * time.Minute
)

const (
	// pause is the shortest time between two warnings of one kind.
	pause = 24 * time.Hour
	// maxMTAs limits how many MTAs are remembered. The log warns of a remembered MTA only once.
	maxMTAs = 256
)

// Advice says, for each Kind, what it means and what to do. The log and the command doctor show it.
var Advice = map[Kind]string{
	PrivateClients: "every client has the same private address: the milter sees a proxy, container or NAT instead of the clients, " +
		"and SPF cannot be evaluated",
	AllTrusted: "every message comes from trusted.networks, so no message is evaluated: is trusted.networks too wide, " +
		"or is a proxy between the clients and the MTA?",
	NothingEvaluated: "recipients are accepted, but the milter is shown no message: with Postfix set the milter for the smtpd " +
		"that takes the mail in, and do not use smtpd_proxy_filter there",
	ForeignName: "authserv_id has nothing in common with the MTA's own name: programs behind this MTA that expect its name " +
		"ignore the results; remove authserv_id from the configuration, or set the name that they expect",
	ClockOff: "the Date of every message is far from this host's clock, which is probably wrong: " +
		"signatures that expire (x=) are judged by it, so synchronize the clock (chrony, systemd-timesyncd)",
	FewDescriptors: "limits.max_sessions needs more open files than this process may have, so a burst of mail would be deferred: " +
		"raise LimitNOFILE= (systemd) or ulimit -n, or lower limits.max_sessions",
	SocketLost: "MTAs cannot find a socket of the daemon, because its file is gone or was replaced: reload the daemon to make it again",
	LongMonitor: "the daemon has only monitored for 90 days, and refuses no forged message: " +
		"look at what it would have refused (sekimori status, sekimori forwarders), then set mode: enforce",
}

// lackAdvice is what the log says when an MTA lacks a feature.
var lackAdvice = map[Lack]string{
	LackAdd: "the MTA does not let a milter add header fields: no message can be labelled",
	LackChange: "the MTA does not let a milter delete header fields: a message with a forged result in our name is refused " +
		"(mode enforce) or delivered with it (monitor)",
	LackQuarantine: "the MTA offers no quarantine: a message that should be held is delivered with the label",
	LackLeadingSpace: "the MTA does not show the leading space of header fields (Postfix: milter_protocol below 6): " +
		"DKIM signatures with simple canonicalization may be neutral",
	LackMacros: "the MTA does not let a milter ask for macros: the daemon has only those that the MTA sends by itself",
}

// Watch counts events of the daemon's connections in a limited amount of memory. A nil Watch does
// nothing. It is safe for concurrent use.
type Watch struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[Kind]*state
	lacks map[Lack]int64
	mtas  map[string]struct{}
	full  bool // mtas is full, and the log has warned of one more MTA; it warns of no others

	client   netip.Addr // the private address of all recent clients; invalid if the last client had a public address or none
	sessions int        // sessions in a row from client
	messages int        // messages in a row from client
	trusted  int        // messages in a row from trusted.networks
	empty    int        // transactions without a message, since the last evaluated message
	weight   int        // the same transactions, but those that reached DATA count double

	early, late int // messages in a row whose Date is far before our clock, or far after it

	emptyAll int64 // all transactions without a message
	forged   int64
	warned   time.Time // when the last warning of a forged result was written
}

type state struct {
	holds  bool
	warned time.Time // when the last warning of this kind was written
}

// New returns a Watch that writes its warnings to log.
func New(log *slog.Logger) *Watch {
	w := &Watch{log: log, kinds: map[Kind]*state{}, lacks: map[Lack]int64{}, mtas: map[string]struct{}{}}
	for _, k := range Kinds {
		w.kinds[k] = &state{}
	}
	return w
}

// Negotiated counts the features that the MTA at the other end of a connection did not offer. The
// log warns of an MTA once, and of at most maxMTAs+1 MTAs.
func (w *Watch) Negotiated(local, remote net.Addr, lacks []Lack) {
	if w == nil || len(lacks) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lacks {
		w.lacks[l]++
	}
	at := local.String() + " " + host(remote)
	switch _, known := w.mtas[at]; {
	case known:
		return
	case len(w.mtas) < maxMTAs:
		w.mtas[at] = struct{}{}
	case w.full:
		return
	default:
		w.full = true
	}
	for _, l := range lacks {
		w.log.Warn("the MTA does not offer all that is needed", "what", string(l), "mta", host(remote), "listen", local.String(),
			"meaning", lackAdvice[l])
	}
}

// host returns the address of an MTA without the port, which differs from connection to connection.
func host(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// Connected counts the session of an SMTP client. The daemon calls it for every client.
func (w *Watch) Connected(client netip.Addr) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if client != w.client || !client.IsValid() {
		w.client, w.sessions, w.messages = netip.Addr{}, 0, 0
		if private(client) {
			w.client = client
		}
	}
	w.sessions++
	w.judgeClient()
}

// private reports whether a is an address that no client on the Internet can
// have. Loopback is excepted, because the programs of the MTA's own host connect from loopback
// addresses.
func private(a netip.Addr) bool {
	return spf.PrivateClient(a) && !a.Unmap().IsLoopback()
}

func (w *Watch) judgeClient() {
	w.set(PrivateClients, w.client.IsValid() && max(w.sessions, w.messages) >= manyClients, "client_ip", w.client)
}

// Message counts a message that ended. trusted says that the message was accepted because the
// client is in a trusted network. evaluated says that the message was evaluated, or that only a
// limit prevented it.
func (w *Watch) Message(client netip.Addr, trusted, evaluated bool) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if client == w.client {
		w.messages++
		w.judgeClient()
	}
	if w.trusted++; !trusted {
		w.trusted = 0
	}
	w.set(AllTrusted, w.trusted >= manyClients, "client_ip", client)
	if evaluated {
		w.empty, w.weight = 0, 0
		w.set(NothingEvaluated, false)
	}
}

// Empty counts a transaction that ended without a message although a recipient was accepted. data
// says that the client sent DATA.
func (w *Watch) Empty(data bool) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.emptyAll++
	w.empty++
	if w.weight++; data {
		w.weight++
	}
	w.set(NothingEvaluated, w.weight >= manyEmpty, "transactions", w.empty)
}

// Dated counts a message by its Date. now is the time of its receipt.
func (w *Watch) Dated(date, now time.Time) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	off := date.Sub(now)
	switch {
	case off < -clockTolerance:
		w.early, w.late = w.early+1, 0
	case off > clockTolerance:
		w.early, w.late = 0, w.late+1
	default:
		w.early, w.late = 0, 0
	}
	w.set(ClockOff, max(w.early, w.late) >= manyClients, "newest_date", date.UTC().Format(time.RFC3339))
}

// Named compares the configured authserv-id with the name that an MTA has for itself. Named does
// nothing if servID is empty or the MTA's name has no dot.
func (w *Watch) Named(servID, mta string) {
	if w == nil || servID == "" || !strings.Contains(mta, ".") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(ForeignName, !Related(servID, mta), "authserv_id", servID, "mta", mta)
}

// Related reports whether two names of hosts are equal or have a registered domain in common.
func Related(a, b string) bool {
	a, b = strings.TrimSuffix(strings.ToLower(a), "."), strings.TrimSuffix(strings.ToLower(b), ".")
	return a == b || suffix.Owner(dns.Name(a)) == suffix.Owner(dns.Name(b))
}

// Set records whether k holds now. It is for a Kind that another package detects. args are added to
// the log record.
func (w *Watch) Set(k Kind, holds bool, args ...any) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(k, holds, args...)
}

// set records whether k holds now. If it does, set writes a warning, unless it wrote one for k less
// than "pause" ago. args are added to the log record. The caller holds w.mu.
func (w *Watch) set(k Kind, holds bool, args ...any) {
	s := w.kinds[k]
	s.holds = holds
	if now := time.Now(); holds && (s.warned.IsZero() || now.Sub(s.warned) >= pause) {
		s.warned = now
		w.log.Warn("the set-up around the daemon has a problem", append([]any{"kind", string(k), "meaning", Advice[k]}, args...)...)
	}
}

// forgedPause is the shortest time between two warnings of forged results.
const forgedPause = time.Minute

// ForgedLeft counts a message that is delivered with a forged authentication result, which has the
// authserv-id of the daemon. This happens if the MTA at remote does not let a milter delete header
// fields.
func (w *Watch) ForgedLeft(remote net.Addr, queueID string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forged++
	if now := time.Now(); w.warned.IsZero() || now.Sub(w.warned) >= forgedPause {
		w.warned = now
		w.log.Warn("a result in our name is in a message, and the MTA lets no header field be deleted",
			"queue_id", queueID, "mta", host(remote), "messages", w.forged)
	}
}

// Holds reports whether k holds now.
func (w *Watch) Holds(k Kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kinds[k].holds
}

// Lacking returns how many connections did not offer l.
func (w *Watch) Lacking(l Lack) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lacks[l]
}

// Transactions returns how many transactions ended without a message after a
// recipient was accepted.
func (w *Watch) Transactions() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.emptyAll
}

// Forged returns how many messages ForgedLeft has counted.
func (w *Watch) Forged() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forged
}
