package config

import (
	"strconv"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/label"
)

// BIMI configures the marks of authors (Brand Indicators for Message
// Identification). The defaults are safe: Enabled alone is a complete
// configuration.
type BIMI struct {
	Enabled            bool             `yaml:"enabled"`
	RequireCertificate bool             `yaml:"require_certificate"` // whether a mark certificate must vouch for the mark
	RequireDKIM        bool             `yaml:"require_dkim"`        // whether an aligned signature must cover From and the whole body
	Header             label.MarkFields `yaml:"header"`              // which fields hand the mark on
	MarkTypes          []bimi.MarkType  `yaml:"mark_types"`          // the types of certified marks that are shown
	Roots              []string         `yaml:"roots"`               // paths of PEM files that replace the built-in roots; empty for those
	Pilot              bool             `yaml:"pilot"`               // whether certificates with the pilot extension are accepted
	CTLogs             []string         `yaml:"ct_logs"`             // paths of PEM files, each with the public key of a certificate log
	Wait               Duration         `yaml:"wait"`                // how long a message may wait for a mark that is being fetched
	Always             []Pattern        `yaml:"always"`              // Organizational Domains whose marks are fetched although they are not established
}

func defaultBIMI() BIMI {
	return BIMI{RequireCertificate: true, RequireDKIM: true, Header: label.MarkFieldsAll[0], MarkTypes: bimi.MarkTypes()}
}

// The limits of the section bimi.
const (
	maxMarkWait = 2 * time.Second // a message holds a connection of the MTA while it waits
	maxRoots    = 50              // files of bimi.roots; fewer than ten issuers exist
	maxCTLogs   = 50              // files of bimi.ct_logs; about ten logs take mark certificates
)

func (k *checker) bimi(b BIMI) {
	word(k, "bimi.header", b.Header, label.MarkFieldsAll)
	words(k, "bimi.mark_types", b.MarkTypes, bimi.MarkTypes())
	if b.Enabled && b.RequireCertificate && len(b.MarkTypes) == 0 {
		k.add("bimi.mark_types", "name at least one type, or no mark can be shown")
	}
	if b.Wait < 0 || time.Duration(b.Wait) > maxMarkWait {
		k.add("bimi.wait", "%s is not between 0s and %s", b.Wait, Duration(maxMarkWait))
	}
	k.files("bimi.roots", b.Roots, maxRoots)
	k.files("bimi.ct_logs", b.CTLogs, maxCTLogs)
}

// files adds a problem for each path of a list that is empty, and one if the
// list has more than limit paths.
func (k *checker) files(path string, list []string, limit int) {
	if len(list) > limit {
		k.add(path, "at most %d files", limit)
	}
	for i, file := range list {
		if file == "" {
			k.add(path+"["+strconv.Itoa(i)+"]", "name a file")
		}
	}
}
