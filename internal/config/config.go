// Package config reads the daemon's configuration and checks it. It uses
// package strict to read the YAML and to report each mistake with its line and
// column.
//
// Every key has a default. [Default] returns the configuration that an empty
// file gives. configs/reference.yaml documents each key, and a test compares it
// with the types of this package.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Config is the whole configuration. It must not be changed after it was
// loaded.
type Config struct {
	Listen []Listener `yaml:"listen"`
	// AuthservID is the authserv-id in the results that we write. If it is "",
	// the name that the MTA gives for itself is used, or the host's name if the
	// MTA's name has no dot.
	AuthservID string `yaml:"authserv_id"`
	// AuthservIDAlso lists further authserv-ids. Results from outside that use
	// one of them are treated as forged.
	AuthservIDAlso []string    `yaml:"authserv_id_also"`
	Mode           policy.Mode `yaml:"mode"`
	Trusted        Trusted     `yaml:"trusted"`
	DNS            DNS         `yaml:"dns"`
	DKIM           DKIM        `yaml:"dkim"`
	DMARC          DMARC       `yaml:"dmarc"`
	ARC            ARC         `yaml:"arc"`
	BIMI           BIMI        `yaml:"bimi"`
	Policy         Policy      `yaml:"policy"`
	Watch          []Watch     `yaml:"watch"`  // domains that are watched, and who looks like them
	Shadow         string      `yaml:"shadow"` // path of a candidate configuration to compare with; "" for none
	Store          Store       `yaml:"store"`
	Ledger         Ledger      `yaml:"ledger"`
	History        History     `yaml:"history"`
	Geo            Geo         `yaml:"geo"`
	Stats          Stats       `yaml:"stats"`
	Report         Report      `yaml:"report"`
	Admin          Admin       `yaml:"admin"`
	Headers        Headers     `yaml:"headers"`
	Log            Log         `yaml:"log"`
	Limits         Limits      `yaml:"limits"`
	DrainTimeout   Duration    `yaml:"drain_timeout"` // how long open sessions may go on after SIGTERM
}

// Trusted says which clients' mail is not evaluated.
type Trusted struct {
	Networks      []Network `yaml:"networks"`
	Authenticated bool      `yaml:"authenticated"` // whether clients that used SMTP AUTH are trusted
	// Relays are hosts in front of the MTA. Their mail is evaluated, as mail of
	// the client that they name in their Received field.
	Relays []Relay `yaml:"relays"`
}

// Contains reports whether addr lies in a trusted network.
func (t Trusted) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, n := range t.Networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// DKIM configures signature verification.
type DKIM struct {
	MaxSignatures int                   `yaml:"max_signatures"`
	MinRSABits    int                   `yaml:"min_rsa_bits"`
	BodyLength    dkim.BodyLengthPolicy `yaml:"body_length"` // how signatures with l= are treated
	ClockSkew     Duration              `yaml:"clock_skew"`  // tolerance when x= and t= are compared with our clock
}

// DMARC configures policy discovery.
type DMARC struct {
	OrganizationalDomain dmarc.Method `yaml:"organizational_domain"`
	PSLFile              string       `yaml:"psl_file"`
}

// ARC lists the domains of trusted ARC sealers; see
// policy.Config.TrustedSealers.
type ARC struct {
	TrustedSealers []Domain `yaml:"trusted_sealers"`
}

// Policy configures the verdicts; see policy.Config.
type Policy struct {
	Reject           policy.RejectRule     `yaml:"reject"`
	Quarantine       policy.QuarantineRule `yaml:"quarantine"`
	Learned          policy.LearnedRule    `yaml:"learned"`
	None             policy.Action         `yaml:"none"` // only tag is allowed, because p=none must not change the handling
	NoPolicy         policy.Action         `yaml:"no_policy"`
	SPFFail          policy.Action         `yaml:"spf_fail"`
	TempError        policy.Action         `yaml:"temperror"`
	TempErrorUnknown policy.Action         `yaml:"temperror_unknown"`
	InvalidFrom      policy.Action         `yaml:"invalid_from"`
	Overrides        []Override            `yaml:"overrides"`
	Ramp             Ramp                  `yaml:"ramp"`
	Recipients       Recipients            `yaml:"recipients"`
	Reply            Reply                 `yaml:"reply"`
}

// Admin configures the HTTP listener for metrics and health.
type Admin struct {
	Listen    string `yaml:"listen"`     // HOST:PORT; "" for no listener
	WebConfig string `yaml:"web_config"` // path of an exporter-toolkit file that sets up TLS and passwords
	Recent    int    `yaml:"recent"`     // how many decisions are remembered
	Pprof     bool   `yaml:"pprof"`      // whether profiles of the process are served
	Try       bool   `yaml:"try"`        // whether the console judges messages that are pasted into it
}

// Log configures the log.
type Log struct {
	Format string `yaml:"format"` // json or text
	Level  string `yaml:"level"`  // debug, info, warn or error
	// Privacy is PrivacyFull or PrivacyLocalParts. It also applies to the
	// remembered decisions.
	Privacy string `yaml:"privacy"`
}

// Limits are the limits on the memory and the connections that MTAs and their
// clients can use.
type Limits struct {
	MaxSessions  int      `yaml:"max_sessions"`
	IdleTimeout  Duration `yaml:"idle_timeout"`
	HeaderFields int      `yaml:"header_fields"` // largest number of fields of a message
	HeaderBytes  Size     `yaml:"header_bytes"`  // largest size of the header of a message
	Recipients   int      `yaml:"recipients"`    // largest number of recipients of a message
	Memory       Size     `yaml:"memory"`        // largest memory of all connections together; 0 for no limit
	ShownWait    Duration `yaml:"shown_wait"`    // how long a message waits for results that only the label needs
}

// The values of Log.Privacy.
const (
	PrivacyFull       = "full"        // log addresses as they came
	PrivacyLocalParts = "local-parts" // log addresses without their local parts
)

// Default returns the configuration that an empty file gives: the default of
// every key.
func Default() *Config {
	verdicts, signatures := policy.Default(), dkim.Options{}.WithDefaults()
	return &Config{
		Listen: []Listener{{Address: "inet:127.0.0.1:8891"}},
		Mode:   verdicts.Mode,
		Trusted: Trusted{
			Networks:      []Network{{netip.MustParsePrefix("127.0.0.0/8")}, {netip.MustParsePrefix("::1/128")}},
			Authenticated: true,
		},
		DNS: defaultDNS(),
		DKIM: DKIM{
			MaxSignatures: signatures.MaxSignatures, MinRSABits: signatures.MinRSABits,
			BodyLength: signatures.BodyLength, ClockSkew: Duration(signatures.Skew),
		},
		DMARC: DMARC{OrganizationalDomain: dmarc.TreeWalk},
		BIMI:  defaultBIMI(),
		Policy: Policy{
			Reject:           verdicts.Reject,
			Quarantine:       verdicts.Quarantine,
			Learned:          verdicts.Learned,
			None:             policy.NoneActions[0],
			NoPolicy:         verdicts.NoPolicy,
			SPFFail:          verdicts.SPFFail,
			TempError:        verdicts.TempError,
			TempErrorUnknown: verdicts.TempErrorUnknown,
			InvalidFrom:      verdicts.InvalidFrom,
			Recipients:       defaultRecipients(),
			Ramp:             Ramp{Percent: 100},
		},
		Store:   defaultStore(),
		Ledger:  Ledger{MaxDomains: 1_000_000},
		History: defaultHistory(),
		Report:  defaultReport(),
		Admin:   Admin{Listen: "127.0.0.1:8892", Recent: 2000, Try: true},
		Headers: Headers{Style: label.Styles[0], MailFrom: label.MailFroms[0]},
		Log:     Log{Format: "json", Level: "info", Privacy: PrivacyFull},
		Limits: Limits{
			MaxSessions:  milter.DefaultMaxSessions,
			IdleTimeout:  Duration(milter.DefaultIdleTimeout),
			HeaderFields: milter.DefaultMaxHeaderFields,
			HeaderBytes:  milter.DefaultMaxHeaderBytes,
			Recipients:   milter.DefaultMaxRecipients,
			Memory:       1 << 30,
			ShownWait:    Duration(msgauth.DefaultGrace),
		},
		DrainTimeout: Duration(330 * time.Second),
	}
}

// Hash returns 16 hexadecimal digits for the metric config_hash_info. Two
// configurations with different values have different hashes, unless only
// secrets differ. Secrets do not affect the hash, because they could be guessed
// from it.
func (c *Config) Hash() string {
	var b strings.Builder
	_ = c.Print(&b) // which only fails if the writer does
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// SharedHash is Hash without what hosts of a farm have of their own: names, addresses at which the host
// itself listens, how it reaches the store and the DNS servers, and paths of files. Of a path it only counts whether there is
// one. So hosts that decide alike have the same hash.
func (c *Config) SharedHash() string {
	s := *c
	s.Listen, s.AuthservID, s.Admin.Listen, s.Report.Mail.Bounces, s.Store.URL = nil, "", "", Listener{}, ""
	s.DNS.Servers = nil
	for _, path := range []*string{
		&s.Admin.WebConfig, &s.DMARC.PSLFile, &s.Shadow, &s.Policy.Recipients.File, &s.Policy.Recipients.Socketmap,
		&s.Report.Mail.PasswordFile, &s.Report.Mail.DKIM.KeyFile, &s.Store.PasswordFile, &s.Store.Spool.Dir,
	} {
		if *path != "" {
			*path = "/"
		}
	}
	return s.Hash()
}
