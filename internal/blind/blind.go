// Package blind notices what the daemon cannot see: a way of connecting the MTA
// that leaves it without the client's address, without the message, or without
// the means to do its work. It counts, warns and tells who asks. Nothing ever
// acts on it.
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
	// PrivateClients: all clients have one and the same private address, so
	// that it is the address of something in between.
	PrivateClients Kind = "private_clients"
	// AllTrusted: every message came from trusted.networks.
	AllTrusted Kind = "all_trusted"
	// NothingEvaluated: recipients are accepted, but no message of them is
	// shown.
	NothingEvaluated Kind = "nothing_evaluated"
)

// Kinds lists every Kind.
var Kinds = []Kind{PrivateClients, AllTrusted, NothingEvaluated}

// Lack is what an MTA did not offer at the beginning of a connection.
type Lack string

// What can be lacking.
const (
	LackAdd          Lack = "add_header"
	LackChange       Lack = "change_header"
	LackQuarantine   Lack = "quarantine"
	LackLeadingSpace Lack = "leading_space"
	LackMacros       Lack = "macros"
)

// Lacks lists every Lack.
var Lacks = []Lack{LackAdd, LackChange, LackQuarantine, LackLeadingSpace, LackMacros}

// After how many events without one to the contrary a Kind holds.
const (
	// manyClients sessions or messages, all of one private address or all
	// trusted: a host of one's own that writes a burst of mail has fewer.
	manyClients = 100
	// manyEmpty transactions that end without a message, in a row and with no
	// message between them. Those that got as far as DATA count double, because
	// a client may leave after RCPT (one that only asks for an address does).
	manyEmpty = 10
	// pause is between two warnings of one kind.
	pause = time.Hour
	// maxMTAs bounds the MTAs remembered as warned of.
	maxMTAs = 256
)

// advice says what each Kind means, for the log.
var advice = map[Kind]string{
	PrivateClients:   "every client has the same private address: the milter sees a proxy, container or NAT instead of the clients; SPF cannot be evaluated",
	AllTrusted:       "every message comes from trusted.networks, so that none is evaluated: is trusted.networks too wide, or does a proxy stand between the clients and the MTA?",
	NothingEvaluated: "recipients are accepted, but no message is shown to the milter: with Postfix it has to stand at the smtpd that takes the mail in, which must not use smtpd_proxy_filter",
}

// lackAdvice says what each Lack means, for the log.
var lackAdvice = map[Lack]string{
	LackAdd:          "the MTA lets no header field be added: no message can be labelled",
	LackChange:       "the MTA lets no header field be deleted: a message with a result in our name is refused (mode enforce) or delivered with it (monitor)",
	LackQuarantine:   "the MTA offers no quarantine: what should be held is delivered with the label",
	LackLeadingSpace: "the MTA does not show the leading space of header fields (Postfix: milter_protocol below 6): DKIM signatures with simple canonicalization may be neutral",
	LackMacros:       "the MTA lets no macros be asked for: what it sends by itself has to do",
}

// Watch counts. Its memory does not depend on what it is told. A nil Watch does
// nothing. Safe for concurrent use.
type Watch struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[Kind]*state
	lacks map[Lack]int64
	mtas  map[string]struct{}
	full  bool // mtas was full once, and that was said

	client   netip.Addr // the private address that all clients had; invalid: none, or several
	sessions int        // of that client
	messages int        // of that client
	trusted  int        // messages in a row
	empty    int        // transactions without a message since the last one that was evaluated
	weight   int        // of these

	emptyAll  int64 // all transactions without a message
	forged    int64
	forgedSay time.Time // the last warning
}

type state struct {
	holds bool
	said  time.Time // the last warning
}

// New returns a Watch that warns in log.
func New(log *slog.Logger) *Watch {
	w := &Watch{log: log, kinds: map[Kind]*state{}, lacks: map[Lack]int64{}, mtas: map[string]struct{}{}}
	for _, k := range Kinds {
		w.kinds[k] = &state{}
	}
	return w
}

// Negotiated is told what the MTA at the other end of a connection did not
// offer. Each MTA is warned of once.
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
		w.log.Warn("the MTA does not offer all that is needed", "what", string(l), "mta", host(remote), "listen", local.String(), "meaning", lackAdvice[l])
	}
}

// host is an MTA's address without the port, which is another for every
// connection.
func host(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// Connected is told of every SMTP client.
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

// Message is told of every message that ended: trusted says that it was passed
// on because of the client's network, evaluated that it was evaluated, or was
// over a limit.
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

// Empty is told of every transaction of which a recipient was accepted, and that
// ended without a message. data says that DATA had come.
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

// set notes whether k holds, and warns of it at most once in pause. args go into
// the record. w.mu is held.
func (w *Watch) set(k Kind, holds bool, args ...any) {
	s := w.kinds[k]
	s.holds = holds
	if now := time.Now(); holds && (s.said.IsZero() || now.Sub(s.said) >= pause) {
		s.said = now
		w.log.Warn("the daemon cannot see what it should", append([]any{"what", string(k), "meaning", advice[k]}, args...)...)
	}
}

// forgedPause is between two warnings of results in our name.
const forgedPause = time.Minute

// ForgedLeft is told of every message with a result in our name that the MTA at
// remote lets nobody delete.
func (w *Watch) ForgedLeft(remote net.Addr, queueID string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forged++
	if now := time.Now(); w.forgedSay.IsZero() || now.Sub(w.forgedSay) >= forgedPause {
		w.forgedSay = now
		w.log.Warn("a result in our name is in a message, and the MTA lets no header field be deleted", "queue_id", queueID, "mta", host(remote), "messages", w.forged)
	}
}

// Holds reports whether k holds now.
func (w *Watch) Holds(k Kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kinds[k].holds
}

// Lacking is how many connections did not offer l.
func (w *Watch) Lacking(l Lack) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lacks[l]
}

// Transactions is how many ended without a message after a recipient was
// accepted.
func (w *Watch) Transactions() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.emptyAll
}

// Forged is how many messages kept a result in our name.
func (w *Watch) Forged() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forged
}
