// Package status collects numbers about the running daemon and shows them on one page.
// The numbers come from the packages that count them. Those packages also expose the
// numbers as metrics.
package status

import (
	"encoding/json"
	"net/http"
	"time"

	"sekimori/internal/printable"
)

// Status is the answer of /api/status and of "sekimori status --json". The counters begin
// at zero when the daemon starts.
type Status struct {
	Version   string        `json:"version"`
	Revision  string        `json:"revision,omitempty"` // the commit from which the daemon was built
	GoVersion string        `json:"go_version"`
	Started   time.Time     `json:"started"`
	Uptime    time.Duration `json:"uptime_ns"`
	// Memory is the memory that the Go runtime has from the operating system, in octets. The
	// size of the process is a little larger, because it includes the program itself.
	Memory int64 `json:"memory_bytes"`
	// NotReady says why the daemon accepts no messages, or why MTAs cannot find one of its
	// sockets. It is "" if the daemon is ready.
	NotReady string `json:"not_ready,omitempty"`
	Mode     string `json:"mode"` // enforce or monitor
	// Listen lists the milter addresses of the daemon, also those of sockets that systemd passed.
	Listen   []string `json:"listen"`
	Config   Config   `json:"config"`
	Sessions Sessions `json:"sessions"`
	Limits   Limits   `json:"limits"`
	// Messages counts messages by verdict. In monitor mode a message counts under the
	// verdict that enforce mode would have applied.
	Messages map[string]int64 `json:"messages"`
	// Wait is how long MTAs waited for the reply at the end of a message.
	Wait Timing `json:"end_of_message"`
	// Deviations counts messages that were not treated as the author's DMARC policy asks.
	// The keys are the reasons that a report of RFC 9990 gives.
	Deviations map[string]int64 `json:"dmarc_overrides"`
	Results    Results          `json:"results"`
	DNS        DNS              `json:"dns"`
	// Trouble lists the counters that are zero in a healthy daemon, and are not zero now.
	Trouble []Series `json:"trouble"`
	// Topology lists the problems of the set-up around the daemon, in the words of the metric
	// sekimori_topology_problem.
	Topology []string `json:"topology"`
	// MTALacks has, for each feature, the number of MTA connections that did not offer the
	// feature.
	MTALacks map[string]int64 `json:"mta_lacks"`
	// Rules says for each rule of policy.overrides how many messages it decided.
	Rules []Series `json:"rules"`
	// Shadow counts messages by two verdicts: the verdict of the policy in effect, and the
	// verdict of the candidate policy (the settings below "shadow" in the configuration).
	Shadow []Series `json:"shadow"`
	// Reports is missing if the daemon has no store, or has not read it yet.
	Reports *Reports `json:"reports,omitempty"`
	// Marks is missing if bimi.enabled is false.
	Marks *Marks `json:"marks,omitempty"`
}

// Config is the configuration in effect.
type Config struct {
	Hash   string    `json:"hash"`
	Loaded time.Time `json:"loaded"` // when the configuration came into effect
	// LastReloadOK is false if the last reload was refused. The older configuration is then
	// still in effect.
	LastReloadOK bool `json:"last_reload_ok"`
}

// Sessions counts milter connections.
type Sessions struct {
	InFlight int64            `json:"in_flight"` // connections that are open now
	Ended    map[string]int64 `json:"ended"`     // ended connections, by how they ended
	Rejected map[string]int64 `json:"rejected"`  // refused connections, by reason
}

// Limits are the configured limits, for comparison with the current numbers.
type Limits struct {
	MaxSessions   int           `json:"max_sessions"`
	HeaderFields  int           `json:"header_fields"` // largest number of header fields of a message
	HeaderBytes   int64         `json:"header_bytes"`  // largest size of the header of a message, in octets
	Recipients    int           `json:"recipients"`    // largest number of recipients of a message
	MessageBudget time.Duration `json:"message_budget_ns"`
}

// Timing is a number of events, and the mean and the quantiles of their durations.
type Timing struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_seconds"` // 0 if there were no events
	P50   float64 `json:"p50_seconds"`  // half of the events took at most this long, to about 5 %
	P99   float64 `json:"p99_seconds"`  // 99 % of the events took at most this long, to about 5 %
}

// Results counts the results of each mechanism. The keys are the label values of the
// metrics, which are words of the RFCs in most cases. Only messages that were evaluated
// are counted.
type Results struct {
	SPFMailFrom map[string]int64 `json:"spf_mailfrom"`
	SPFHELO     map[string]int64 `json:"spf_helo"`
	DKIM        map[string]int64 `json:"dkim"` // signatures; "none" counts messages without a signature
	DMARC       map[string]int64 `json:"dmarc"`
	Published   map[string]int64 `json:"published"` // number of messages for each DMARC policy that author domains publish
	ARC         map[string]int64 `json:"arc"`
	IPRev       map[string]int64 `json:"iprev"`
}

// Name returns the field Address, or the field Place if Address is "". A daemon that is
// older than this program may not send addresses.
func (s Server) Name() string {
	if s.Address == "" {
		return s.Place
	}
	return s.Address
}

// Server is one of the DNS servers that the daemon asks.
type Server struct {
	Place   string  `json:"place"`   // index in dns.servers, from 0
	Address string  `json:"address"` // as it is configured in dns.servers
	Up      bool    `json:"up"`      // false while no queries go to the server because it failed
	RTT     float64 `json:"rtt_seconds"`
}

// DNS has the numbers of the DNS resolver.
type DNS struct {
	Servers []Server         `json:"servers"`
	Queries map[string]int64 `json:"queries"` // queries to servers, by result
	Time    Timing           `json:"query_time"`
	// BudgetExceeded counts, for each mechanism, lookups that were refused because the
	// message had used up its share of lookups.
	BudgetExceeded map[string]int64 `json:"budget_exceeded"`
	Cache          Cache            `json:"cache"`
}

// Cache has the numbers of the resolver's cache.
type Cache struct {
	Hits      int64 `json:"hits"`
	Misses    int64 `json:"misses"`
	Stale     int64 `json:"stale"` // lookups that were answered with an expired entry
	Evictions int64 `json:"evictions"`
	Entries   int64 `json:"entries"`
	Bytes     int64 `json:"bytes"`
}

// Series is the current value of one time series.
type Series struct {
	Name   string            `json:"name"` // name of the metric without "sekimori_" and "_total"
	Labels map[string]string `json:"labels,omitempty"`
	Value  int64             `json:"value"`
}

// Handler answers every request with the Status in JSON.
func Handler(collect func() *Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(collect()) // an error means that the client has closed the connection
	})
}
