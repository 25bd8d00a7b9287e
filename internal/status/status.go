// Package status shows on one page what the running daemon is doing. Each number comes
// as a value from the part that counts it. The same part exposes it as a metric.
package status

import (
	"encoding/json"
	"net/http"
	"time"

	"sekimori/internal/printable"
)

// Status is the answer of /api/status and of "sekimori status --json". The counters
// start with the daemon.
type Status struct {
	Version   string        `json:"version"`
	Revision  string        `json:"revision,omitempty"` // the commit it was built from
	GoVersion string        `json:"go_version"`
	Started   time.Time     `json:"started"`
	Uptime    time.Duration `json:"uptime_ns"`
	// NotReady says why no messages are accepted, "" if they are.
	NotReady string   `json:"not_ready,omitempty"`
	Mode     string   `json:"mode"` // enforce or monitor
	Config   Config   `json:"config"`
	Sessions Sessions `json:"sessions"`
	Limits   Limits   `json:"limits"`
	// Messages counts messages by verdict; in monitor mode by the verdict that enforce
	// mode would have applied.
	Messages map[string]int64 `json:"messages"`
	// Wait is how long MTAs waited at the end of a message.
	Wait Timing `json:"end_of_message"`
	// Deviations counts deviations from published policies by RFC 9990 reason.
	Deviations map[string]int64 `json:"dmarc_overrides"`
	Results    Results          `json:"results"`
	DNS        DNS              `json:"dns"`
	// Trouble lists the counters that should be zero and are not.
	Trouble []Series `json:"trouble"`
	// Blind lists what the daemon cannot see now (sekimori_blind).
	Blind []string `json:"blind"`
	// MTALacks counts connections of MTAs by the feature that the MTA does not offer.
	MTALacks map[string]int64 `json:"mta_lacks"`
	// Rules says how often each rule of policy.overrides decided.
	Rules []Series `json:"rules"`
	// Shadow counts messages by the verdicts of the policy in effect and of the
	// candidate (shadow:).
	Shadow []Series `json:"shadow"`
}

// Config is the configuration in effect.
type Config struct {
	Hash   string    `json:"hash"`
	Loaded time.Time `json:"loaded"` // when the configuration came into effect
	// LastReloadOK is false if the last reload was refused, so that an older
	// configuration stays in effect.
	LastReloadOK bool `json:"last_reload_ok"`
}

// Sessions are the milter connections.
type Sessions struct {
	InFlight int64            `json:"in_flight"` // open now
	Ended    map[string]int64 `json:"ended"`     // by how they ended
	Rejected map[string]int64 `json:"rejected"`  // refused connections by reason
}

// Limits are the configured limits, so that a reader can compare the numbers with them.
type Limits struct {
	MaxSessions   int           `json:"max_sessions"`
	HeaderFields  int           `json:"header_fields"` // of one message
	HeaderBytes   int64         `json:"header_bytes"`  // of one message
	Recipients    int           `json:"recipients"`    // of one message
	MessageBudget time.Duration `json:"message_budget_ns"`
}

// Timing is a number of events and their mean duration.
type Timing struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_seconds"` // 0 without events
}

// Results counts the results of each mechanism by the RFC's word for a result. Messages
// that were not evaluated do not count.
type Results struct {
	SPFMailFrom map[string]int64 `json:"spf_mailfrom"`
	SPFHELO     map[string]int64 `json:"spf_helo"`
	DKIM        map[string]int64 `json:"dkim"` // signatures; "none" counts messages without one
	DMARC       map[string]int64 `json:"dmarc"`
	Published   map[string]int64 `json:"published"` // messages by their authors' DMARC policy
	ARC         map[string]int64 `json:"arc"`
	IPRev       map[string]int64 `json:"iprev"`
}

// Name returns the server's address. It returns the place where the address is missing,
// because the daemon that was asked may be older than this program.
func (s Server) Name() string {
	if s.Address == "" {
		return s.Place
	}
	return s.Address
}

// Server is one of the DNS servers.
type Server struct {
	Place   string  `json:"place"`   // its index in dns.servers, from 0
	Address string  `json:"address"` // as in dns.servers
	Up      bool    `json:"up"`      // false while the server is not asked
	RTT     float64 `json:"rtt_seconds"`
}

// DNS says how well the resolver works.
type DNS struct {
	Servers []Server         `json:"servers"`
	Queries map[string]int64 `json:"queries"` // queries to servers by result
	Time    Timing           `json:"query_time"`
	// BudgetExceeded counts lookups by mechanism that were refused because the message
	// had used its share.
	BudgetExceeded map[string]int64 `json:"budget_exceeded"`
	Cache          Cache            `json:"cache"`
}

// Cache has the numbers of the DNS cache.
type Cache struct {
	Hits      int64 `json:"hits"`
	Misses    int64 `json:"misses"`
	Stale     int64 `json:"stale"` // lookups answered with an expired entry
	Evictions int64 `json:"evictions"`
	Entries   int64 `json:"entries"`
	Bytes     int64 `json:"bytes"`
}

// Series is the present value of one time series.
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
