package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"sekimori/internal/admin"
	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// The keys of files with secrets.
const (
	storePassword = "store.password_file"
	mailPassword  = "report.mail.password_file"
	reportKey     = "report.mail.dkim.key_file"
)

// files returns the keys that name a file which the daemon reads, except the files of rules and of
// the candidate.
func files(cfg *config.Config) []struct{ key, path string } {
	list := []struct{ key, path string }{
		{"dmarc.psl_file", cfg.DMARC.PSLFile}, {"policy.recipients.file", cfg.Policy.Recipients.File}, {"admin.web_config", cfg.Admin.WebConfig},
		{storePassword, cfg.Store.PasswordFile}, {mailPassword, cfg.Report.Mail.PasswordFile}, {reportKey, cfg.Report.Mail.DKIM.KeyFile},
		{"geo.country", cfg.Geo.Country},
	}
	for i, path := range cfg.BIMI.Roots {
		list = append(list, struct{ key, path string }{"bimi.roots[" + strconv.Itoa(i) + "]", path})
	}
	for i, path := range cfg.BIMI.CTLogs {
		list = append(list, struct{ key, path string }{"bimi.ct_logs[" + strconv.Itoa(i) + "]", path})
	}
	return list
}

// checkFiles refuses files that are not regular, because opening a named pipe, for example,
// could hang. The files of rules and the candidate's file are not checked here; they are checked
// when they are read.
func checkFiles(cfg *config.Config) error {
	for _, file := range files(cfg) {
		if err := config.Regular(file.path); err != nil {
			return fmt.Errorf("app: %s: %w", file.key, err)
		}
	}
	return nil
}

// Check reads all files that the configuration names, and checks resolv.conf and the groups and
// directories of sockets and of the store. It binds no address, because the running daemon may have bound it, and asks
// neither DNS servers nor a socketmap server. The error lists every problem; those that are not in
// another file are a [*config.Error] without lines, which config.Place adds.
func Check(cfg *config.Config) error {
	var own []config.Problem
	var others []error // have a file and line of their own
	add := func(key string, err error) {
		var placed *config.Error
		switch {
		case err == nil:
		case errors.As(err, &placed) && len(placed.Problems) > 0:
			others = append(others, err)
		default:
			own = append(own, config.Problem{Path: key, Message: withoutKey(err, key)})
		}
	}
	for _, file := range files(cfg) {
		add(file.key, config.Regular(file.path))
	}
	if len(own) == 0 { // what is not a regular file must not be opened
		_, err := NewVerifier(cfg, nil, 0, nil)
		add("dmarc.psl_file", err)
		_, err = MarkRules(cfg)
		add("bimi", err)
		add("policy.recipients.file", checkRecipients(cfg.Policy.Recipients))
		add("admin.web_config", admin.Check(cfg.Admin.WebConfig))
		_, err = Countries(cfg, slog.New(slog.DiscardHandler))
		add("geo.country", err)
		_, err = password(storePassword, cfg.Store.PasswordFile)
		add(storePassword, err)
		_, err = password(mailPassword, cfg.Report.Mail.PasswordFile)
		add(mailPassword, err)
		if cfg.Report.Mail.DKIM.KeyFile != "" {
			_, err = ReportKey(&cfg.Report)
			add(reportKey, err)
		}
	}
	_, err := Policy(cfg)
	add("policy.overrides", err)
	_, err = Shadow(cfg)
	add("shadow", err)
	add("dns", checkDNS(cfg.DNS, resolver.ResolvConf))
	add("store.url", checkStore(cfg.Store, systemdRuns))
	for i, l := range cfg.Listen {
		add("listen["+strconv.Itoa(i)+"]", checkListener(l))
	}
	if cfg.Report.Sends() {
		add("report.mail.bounces", checkListener(cfg.Report.Mail.Bounces))
	}
	return errors.Join(append(others, (&config.Error{Problems: own}).OrNil())...)
}

// stateDirectory is the directory that sekimori.service makes when it starts (StateDirectory=).
const stateDirectory = "/var/lib/sekimori"

// systemdRuns is the path that exists if systemd runs this host, see sd_booted(3).
const systemdRuns = "/run/systemd/system"

// checkStore checks that the directory of an SQLite file exists. The daemon makes the file, but not
// its directory. booted is systemdRuns; on a host with systemd, the unit makes stateDirectory.
func checkStore(s config.Store, booted string) error {
	if !s.Embedded() {
		return nil // the daemon makes the directory of the spool, and starts without PostgreSQL
	}
	dir := filepath.Dir(s.Path())
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(booted); err == nil && dir == stateDirectory {
			return nil
		}
		return fmt.Errorf("the directory %s does not exist; make it, writable for the daemon's user: install -d -m 700 -o %s %s", dir, DaemonUser, dir)
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a directory, so there can be no file in it", dir)
	}
	return nil
}

// checkListener checks that the group of a unix socket exists, and the directory. systemd or
// systemd-tmpfiles makes the directories in /run when the daemon starts, so these may be missing.
func checkListener(l config.Listener) error {
	if l.Group != "" {
		if _, err := user.LookupGroup(string(l.Group)); err != nil {
			if _, numeric := strconv.Atoi(string(l.Group)); numeric != nil {
				return fmt.Errorf("this host has no group %s", l.Group)
			}
		}
	}
	path, unix := strings.CutPrefix(l.Address, "unix:")
	if dir := filepath.Dir(path); unix && !strings.HasPrefix(dir, "/run/") {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the directory %s of the socket does not exist; make it, writable for the daemon's user", dir)
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is not a directory, so there can be no socket in it", dir)
		}
	}
	return nil
}

// withoutKey returns the text of err without the name of a package and the key at its beginning.
func withoutKey(err error, key string) string {
	text := err.Error()
	for _, prefix := range []string{"app: ", "admin: ", "config: ", "policy.recipients: ", "consent: ", key + ": ", "web configuration "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
