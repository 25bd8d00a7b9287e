package config

import (
	"net/url"
	"path/filepath"
	"strings"

	"sekimori/internal/config/strict"
)

// Store is the database of the whole daemon.
type Store struct {
	URL          string `yaml:"url"`           // sqlite:/path or postgres://user@host/database; "" for no store
	PasswordFile string `yaml:"password_file"` // path of the file with the password for PostgreSQL; "" for none
	Spool        Spool  `yaml:"spool"`
}

// On reports whether there is a store.
func (s Store) On() bool { return s.URL != "" }

// Embedded reports whether the store is a file of this host.
func (s Store) Embedded() bool { return strings.HasPrefix(s.URL, sqliteScheme) }

// Path returns the path of the file of an embedded store.
func (s Store) Path() string { return strings.TrimPrefix(s.URL, sqliteScheme) }

// Spool is the directory that takes what cannot be written while PostgreSQL is
// away.
type Spool struct {
	Dir  string `yaml:"dir"`
	Size Size   `yaml:"size"` // largest size of all its files together
}

// Ledger configures what the store remembers of authors.
type Ledger struct {
	Group      string `yaml:"group"`       // hosts with the same group are added up
	MaxDomains int    `yaml:"max_domains"` // largest number of author domains of a day and group
}

// maxGroup is the largest length of ledger.group in octets.
const maxGroup = 63

func (k *checker) ledger(l Ledger) {
	if len(l.Group) > maxGroup || strings.ContainsFunc(l.Group, func(r rune) bool { return r <= ' ' || r > '~' }) {
		k.add("ledger.group", "%q: write at most %d letters, digits and signs, in ASCII and without spaces", l.Group, maxGroup)
	}
	k.atLeastOne("ledger.max_domains", int64(l.MaxDomains))
}

const sqliteScheme = "sqlite:"

// leastSpool is the smallest value of store.spool.size. It is enough for one
// batch.
const leastSpool = 64 << 20

func defaultStore() Store {
	return Store{Spool: Spool{Dir: "/var/lib/sekimori/spool", Size: 1 << 30}}
}

func (k *checker) store(s Store) {
	k.storeURL(s.URL)
	switch {
	case s.PasswordFile == "":
	case !strings.HasPrefix(s.PasswordFile, "/"):
		k.add("store.password_file", "%q: write the whole path; it begins with /", s.PasswordFile)
	case !s.On() || s.Embedded():
		k.add("store.password_file", "only a store of PostgreSQL has a password; store.url names none")
	}
	if !strings.HasPrefix(s.Spool.Dir, "/") {
		k.add("store.spool.dir", "%q: write the whole path; it begins with /", s.Spool.Dir)
	}
	if s.Spool.Size < leastSpool {
		k.add("store.spool.size", "%s is too small; it must be at least %s", s.Spool.Size, Size(leastSpool))
	}
}

// storeURL checks the URL of the store. Its messages never repeat the URL,
// because the URL may have a password in it.
func (k *checker) storeURL(s string) {
	const path, forms = "store.url", "write sqlite:/var/lib/sekimori/sekimori.db or postgres://user@host/database"
	if s == "" {
		return
	}
	if file, ok := strings.CutPrefix(s, sqliteScheme); ok {
		if !strings.HasPrefix(file, "/") || filepath.Clean(file) != file || strings.ContainsAny(file, "?#%") {
			k.add(path, "behind sqlite: stands the whole path of a file, such as sqlite:/var/lib/sekimori/sekimori.db")
		}
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		if strict.Mask(s) != s {
			k.add(path, "a password here could be seen in logs and backups; write it into a file, name that in store.password_file, and %s", forms)
			return
		}
		k.add(path, "not the URL of a store; %s", forms)
		return
	}
	query := u.Query()
	_, secret := u.User.Password()
	if secret || query.Has("password") || query.Has("sslpassword") {
		k.add(path, "a password here could be seen in logs and backups; write it into a file, and name that in store.password_file")
		return
	}
	if strings.Trim(u.Path, "/") == "" {
		k.add(path, "the URL names no database; %s", forms)
	}
}
