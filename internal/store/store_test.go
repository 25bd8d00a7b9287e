package store

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/store/sqlite"
)

// TestOpen opens stores by their URLs, for the daemon and beside it.
func TestOpen(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	if s, err := OpenBeside(t.Context(), url, Options{}); err == nil || s != nil {
		t.Errorf("a command made a store: %v, %v", s, err)
	}
	s, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s, err := Open(t.Context(), url, Options{}); !errors.Is(err, sqlite.ErrInUse) || s != nil {
		t.Errorf("second daemon: %v, %v", s, err)
	}
	beside, err := OpenBeside(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	beside.Close()
}

// TestOpenPostgres refuses URLs. No message may have the password in it.
func TestOpenPostgres(t *testing.T) {
	both := map[string]func(context.Context, string, Options) (Store, error){"Open": Open, "OpenBeside": OpenBeside}
	for _, url := range []string{"postgres://user:hunter2@db.example/sekimori", "postgres://db.example/sekimori?password=hunter2", "mysql://user:hunter2@db.example/x",
		"postgres://user:hunter2@db.example:port/x", "user:hunter2@db.example", "postgres://user:hunter2%zz@db.example/x"} {
		for name, open := range both {
			s, err := open(t.Context(), url, Options{})
			if err == nil || s != nil {
				t.Errorf("%s %s: %v, %v", name, url, s, err)
			} else if strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "postgres: ") {
				t.Errorf("%s says %v", name, err)
			}
		}
	}
	for name, open := range both {
		s, err := open(t.Context(), "postgres://sekimori@db.example/sekimori", Options{Password: "hunter2"})
		if err != nil {
			t.Fatal(name, err)
		}
		s.Close()
	}
}

func TestFile(t *testing.T) {
	for url, want := range map[string]string{"sqlite:/var/lib/x.db": "/var/lib/x.db", "postgres://db.example/x": "", "": ""} {
		if got := File(url); got != want {
			t.Errorf("%q: got %q", url, got)
		}
	}
}
