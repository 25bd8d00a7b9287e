package app

import (
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/report"
)

// forReports makes j find out what DMARC reports show of a message and no verdict needs. Without a
// store j does nothing of that.
func forReports(j *judge.Judge, cfg *config.Config) {
	if !cfg.Store.On() {
		return
	}
	j.Whole = true
	j.Marks = &report.Marks{Domain: dns.Name(cfg.Report.Domain), Locals: []string{cfg.Report.Mail.From, cfg.Report.Mail.Bounce}}
	for _, s := range cfg.Report.Aggregate.SpamSign {
		j.Marks.Spam = append(j.Marks.Spam, report.SpamSign(s))
	}
}
