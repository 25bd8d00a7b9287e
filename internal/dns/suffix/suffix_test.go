package suffix

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sekimori/internal/dns"
)

func TestRegistered(t *testing.T) {
	for _, tt := range []struct {
		name, registered, owner dns.Name
		section                 Section
	}{
		{"example.com", "example.com", "example.com", ICANN},
		{"a.b.example.com", "example.com", "example.com", ICANN},
		{"com", "", "", ICANN},
		{"", "", "", Unlisted},
		{"example.co.jp", "example.co.jp", "example.co.jp", ICANN},
		{"x.example.co.jp", "example.co.jp", "example.co.jp", ICANN},
		{"co.jp", "", "", ICANN},
		{"x.y.kobe.jp", "x.y.kobe.jp", "x.y.kobe.jp", ICANN}, // *.kobe.jp
		{"y.kobe.jp", "", "", ICANN},
		{"a.city.kobe.jp", "city.kobe.jp", "city.kobe.jp", ICANN}, // !city.kobe.jp
		{"me.github.io", "me.github.io", "github.io", Private},
		{"mail.me.github.io", "me.github.io", "github.io", Private},
		{"github.io", "", "github.io", Private},
		{"someone.eu.org", "someone.eu.org", "eu.org", Private},
		{"example.unheard-of", "example.unheard-of", "example.unheard-of", Unlisted},
		{"unheard-of", "", "", Unlisted},
	} {
		if got := Registered(tt.name); got != tt.registered {
			t.Errorf("Registered(%q) = %q, want %q", tt.name, got, tt.registered)
		}
		if got := Owner(tt.name); got != tt.owner {
			t.Errorf("Owner(%q) = %q, want %q", tt.name, got, tt.owner)
		}
		suffix, section := Of(tt.name)
		if section != tt.section {
			t.Errorf("Of(%q) = %q, %q, want %q", tt.name, suffix, section, tt.section)
		}
		if got := IsPublic(tt.name); got != (tt.registered == "") {
			t.Errorf("IsPublic(%q) = %t", tt.name, got)
		}
	}
}

func TestIsTopLevel(t *testing.T) {
	for label, want := range map[string]bool{"com": true, "uk": true, "ck": true, "xn--p1ai": true, "unheard-of": false, "github": false, "": false} {
		if got := IsTopLevel(label); got != want {
			t.Errorf("IsTopLevel(%q) = %t", label, got)
		}
	}
}

// TestMemory asks for more names than the memory has places, each of them twice, so that names replace
// each other.
func TestMemory(t *testing.T) {
	m := NewMemory()
	for i := range 3 * MaxRemembered {
		name := dns.Name(fmt.Sprintf("host.%s.co.jp", strings.Repeat("x", i%60+1)+strconv.Itoa(i)))
		if first, again, want := m.Owner(name), m.Owner(name), Owner(name); first != want || again != want {
			t.Fatalf("Owner(%q) = %q, then %q, want %q", name, first, again, want)
		}
	}
	for _, name := range []dns.Name{"", "com", "github.io", "me.github.io"} {
		if first, again, want := m.Owner(name), m.Owner(name), Owner(name); first != want || again != want {
			t.Errorf("Owner(%q) = %q, then %q, want %q", name, first, again, want)
		}
	}
}

// TestMemoryRemembers writes other owners into the memory, to see when it answers from there.
func TestMemoryRemembers(t *testing.T) {
	const name = "a.b.example.com"
	m := NewMemory()
	m.Owner(name)
	var at *atomic.Uint64
	for i := range m.known {
		if m.known[i].Load() != 0 {
			at = &m.known[i]
		}
	}
	hash := at.Load() &^ 0xff
	for _, tt := range []struct {
		reason string
		known  uint64
		want   dns.Name
	}{
		{"another owner", hash | uint64(len("b.example.com")), "b.example.com"},
		{"no owner", hash, ""},
		{"the name itself", hash | uint64(len(name)), name},
		{"an owner longer than the name, so another name has this hash", hash | uint64(len(name)+1), "example.com"},
		{"another hash", hash ^ 0x100 | uint64(len("b.example.com")), "example.com"},
	} {
		at.Store(tt.known)
		if got := m.Owner(name); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

// FuzzRegistered: Registered and Owner return the name itself, a domain above it, or "". For their
// own result they return the same domain again.
func FuzzRegistered(f *testing.F) {
	for _, seed := range []string{"a.example.com", "co.jp", "x.kobe.jp", "me.github.io", "", "\x00.\xff", "-.--.-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := dns.ParseName(s)
		if err != nil {
			return
		}
		for name, find := range map[string]func(dns.Name) dns.Name{"Registered": Registered, "Owner": Owner} {
			r := find(n)
			if r != "" && !n.Under(r) || strings.HasPrefix(string(r), ".") {
				t.Errorf("%s(%q) = %q", name, n, r)
			}
			if again := find(r); again != r {
				t.Errorf("%s(%q) = %q, and of that %q", name, n, r, again)
			}
		}
	})
}
