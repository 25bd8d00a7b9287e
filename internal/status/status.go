// Package status says on one page what the running daemon is doing. Each number
// comes from the part that counts it, which also shows it as a metric.
package status

import (
	"encoding/json"
	"net/http"
	"time"

	"sekimori/internal/printable"
)

// Status is what /api/status and sekimori status --json show. Counters count
// from the start of the daemon.
type Status struct {
	Version   string        `json:"version"`
	Revision  string        `json:"revision,omitempty"` // the commit it was built from
	GoVersion string        `json:"go_version"`
	Started   time.Time     `json:"started"`
	Uptime    time.Duration `json:"uptime_ns"`
	// NotReady says why no messages are taken, "" if they are.
	NotReady string   `json:"not_ready,omitempty"`
	Mode     string   `json:"mode"` // enforce or monitor
	Config   Config   `json:"config"`
	Sessions Sessions `json:"sessions"`
	Limits   Limits   `json:"limits"`
	// Messages by verdict; in monitor mode what it would have been.
	Messages map[string]int64 `json:"messages"`
	// Wait is how long MTAs waited at end of message.
	Wait Timing `json:"end_of_message"`
	// Deviations from published policies, by RFC 9990 reason.
	Deviations map[string]int64 `json:"dmarc_overrides"`
	Results    Results          `json:"results"`
	DNS        DNS              `json:"dns"`
	// Trouble counts what should be zero, only what is not.
	Trouble []Series `json:"trouble"`
	// Blind is what the daemon cannot see (sekimori_blind), only what holds.
	Blind []string `json:"blind"`
	// MTALacks counts connections of MTAs by what they do not offer.
	MTALacks map[string]int64 `json:"mta_lacks"`
	// Rules is how often each rule of policy.overrides decided.
	Rules []Series `json:"rules"`
	// Shadow is where the candidate policy (shadow:) differs from the live
	// one.
	Shadow []Series `json:"shadow"`
}

// Config is the configuration in effect.
type Config struct {
	Hash   string    `json:"hash"`   // of the configuration in effect
	Loaded time.Time `json:"loaded"` // when it was
	// LastReloadOK is false where the newest file was refused and the one
	// before it stays in effect.
	LastReloadOK bool `json:"last_reload_ok"`
}

// Sessions are the milter connections.
type Sessions struct {
	InFlight int64            `json:"in_flight"` // now
	Ended    map[string]int64 `json:"ended"`     // by how they ended
	Rejected map[string]int64 `json:"rejected"`  // turned away, by reason
}

// Limits are the configured ones, so that numbers can be seen beside them.
type Limits struct {
	MaxSessions   int           `json:"max_sessions"`
	HeaderFields  int           `json:"header_fields"` // a message
	HeaderBytes   int64         `json:"header_bytes"`  // a message
	Recipients    int           `json:"recipients"`    // a message
	MessageBudget time.Duration `json:"message_budget_ns"`
}

// Timing is a count of events and their mean time.
type Timing struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_seconds"` // 0 without events
}

// Results are those of each mechanism by the RFC's word for it; messages that
// were not evaluated have none.
type Results struct {
	SPFMailFrom map[string]int64 `json:"spf_mailfrom"`
	SPFHELO     map[string]int64 `json:"spf_helo"`
	DKIM        map[string]int64 `json:"dkim"` // signatures; none is a message without
	DMARC       map[string]int64 `json:"dmarc"`
	Published   map[string]int64 `json:"published"` // messages by their authors' DMARC policy
	ARC         map[string]int64 `json:"arc"`
	IPRev       map[string]int64 `json:"iprev"`
}

// Name is the server's address, or its place where that is not known: the
// daemon asked may be older than this program.
func (s Server) Name() string {
	if s.Address == "" {
		return s.Place
	}
	return s.Address
}

// Server is one of the DNS servers.
type Server struct {
	Place   string  `json:"place"`   // in dns.servers, from 0
	Address string  `json:"address"` // as in dns.servers
	Up      bool    `json:"up"`      // false while it is not asked
	RTT     float64 `json:"rtt_seconds"`
}

// DNS is the resolver's health.
type DNS struct {
	Servers []Server         `json:"servers"`
	Queries map[string]int64 `json:"queries"` // to servers, by result
	Time    Timing           `json:"query_time"`
	// BudgetExceeded counts lookups refused because a message had used its
	// share, by mechanism.
	BudgetExceeded map[string]int64 `json:"budget_exceeded"`
	Cache          Cache            `json:"cache"`
}

// Cache is the DNS cache.
type Cache struct {
	Hits      int64 `json:"hits"`
	Misses    int64 `json:"misses"`
	Stale     int64 `json:"stale"` // answered past their TTL
	Evictions int64 `json:"evictions"`
	Entries   int64 `json:"entries"`
	Bytes     int64 `json:"bytes"`
}

// Series is one time series as it stands.
type Series struct {
	Name   string            `json:"name"` // without "sekimori_" and "_total"
	Labels map[string]string `json:"labels,omitempty"`
	Value  int64             `json:"value"`
}

// Handler answers with the Status in JSON.
func Handler(collect func() *Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(collect()) // a client that is gone needs no answer
	})
}
