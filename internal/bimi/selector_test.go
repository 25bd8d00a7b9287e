package bimi

import (
	"strings"
	"testing"

	"sekimori/internal/dns"
)

func TestParseSelector(t *testing.T) {
	for in, want := range map[string]string{
		" v=BIMI1; s=brand":                      "brand",
		" v=BIMI1; s=Brand;":                     "brand",
		" v=BIMI1;\r\n s=brand":                  "brand",
		"v=BIMI1; s=a.b-2.c":                     "a.b-2.c",
		" v=BIMI1; s=brand; x=y":                 "brand",
		" s=brand; v=BIMI1":                      "",
		" v=bimi1; s=brand":                      "",
		" v=BIMI1":                               "",
		" v=BIMI1; s=":                           "",
		" v=BIMI1; s=a; s=b":                     "",
		" v=BIMI1; s=a_b":                        "",
		" v=BIMI1; s=-a":                         "",
		" v=BIMI1; s=a-":                         "",
		" v=BIMI1; s=a..b":                       "",
		" v=BIMI1; s=.a":                         "",
		" v=BIMI1; s=a.":                         "",
		" v=BIMI1; s=bücher":                     "",
		" v=BIMI1; s=a b":                        "",
		" v=BIMI1; s=" + strings.Repeat("x", 63): strings.Repeat("x", 63),
		" v=BIMI1; s=" + strings.Repeat("x", 64): "",
		" v=BIMI1; s=a; x=" + strings.Repeat("x", maxSelectorField): "",
		"": "",
	} {
		if got := ParseSelector(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestLocalPartSelector(t *testing.T) {
	for in, want := range map[string]string{
		"news":                         "news",
		"News.Letter":                  "news-letter",
		"news_letter+2026":             "news-letter",
		"__a..b--c__":                  "a-b-c",
		"+x":                           "",
		"...":                          "",
		"o'neil":                       "",
		"bücher":                       "",
		"a b":                          "",
		"":                             "",
		strings.Repeat("x", 63):        strings.Repeat("x", 63),
		strings.Repeat("x", 64):        "",
		strings.Repeat("x", 1<<16):     "",
		"a" + strings.Repeat(".", 100): "a",
	} {
		if got := LocalPartSelector(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		lps, local, want string
	}{
		{"", "news", "news"},
		{" , ", "news", "news"},
		{"shop,news", "news.letter", "news-letter"},
		{"shop, News", "newsletter", "newsletter"},
		{"shop-", "shopping", ""},
		{"shop-", "shop.x", "shop-x"},
		{"shop_", "shop.x", "shop-x"},
		{"shop", "news", ""},
		{"news", "n", ""},
		{"", "o'neil", ""},
	} {
		r := Record{ByLocalPart: true, Prefixes: c.lps}
		got, ok := r.wants(c.local)
		if !ok {
			got = ""
		}
		if got != c.want {
			t.Errorf("lps=%q, %q: got %q, want %q", c.lps, c.local, got, c.want)
		}
	}
	if _, ok := (&Record{Prefixes: "a"}).wants("a"); ok {
		t.Error("a record without lps= wants a local part")
	}
}

// FuzzSelector checks that every selector is a valid beginning of a name.
func FuzzSelector(f *testing.F) {
	for _, seed := range []string{" v=BIMI1; s=brand", "v=BIMI1;s=a.b", " v=BIMI1;\r\n\ts=x;", "v=BIMI1; s=-"} {
		f.Add(seed, "news.letter+x", "news,shop-")
	}
	f.Fuzz(func(t *testing.T, field, local, prefixes string) {
		r := Record{ByLocalPart: true, Prefixes: prefixes}
		own, _ := r.wants(local)
		for _, selector := range []string{ParseSelector(field), own} {
			if selector == "" {
				continue
			}
			name, err := dns.ParseName(selector + "._bimi.example.com")
			if err == nil && string(name) != selector+"._bimi.example.com" || err != nil && len(selector) < 200 {
				t.Fatalf("%q, %q: selector %q: %q, %v", field, local, selector, name, err)
			}
			if strings.Trim(selector, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
				t.Fatalf("%q, %q: selector %q", field, local, selector)
			}
		}
	})
}
