package dmarc

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"sekimori/internal/dns"
)

func TestOrganizationalDomainByList(t *testing.T) {
	cases := []struct {
		why       string
		name, org dns.Name
	}{
		{"top-level rule", "a.example.com", "example.com"},
		{"the suffix itself", "com", ""},
		{"longer rule wins", "a.b.co.jp", "b.co.jp"},
		{"the longer suffix itself", "co.jp", ""},
		{"text after white space is no part of a rule", "x.example.jp", "example.jp"},
		{"wildcard", "a.b.c.kobe.jp", "b.c.kobe.jp"},
		{"what the wildcard matches is a suffix", "c.kobe.jp", ""},
		{"the name under a wildcard is not one by it", "kobe.jp", "kobe.jp"},
		{"exception", "a.city.kobe.jp", "city.kobe.jp"},
		{"the exception itself", "city.kobe.jp", "city.kobe.jp"},
		{"rule in U-labels", "a.example.xn--55qx5d.cn", "example.xn--55qx5d.cn"},
		{"no rule: the top-level domain", "a.b.example", "b.example"},
		{"no rule, single label", "localhost", ""},
		{"private section", "host.example", ""},
		{"a rule and its wildcard both count", "b.a.host.example", "b.a.host.example"},
		{"a rule and its wildcard both count, no more", "a.host.example", ""},
		{"similar end", "a.xcom", "a.xcom"},
		{"root", "", ""},
	}
	list := testList(t)
	if list.Size() != 8 {
		t.Errorf("%d rules, want 8", list.Size())
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			if got := list.OrganizationalDomain(c.name); got != c.org {
				t.Errorf("OrganizationalDomain(%q) = %q, want %q", c.name, got, c.org)
			}
		})
	}
}

func TestLoadPSLRefuses(t *testing.T) {
	cases := []struct {
		why, text string
		want      error
		line      string
	}{
		{"empty file", "", ErrPSLEmpty, ""},
		{"only comments", "// com\n\n", ErrPSLEmpty, ""},
		{"only the default rule", "*\n", ErrPSLEmpty, ""},
		{"an HTML page", "com\n<html>..</html>", ErrPSLRule, "line 2"},
		{"wildcard in the middle", "com\n\na.*.jp", ErrPSLRule, "line 3"},
		{"wildcard of a wildcard", "*.*.jp", ErrPSLRule, "line 1"},
		{"bare exception", "!", ErrPSLRule, "line 1"},
		{"bare wildcard", "*.", ErrPSLRule, "line 1"},
		{"soft hyphen", "\u00ad", ErrPSLRule, "line 1"},
		{"long line", "com\n" + strings.Repeat("a", maxPSLLineLen+1), bufio.ErrTooLong, "after line 1"},
		{"long file", strings.Repeat("// comment\n", MaxPSLLen/11+1) + "com\n", ErrPSLTooLong, ""},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			l, err := LoadPSL(strings.NewReader(c.text))
			if !errors.Is(err, c.want) || l != nil {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.line) {
				t.Errorf("error %q does not say %q", err, c.line)
			}
		})
	}
}
