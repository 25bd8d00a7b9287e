// Package config reads the daemon's configuration and checks it. Package strict
// reads the YAML, and says line and column of every mistake.
//
// Every key has a default; [Default] is the configuration of an empty file. A
// test compares configs/reference.yaml, which documents each key, with these
// types.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/config/strict"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Config is the whole configuration. Treat it as immutable once loaded.
type Config struct {
	Listen []Listener `yaml:"listen"`
	// AuthservID is the authserv-id of our results. "" means the MTA's own
	// name, or the host's name if the MTA does not tell its own.
	AuthservID string `yaml:"authserv_id"`
	// AuthservIDAlso lists other names of ours: results from outside in one of
	// these names are forged.
	AuthservIDAlso []string    `yaml:"authserv_id_also"`
	Mode           policy.Mode `yaml:"mode"`
	Trusted        Trusted     `yaml:"trusted"`
	DNS            DNS         `yaml:"dns"`
	DKIM           DKIM        `yaml:"dkim"`
	DMARC          DMARC       `yaml:"dmarc"`
	ARC            ARC         `yaml:"arc"`
	Policy         Policy      `yaml:"policy"`
	Shadow         string      `yaml:"shadow"` // a candidate configuration to compare with; "" is off
	Report         Report      `yaml:"report"`
	Admin          Admin       `yaml:"admin"`
	Headers        Headers     `yaml:"headers"`
	Log            Log         `yaml:"log"`
	Limits         Limits      `yaml:"limits"`
	DrainTimeout   Duration    `yaml:"drain_timeout"` // how long open sessions may take to finish at a stop
}

// Trusted says whose mail is not evaluated.
type Trusted struct {
	Networks      []Network `yaml:"networks"`
	Authenticated bool      `yaml:"authenticated"` // clients that used SMTP AUTH
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
	BodyLength    dkim.BodyLengthPolicy `yaml:"body_length"` // for signatures with l=
	ClockSkew     Duration              `yaml:"clock_skew"`  // for x= and t=
}

// DMARC configures policy discovery.
type DMARC struct {
	OrganizationalDomain dmarc.Method `yaml:"organizational_domain"`
	PSLFile              string       `yaml:"psl_file"`
}

// ARC names the domains whose seal, as the newest of a valid chain, counts as
// evidence.
type ARC struct {
	TrustedSealers []Domain `yaml:"trusted_sealers"`
}

// Policy says what follows from the facts.
type Policy struct {
	Reject           policy.RejectRule     `yaml:"reject"`
	Quarantine       policy.QuarantineRule `yaml:"quarantine"`
	None             policy.Action         `yaml:"none"` // p=none must not change the handling: tag only
	NoPolicy         policy.Action         `yaml:"no_policy"`
	SPFFail          policy.Action         `yaml:"spf_fail"`
	TempError        policy.Action         `yaml:"temperror"`
	TempErrorUnknown policy.Action         `yaml:"temperror_unknown"`
	InvalidFrom      policy.Action         `yaml:"invalid_from"`
	Overrides        []Override            `yaml:"overrides"`
	Ramp             Ramp                  `yaml:"ramp"`
	Recipients       Recipients            `yaml:"recipients"`
}

// Report configures DMARC reports. This version does not have them, so every
// key must be empty.
type Report struct {
	Store     string                   `yaml:"store"`
	Aggregate map[string]strict.Unread `yaml:"aggregate"`
	Failure   map[string]strict.Unread `yaml:"failure"`
}

// Admin configures the HTTP listener for metrics and health.
type Admin struct {
	Listen    string `yaml:"listen"`     // HOST:PORT; "" is off
	WebConfig string `yaml:"web_config"` // exporter-toolkit's file for TLS and passwords
	Recent    int    `yaml:"recent"`     // decisions remembered; 0 is off
	Pprof     bool   `yaml:"pprof"`      // serve profiles of the process
}

// Log configures the log.
type Log struct {
	Format string `yaml:"format"` // json or text
	Level  string `yaml:"level"`  // debug, info, warn or error
	// Privacy is PrivacyFull or PrivacyLocalParts.
	Privacy string `yaml:"privacy"`
}

// Limits bound how much memory and how many connections MTAs and their clients
// can take.
type Limits struct {
	MaxSessions  int      `yaml:"max_sessions"`
	IdleTimeout  Duration `yaml:"idle_timeout"`
	HeaderFields int      `yaml:"header_fields"` // of one message
	HeaderBytes  Size     `yaml:"header_bytes"`  // of one message
	Recipients   int      `yaml:"recipients"`    // of one message
	Memory       Size     `yaml:"memory"`        // for all connections together; 0 means no limit
	ShownWait    Duration `yaml:"shown_wait"`    // how long to wait for results that are only shown; 0 means not at all
}

// Values of Log.Privacy.
const (
	PrivacyFull       = "full"        // log addresses as they came
	PrivacyLocalParts = "local-parts" // log addresses without their local parts
)

// Default returns the configuration of an empty file.
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
		Policy: Policy{
			Reject:           verdicts.Reject,
			Quarantine:       verdicts.Quarantine,
			None:             policy.NoneActions[0],
			NoPolicy:         verdicts.NoPolicy,
			SPFFail:          verdicts.SPFFail,
			TempError:        verdicts.TempError,
			TempErrorUnknown: verdicts.TempErrorUnknown,
			InvalidFrom:      verdicts.InvalidFrom,
			Recipients:       defaultRecipients(),
			Ramp:             Ramp{Percent: 100},
		},
		Admin:   Admin{Listen: "127.0.0.1:8892", Recent: 2000},
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

// Hash returns 16 hexadecimal digits that differ if two configurations do, for
// the metric config_hash_info. Secrets are left out, because they could be
// guessed from the hash.
func (c *Config) Hash() string {
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		return "" // cannot happen: Print fails only if the writer does
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}
