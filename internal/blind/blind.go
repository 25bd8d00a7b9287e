// Package blind notices that the MTA is connected to the daemon in a way that
// hides the client's address or the message, or does not offer a feature that
// the daemon needs. It counts, warns and answers questions. No decision depends
// on it.
package blind

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"sekimori/internal/spf"
)

// Kind is one way of being blind.
type Kind string

// The kinds.
const (
	// PrivateClients: all clients have the same private address, so it must be
	// the address of a host between the clients and the MTA.
	PrivateClients Kind = "private_clients"
	// AllTrusted: every message came from trusted.networks.
	AllTrusted Kind = "all_trusted"
	// NothingEvaluated: the daemon sees recipients accepted, but no message for
	// them.
	NothingEvaluated Kind = "nothing_evaluated"
)

// Kinds lists every Kind.
var Kinds = []Kind{PrivateClients, AllTrusted, NothingEvaluated}

// Lack is a feature that an MTA did not offer when a connection began.
type Lack string

// The lacks.
const (
	LackAdd          Lack = "add_header"
	LackChange       Lack = "change_header"
	LackQuarantine   Lack = "quarantine"
	LackLeadingSpace Lack = "leading_space"
	LackMacros       Lack = "macros"
)

// Lacks lists every Lack.
var Lacks = []Lack{LackAdd, LackChange, LackQuarantine, LackLeadingSpace, LackMacros}

// A Kind holds after so many events in a row.
const (
	// manyClients is how many sessions or messages must all be from one private
	// address, or all trusted. A burst of mail from a host of the site is
	// smaller.
	manyClients = 100
	// manyEmpty is how many transactions in a row must end without a message.
	// One that got as far as DATA counts double, because a client may well leave
	// after RCPT, for example if it only checks an address.
	manyEmpty = 10
)

const (
	// pause is the time between two warnings of one kind.
	pause = time.Hour
	// maxMTAs bounds how many MTAs are remembered so that each is warned of once.
	maxMTAs = 256
)

// advice is what the log says of each Kind.
var advice = map[Kind]string{
	PrivateClients: "every client has the same private address: the milter sees a proxy, container or NAT instead of the clients, " +
		"and SPF cannot be evaluated",
	AllTrusted: "every message comes from trusted.networks, so no message is evaluated: is trusted.networks too wide, " +
		"or is a proxy between the clients and the MTA?",
	NothingEvaluated: "recipients are accepted, but the milter is shown no message: with Postfix set the milter for the smtpd " +
		"that takes the mail in, and do not use smtpd_proxy_filter there",
}

// lackAdvice is what the log says of each Lack.
var lackAdvice = map[Lack]string{
	LackAdd: "the MTA does not let a milter add header fields: no message can be labelled",
	LackChange: "the MTA does not let a milter delete header fields: a message with a forged result in our name is refused " +
		"(mode enforce) or delivered with it (monitor)",
	LackQuarantine: "the MTA offers no quarantine: a message that should be held is delivered with the label",
	LackLeadingSpace: "the MTA does not show the leading space of header fields (Postfix: milter_protocol below 6): " +
		"DKIM signatures with simple canonicalization may be neutral",
	LackMacros: "the MTA does not let a milter ask for macros: the daemon has only those that the MTA sends by itself",
}

// Watch counts what the daemon sees, in memory of a bounded size. A nil Watch
// does nothing. It is safe for concurrent use.
type Watch struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[Kind]*state
	lacks map[Lack]int64
	mtas  map[string]struct{}
	full  bool // mtas became full, and a last warning was written

	client   netip.Addr // the private address that all clients had; invalid if there were several or a public one
	sessions int        // of that client
	messages int        // of that client
	trusted  int        // trusted messages in a row
	empty    int        // transactions without a message, since the last evaluated message
	weight   int        // the same, those that reached DATA counted double

	emptyAll int64 // all transactions without a message
	forged   int64
	warned   time.Time // the last warning of forged results
}

type state struct {
	holds  bool
	warned time.Time // the last warning
}

// New returns a Watch that writes its warnings to log.
func New(log *slog.Logger) *Watch {
	w := &Watch{log: log, kinds: map[Kind]*state{}, lacks: map[Lack]int64{}, mtas: map[string]struct{}{}}
	for _, k := range Kinds {
		w.kinds[k] = &state{}
	}
	return w
}

// Negotiated takes note of what the MTA at the other end of a connection did
// not offer. It warns of each MTA once.
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

// host returns an MTA's address without the port, which differs for every
// connection.
func host(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// Connected takes note of an SMTP client. The daemon calls it for every client.
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
// have. Loopback is excepted, because the programs of the MTA's own host
// connect from there.
func private(a netip.Addr) bool {
	return spf.PrivateClient(a) && !a.Unmap().IsLoopback()
}

func (w *Watch) judgeClient() {
	w.set(PrivateClients, w.client.IsValid() && max(w.sessions, w.messages) >= manyClients, "client_ip", w.client)
}

// Message takes note of a message that ended. trusted says that it was accepted
// because of the client's network; evaluated says that it was evaluated, or
// would have been if it were not over a limit.
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

// Empty takes note of a transaction that ended without a message although a
// recipient was accepted. data says that the client sent DATA.
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

// set notes whether k holds, and warns of it at most once in pause. args are
// added to the log record. The caller holds w.mu.
func (w *Watch) set(k Kind, holds bool, args ...any) {
	s := w.kinds[k]
	s.holds = holds
	if now := time.Now(); holds && (s.warned.IsZero() || now.Sub(s.warned) >= pause) {
		s.warned = now
		w.log.Warn("the daemon cannot see what it should", append([]any{"what", string(k), "meaning", advice[k]}, args...)...)
	}
}

// forgedPause is the time between two warnings of forged results.
const forgedPause = time.Minute

// ForgedLeft takes note of a message that keeps a forged result in our name,
// because the MTA at remote does not let a milter delete fields.
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

// Holds reports whether k is the case now.
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

// Forged returns how many messages kept a forged result in our name.
func (w *Watch) Forged() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forged
}
