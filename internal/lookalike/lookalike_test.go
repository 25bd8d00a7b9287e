package lookalike

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/testkit/suites"
)

func matcher(tb testing.TB, lists ...List) *Matcher {
	tb.Helper()
	m, err := New(lists)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestSkeleton(t *testing.T) {
	m := matcher(t, List{Name: "a", Domains: []string{"a.example"}})
	for _, tt := range []struct{ reason, a, b string }{
		{"upper case", "BANK", "bank"},
		{"Cyrillic", "bаnk", "bank"},
		{"Greek capitals", "ΒΑΝΚ", "bank"},
		{"digits", "b4nk", "bank"},
		{"one and el", "1loyds", "lloyds"},
		{"eye and el", "iloyds", "lloyds"},
		{"capital eye", "Iloyds", "lloyds"},
		{"dotless eye", "mızuho", "mizuho"},
		{"zero", "rakut0n", "rakuton"},
		{"rn and m", "arnazon", "amazon"},
		{"vv and w", "vvells", "wells"},
		{"accents", "bänk", "bank"},
		{"accents of two characters", "ba\u0308nk", "bänk"},
		{"stacked accents", "b\u0301\u0302\u0303ank", "bank"},
		{"full width", "ｂａｎｋ", "bank"},
		{"mathematical", "𝗯𝒂𝚗𝕜", "bank"},
		{"a soft hyphen", "ba\u00adnk", "bank"},
		{"a zero-width joiner", "ba\u200dnk", "bank"},
		{"half-width kana", "ﾐｽﾞﾎ銀行", "ミズホ銀行"},
		{"hiragana", "みずほ銀行", "ミズホ銀行"},
		{"kanji for kana", "三菱UFJニコス", "三菱UFJ二コス"},
		{"a long vowel and one", "ソニー", "ソニ一"},
		{"an old form", "国税庁", "国税庁"},
		{"radicals", "⽇本", "日本"},
		{"spaces", "a　 \t b", "a b"},
		{"a space at the beginning", " a", "a"},
		{"the first accent", "ba\u0300nk", "bank"},
		{"the last accent", "ba\u036fnk", "bank"},
		{"the first hiragana", "ぁ", "ァ"},
		{"the last hiragana", "ゖ", "ヶ"},
		{"a capital that looks like nothing else", "Ж", "ж"},
		{"a capital whose small letter is in the table", "Г", "r"},
		{"a sign", "a★b", "a b"},
		{"signs for letters", "m|zuho$ ba!", "mizuhos bal"},
	} {
		if a, b := m.skeleton(nil, tt.a), m.skeleton(nil, tt.b); string(a) != string(b) {
			t.Errorf("%s: %q is %q, %q is %q", tt.reason, tt.a, a, tt.b, b)
		}
	}
	for _, tt := range []struct{ reason, a, b string }{
		{"voiced kana are other letters", "かき", "がき"},
		{"p and b", "パン", "バン"},
		{"other letters", "bank", "bunk"},
		{"other digits, of Devanagari", "a३", "a४"},
		{"digits that are not in the table", "a४", "a५"},
		{"a letter of Latin-1", "aß", "a "},
		{"v before another letter", "va", "w"},
		{"a mark of another script", "कि", "कु"},
	} {
		if a, b := m.skeleton(nil, tt.a), m.skeleton(nil, tt.b); string(a) == string(b) {
			t.Errorf("%s: both are %q", tt.reason, a)
		}
	}
}

// TestASCII has what stands for each character of ASCII from the space on.
func TestASCII(t *testing.T) {
	const want = " l  s        -. olzeasbtbg       abcdefghljklmnopqrstuvwxyz      abcdefghljklmnopqrstuvwxyz l  "
	for i := range len(want) {
		if c := byte(' ' + i); ascii(c) != want[i] {
			t.Errorf("%q: %q, want %q", c, ascii(c), want[i])
		}
	}
}

// parsed returns the name, or the root for "".
func parsed(t *testing.T, name string) dns.Name {
	t.Helper()
	if name == "" {
		return ""
	}
	n, err := dns.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func text(f *Finding) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %s", f.List, f.Of, f.Lookalike)
}

func TestMatch(t *testing.T) {
	m := matcher(t,
		List{Name: "banks", Domains: []string{"mizuho.example", "my-bank.co.jp", "ab.example", "日本茶.jp", "茶.jp"}, Names: []string{"みずほ銀行", "First Bank", "Dr.No-Bank"}, Lookalikes: true},
		List{Name: "state", Domains: []string{".go.jp", ".museum"}, Lookalikes: true},
		List{Name: "plain", Domains: []string{"plainer.example"}},
	)
	for _, tt := range []struct{ reason, author, display, want string }{
		{"the domain itself", "mizuho.example", "", "banks mizuho.example "},
		{"below it", "news.mizuho.example", "", "banks mizuho.example "},
		{"below a tree", "mof.go.jp", "", "state .go.jp "},
		{"a tree is the names below", "go.jp", "", ""},
		{"another domain", "other.example", "Ann", ""},
		{"no author", "", "みずほ銀行", ""},

		{"Cyrillic", "mizuhо.example", "", "banks mizuho.example domain"},
		{"a digit", "m1zuho.example", "", "banks mizuho.example domain"},
		{"el for eye", "mlzuho.example", "", "banks mizuho.example domain"},
		{"a hyphen more", "mi-zuho.example", "", "banks mizuho.example domain"},
		{"a hyphen less", "mybank.co.jp", "", "banks my-bank.co.jp domain"},
		{"a host of it", "mail.m1zuho.example", "", "banks mizuho.example domain"},
		{"short ones too", "a8.example", "", "banks ab.example domain"},
		{"other kanji", "日本荼.jp", "", ""},

		{"inside, as labels", "mizuho.example.evil.test", "", "banks mizuho.example inside"},
		{"inside, with hyphens", "mizuho-example.evil.test", "", "banks mizuho.example inside"},
		{"inside, at the end", "not-mizuho.example", "", "banks mizuho.example inside"},
		{"a tree with hyphens", "mof-go.jp", "", "state .go.jp inside"},
		{"a tree with a zero", "mof.g0.jp", "", "state .go.jp inside"},
		{"a tree inside", "mof.go.jp.evil.test", "", "state .go.jp inside"},
		{"a tree with another end", "mof.go-jp.test", "", "state .go.jp inside"},
		{"a tree is not found within words", "cargo.jp", "", ""},
		{"a short one is not looked for inside", "ab-example.evil.test", "", ""},

		{"another suffix", "mizuho.test", "", "banks mizuho.example brand"},
		{"between hyphens", "login-m1zuho-card.test", "", "banks mizuho.example brand"},
		{"at the beginning", "mizuhologin.test", "", "banks mizuho.example brand"},
		{"at the end", "loginmizuho.test", "", "banks mizuho.example brand"},
		{"as a host", "mizuho.evil.test", "", "banks mizuho.example brand"},
		{"in the middle of a word", "xmizuhox.test", "", ""},
		{"its hyphen left out", "mybank.test", "", "banks my-bank.co.jp brand"},
		{"Japanese, at the beginning", "日本茶屋.test", "", "banks 日本茶.jp brand"},
		{"Japanese, another suffix", "日本茶.test", "", "banks 日本茶.jp brand"},
		{"short", "ab.test", "", ""},
		{"one kanji", "茶.test", "", ""},

		{"the name", "evil.test", "みずほ銀行 サポート", "banks みずほ銀行 name"},
		{"the name in half width", "evil.test", "【重要】ﾐｽﾞﾎ銀行", "banks みずほ銀行 name"},
		{"the name in full width", "evil.test", "Ｆｉｒｓｔ　Ｂａｎｋ", "banks First Bank name"},
		{"the name with signs", "evil.test", "*First-Bank* Support", "banks First Bank name"},
		{"the name in Cyrillic", "evil.test", "Fіrst Ваnk", "banks First Bank name"},
		{"a name with a dot and a hyphen", "evil.test", "dr no bank", "banks Dr.No-Bank name"},
		{"the domain behind a dot", "evil.test", "at .mizuho.example", "banks mizuho.example name"},
		{"a tree of one label", "evil.test", "the louvre.museum", "state .museum name"},
		{"a tree of one label at the beginning", "evil.test", ".museum of art", "state .museum name"},
		{"letters that are apart", "evil.test", "f i r s t b a n k", ""},
		{"as many words as the longest name has", "evil.test", "F irst Bank", "banks First Bank name"},
		{"one more", "evil.test", "F ir st Bank", ""},
		{"the name with dots", "evil.test", "First.Bank Support", "banks First Bank name"},
		{"no spaces around the name", "evil.test", "お客様みずほ銀行です", "banks みずほ銀行 name"},
		{"no spaces, at the end", "evil.test", "株式会社みずほ銀行", "banks みずほ銀行 name"},
		{"no spaces, one letter less", "evil.test", "株式会社みずほ銀", ""},
		{"a word beside a dot is not a tree", "evil.test", "the museum, etc.", ""},
		{"only whole words", "evil.test", "First Bankers", ""},
		{"the domain", "evil.test", "support@mizuho.example", "banks mizuho.example name"},
		{"the domain among words", "evil.test", "Mail from mizuho.example.", "banks mizuho.example name"},
		{"a domain of the tree", "evil.test", "tax@nta.go.jp", "state .go.jp name"},
		{"the brand alone", "evil.test", "MIZUHO", "banks mizuho.example name"},
		{"a person of that name", "evil.test", "Mizuho Tanaka", ""},
		{"its own domain may", "mizuho.example", "みずほ銀行", "banks mizuho.example "},

		{"without lookalikes, itself", "plainer.example", "", "plain plainer.example "},
		{"without lookalikes, others", "p1ainer.example", "plainer", ""},
	} {
		got := text(m.Match(parsed(t, tt.author), []string{"", tt.display}))
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
	if (*Matcher)(nil).Match("mizuho.example", nil) != nil {
		t.Error("nothing is watched, and something was found")
	}
	if m, err := New(nil); m != nil || err != nil {
		t.Errorf("no lists: %v, %v", m, err)
	}
}

// TestEntries watches few entries at a time, so that no other entry hides what becomes of one.
func TestEntries(t *testing.T) {
	one := func(domains ...string) []List { return []List{{Name: "a", Domains: domains, Lookalikes: true}} }
	names := func(names ...string) []List { return []List{{Name: "a", Names: names}} }
	twice := append(one("bank.example"), List{Name: "b", Domains: []string{"bank.example"}, Lookalikes: true})
	for _, tt := range []struct {
		reason                string
		lists                 []List
		author, display, want string
	}{
		{"the first of two lists", twice, "bank.example", "", "a bank.example "},
		{"the first of two lists, for what looks alike", twice, "bank.test", "", "a bank.example brand"},
		{"the first of two trees", append(one(".go.jp"), List{Name: "b", Domains: []string{".go.jp"}}), "mof.go.jp", "", "a .go.jp "},
		{"the first of two lists with a name", append(names("First Bank"), List{Name: "b", Names: []string{"First-Bank"}}), "evil.test", "first bank", "a First Bank name"},

		{"inside, three letters", one("abc.example"), "x.abc-example.test", "", "a abc.example inside"},
		{"inside, two letters", one("ab.example"), "x.ab-example.test", "", ""},
		{"inside, a tree of a domain with two letters", one(".ab.example"), "x.ab-example.test", "", ""},
		{"inside, a tree of a suffix with two letters", one(".go.jp"), "x.go-jp.test", "", "a .go.jp inside"},
		{"inside, a suffix with two letters that is no tree", one("go.jp"), "x.go-jp.test", "", ""},
		{"inside, a suffix with three letters that is no tree", one("com.au"), "x.com-au.test", "", "a com.au inside"},
		{"inside, two hyphens in the watched domain", one("my--shop.example"), "x.my--shop-example.test", "", "a my--shop.example inside"},
		{"inside, a hyphen at the end of it", one("mine.shop-"), "x.mine-shop-.test", "", "a mine.shop- inside"},
		{"inside, behind two hyphens", one("bank.example"), "a--bank.example.test", "", "a bank.example inside"},
		{"in a display name, between points", one("bank.example"), "evil.test", "..bank.example-.", "a bank.example name"},

		{"a public suffix that looks like a registered domain", one("c0.jp"), "co.jp", "", ""},
		{"a registered domain that looks like a public suffix", one("c0.jp"), "c.o.jp", "", ""},
		{"nothing but signs before the suffix", one("_.example"), "+.example", "", "a _.example domain"},
		{"a public suffix that is a brand", one("bank.example"), "x.bank", "", ""},
		{"a suffix has no brand", one("museum"), "museum.test", "", "a museum inside"},

		{"a brand of four letters", one("bank.example"), "bank.test", "", "a bank.example brand"},
		{"a brand of three letters", one("abc.example"), "abc.test", "", ""},
		{"a brand of two kanji", one("東京.example"), "東京.test", "", "a 東京.example brand"},
		{"a brand of one kanji", one("東.example"), "東.test", "", ""},
		{"at the beginning, six letters", one("mizuho.example"), "mizuhopie.test", "", "a mizuho.example brand"},
		{"at the beginning, five letters", one("apple.example"), "applepie.test", "", ""},
		{"at the beginning, three kanji", one("日本茶.example"), "日本茶屋.test", "", "a 日本茶.example brand"},
		{"at the beginning, two kanji", one("東京.example"), "東京屋.test", "", ""},
		{"a longer brand is watched before a shorter one", one("resonabank.example", "mizuho.example"), "mizuhopie.test", "", "a mizuho.example brand"},

		{"a longer name is watched before a shorter one", names("ゆうちょ銀行", "東京都"), "evil.test", "お知らせ東京都", "a 東京都 name"},
		{"a name of four letters", names("Bank"), "evil.test", "the Bank", "a Bank name"},
		{"an ASCII name as long as a Japanese one, as words", names("東京都", "FirstBank"), "evil.test", "重要 FirstBank", "a FirstBank name"},
		{"an ASCII name as long as a Japanese one, in a word", names("東京都", "FirstBank"), "evil.test", "重要 FirstBankers", ""},
	} {
		if got := text(matcher(t, tt.lists...).Match(parsed(t, tt.author), []string{tt.display})); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestBounds(t *testing.T) {
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("domain%d.example", i))
		}
		return out
	}
	lists := func(n int) (out []List) {
		for i := range n {
			out = append(out, List{Name: fmt.Sprint(i)})
		}
		return out
	}
	const tooMany = "lookalike: there may be 1000 domains and 1000 display names in all lists"
	short := func(name string) string {
		return fmt.Sprintf("lookalike: the name %q is too short: 4 letters are needed, or 2 of kana or kanji", name)
	}
	long := strings.Repeat("x", MaxNameLen+1)
	for _, tt := range []struct {
		reason string
		lists  []List
		want   string // error
	}{
		{"as many lists as there may be", lists(MaxLists), ""},
		{"one more", lists(MaxLists + 1), "lookalike: 21 lists; there may be 20"},
		{"as many domains", []List{{Domains: many(MaxDomains - 1)}, {Domains: many(1)}}, ""},
		{"one more", []List{{Domains: many(MaxDomains)}, {Domains: many(1)}}, tooMany},
		{"as many names", []List{{Names: many(MaxNames - 1)}, {Names: many(1)}}, ""},
		{"one more", []List{{Names: many(MaxNames)}, {Names: many(1)}}, tooMany},
		{"as long a name", []List{{Names: []string{long[1:]}}}, ""},
		{"one longer", []List{{Names: []string{long}}}, fmt.Sprintf("lookalike: the name %q is longer than 100 octets", long)},
		{"a short name", []List{{Names: []string{"abc"}}}, short("abc")},
		{"a short Japanese name", []List{{Names: []string{"関"}}}, short("関")},
		{"four letters", []List{{Names: []string{"abcd"}}}, ""},
		{"two letters, one of them not ASCII", []List{{Names: []string{"aא"}}}, ""},
		{"two kanji", []List{{Names: []string{"東京"}}}, ""},
		{"no domain", []List{{Domains: []string{"."}}}, `lookalike: "." is not a domain`},
		{"a bad domain", []List{{Domains: []string{"a..b"}}}, `lookalike: "a..b" is not a domain`},
	} {
		got := ""
		if _, err := New(tt.lists); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: error %q, want %q", tt.reason, got, tt.want)
		}
	}
	m := matcher(t, List{Name: "a", Domains: []string{"mizuho.example"}, Names: []string{"First Bank"}, Lookalikes: true})
	first := strings.Repeat("x", maxDisplay-len(" First Bank"))
	for _, tt := range []struct {
		reason   string
		author   dns.Name
		displays []string
		found    bool
	}{
		{"the end of what is read", "evil.test", []string{first + " First Bank"}, true},
		{"beyond it", "evil.test", []string{first + "x First Bank"}, false},
		{"the last display name that is read", "evil.test", []string{"", "", "", "First Bank"}, true},
		{"one more", "evil.test", []string{"", "", "", "", "First Bank"}, false},
		{"the last part", dns.Name(strings.Repeat("a-", maxBrands-1) + "mizuho.test"), nil, true},
		{"one more", dns.Name(strings.Repeat("a-", maxBrands) + "mizuho.test"), nil, false},
		{"the last label", dns.Name(strings.Repeat("a.", maxBrands-1) + "mizuho.test"), nil, true},
		{"one more", dns.Name(strings.Repeat("a.", maxBrands) + "mizuho.test"), nil, false},
		{"many labels", dns.Name("mizuho." + strings.Repeat("a.", 100) + "test"), nil, true},
	} {
		if got := m.Match(tt.author, tt.displays) != nil; got != tt.found {
			t.Errorf("%s: found %v", tt.reason, got)
		}
	}
}

// TestTable checks the table of characters: each line is a text and what looks like it, no character is
// there twice, and none is one that cannot come up, because it is normalized before.
func TestTable(t *testing.T) {
	seen := map[rune]bool{}
	for line := range strings.Lines(table) {
		target, sources, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || target == "" || sources == "" {
			t.Errorf("line %q", line)
		}
		for _, r := range sources {
			if seen[r] || r < utf8.RuneSelf || norm.NFKC.String(string(r)) != string(r) {
				t.Errorf("%q (%U)", r, r)
			}
			seen[r] = true
		}
	}
	if len(seen) < 700 {
		t.Errorf("%d characters", len(seen))
	}
}

func FuzzMatch(f *testing.F) {
	m := matcher(f,
		List{Name: "banks", Domains: []string{"mizuho.example", "my-bank.co.jp", "日本茶.jp"}, Names: []string{"みずほ銀行", "First Bank"}, Lookalikes: true},
		List{Name: "state", Domains: []string{".go.jp"}, Lookalikes: true})
	for _, s := range []string{"m1zuho.example", "xn--mizuh-qbg.example", "mof-go.jp", "a.b.c", "-.-.-", "xn--.example", "..", "\xff", "ﾐｽﾞﾎ銀行", "rrnvvv"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, domain, display string) {
		if name, err := dns.ParseName(domain); err == nil {
			if got := m.Match(name, []string{display}); got != nil && (got.List == "" || got.Of == "") {
				t.Fatalf("%+v", got)
			}
		}
		for _, s := range []string{domain, display} {
			once := string(m.skeleton(nil, s))
			if strings.Contains(once, "  ") || strings.ToLower(once) != once && isASCII(once) {
				t.Fatalf("skeleton %q", once)
			}
		}
	})
}

// watched is a list as a Japanese provider might have it, with names that are used for phishing there.
func watched() []List {
	return []List{
		{Name: "banks", Domains: []string{"mizuhobank.co.jp", "smbc.co.jp", "mufg.jp", "bk.mufg.jp", "resonabank.co.jp", "rakuten-bank.co.jp", "jp-bank.japanpost.jp",
			"netbk.co.jp", "sbishinseibank.co.jp", "sevenbank.co.jp"}, Names: []string{"三井住友銀行", "みずほ銀行", "ゆうちょ銀行"}, Lookalikes: true},
		{Name: "shops", Domains: []string{"amazon.co.jp", "amazon.com", "rakuten.co.jp", "mercari.com", "yahoo.co.jp", "apple.com", "paypay.ne.jp", "paypal.com"}, Lookalikes: true},
		{Name: "cards", Domains: []string{"jcb.co.jp", "saisoncard.co.jp", "smbc-card.com", "aeon.co.jp", "eposcard.co.jp", "viewsnet.jp", "orico.co.jp"}, Lookalikes: true},
		{Name: "state", Domains: []string{".go.jp", ".lg.jp"}, Lookalikes: true},
		{Name: "carriers", Domains: []string{"docomo.ne.jp", "nttdocomo.co.jp", "softbank.jp", "au.com", "etc-meisai.jp", "kuronekoyamato.co.jp"}, Lookalikes: true},
	}
}

// TestFalsePositives matches real names that have nothing to do with the list: every rule of the public
// suffix list, as it is and with a label before it, and every name of the published suites.
func TestFalsePositives(t *testing.T) {
	m := matcher(t, watched()...)
	names := map[dns.Name]bool{}
	hostname := regexp.MustCompile(`[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+`)
	err := filepath.WalkDir(suites.Path(t, ""), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		sc := bufio.NewScanner(file)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			for _, text := range hostname.FindAllString(sc.Text(), -1) {
				if name, err := dns.ParseHostname(text); err == nil {
					names[name] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found, owners := map[dns.Name]Finding{}, map[dns.Name]bool{}
	for name := range names {
		owner := suffix.Owner(name)
		owners[owner] = true
		if f := m.Match(name, nil); f != nil && f.Lookalike != "" {
			if _, ok := found[owner]; !ok {
				t.Logf("%s: %s of %s", name, f.Lookalike, f.Of)
			}
			found[owner] = *f
		}
	}
	t.Logf("%d of the owners of %d names (%d owners) look like one of the list: %.2f %%", len(found), len(names), len(owners), 100*float64(len(found))/float64(len(owners)))
	if len(found)*100 > len(owners) {
		t.Error("that is more than 1 %")
	}
}

func BenchmarkMatch(b *testing.B) {
	thousand := List{Name: "many", Lookalikes: true}
	for i := range MaxDomains {
		thousand.Domains = append(thousand.Domains, fmt.Sprintf("brand%c%c%d.co.jp", 'a'+i%26, 'a'+i/26%26, i))
	}
	for i := range 100 {
		thousand.Names = append(thousand.Names, fmt.Sprintf("銀行その%d番", i))
	}
	for _, bb := range []struct {
		name    string
		m       *Matcher
		author  dns.Name
		display string
	}{
		{"nothing watched", nil, "news.shop.example", "Shop News"},
		{"a thousand/usual", matcher(b, thousand), "news.shop.example", "Shop News"},
		{"a thousand/watched", matcher(b, thousand), "brandaa0.co.jp", "Brand"},
		{"a thousand/Japanese", matcher(b, thousand), "xn--wgv71a119e.jp", "日本からのお知らせ（重要）"},
		{"a thousand/longest", matcher(b, thousand), dns.Name(strings.Repeat("a-", 30) + "a." + strings.Repeat("b.", 90) + "test"), strings.Repeat("重要 ", 60)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bb.m.Match(bb.author, []string{bb.display})
			}
		})
	}
}
