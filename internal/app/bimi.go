package app

import (
	"sekimori/internal/bimi"
	"sekimori/internal/config"
	"sekimori/internal/msgauth"
)

// markOptions sets the options of BIMI. marks knows the marks of authors. If it is nil, messages are
// told what is in DNS, and nothing is fetched.
func markOptions(o *msgauth.Options, cfg *config.Config, marks bimi.Indicators) {
	if !cfg.BIMI.Enabled {
		return
	}
	if marks == nil {
		marks = bimi.Unfetched{}
	}
	o.Indicators = marks
	o.BIMI = bimi.Options{RequireCertificate: cfg.BIMI.RequireCertificate, RequireDKIM: cfg.BIMI.RequireDKIM}
}
