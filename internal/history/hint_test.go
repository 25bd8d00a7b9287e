package history

import (
	"fmt"
	"testing"

	"sekimori/internal/dns"
)

// TestHint checks of which records a search need not look at all mail of a registered domain, and that it never
// passes over one that it should find.
func TestHint(t *testing.T) {
	type record struct{ author, sender, path string }
	of := func(r record) Hint { return HintOf(dns.Name(r.author), dns.Name(r.sender), r.path) }
	mail := record{"news.bank.example", "b.shop.example", "Ann@b.shop.example"}
	for _, tt := range []struct {
		name   string
		key    KeyIn
		record record
		want   bool
	}{
		{"the author domain", AuthorKey("news.bank.example"), mail, true},
		{"a domain above", AuthorKey("bank.example"), mail, true},
		{"a domain below", AuthorKey("news.bank.example"), record{"x.y.news.bank.example", "", ""}, true},
		{"only a domain above", AuthorOnlyKey("bank.example"), mail, false},
		{"only the author domain", AuthorOnlyKey("news.bank.example"), mail, true},
		{"only the registered domain", AuthorOnlyKey("bank.example"), record{"bank.example", "", ""}, true},
		{"another domain beside it", AuthorKey("mail.bank.example"), mail, false},
		{"no author", AuthorKey("news.bank.example"), record{"", mail.sender, mail.path}, false},
		{"a public suffix", AuthorKey("jp"), record{"jp", "", ""}, true},
		{"the sender's domain", SenderKey("b.shop.example"), mail, true},
		{"a domain above the sender's", SenderKey("shop.example"), mail, true},
		{"another domain beside the sender's", SenderKey("c.shop.example"), mail, false},
		{"the sender", SenderPathKey("b.shop.example", "ann@B.shop.example"), mail, true},
		{"another sender of the domain", SenderPathKey("b.shop.example", "bob@b.shop.example"), mail, false},
		{"the same path, of the registered domain", SenderPathKey("shop.example", mail.path), mail, false},
		{"the null sender", SenderPathKey("", "<>"), record{"bank.example", "", "<>"}, true},
		{"letters that are equal without case", SenderPathKey("k.example", "Straſe\u212a@k.example"), record{"", "k.example", "strASEk@k.example"}, true},
		{"an id", IDKey("X"), mail, true},
	} {
		if got := tt.key.Allows(of(tt.record)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
		if !tt.key.Allows(0) {
			t.Errorf("%s: passes over what earlier versions kept", tt.name)
		}
	}
}

// TestHintValues: a hint is never 0 and fits into 15 bits, and its parts do not change each other.
func TestHintValues(t *testing.T) {
	authors, senders, paths := map[Hint]bool{}, map[Hint]bool{}, map[Hint]bool{}
	for n := range 2000 {
		h := HintOf(dns.Name(fmt.Sprintf("a%d.bank.example", n)), dns.Name(fmt.Sprintf("s%d.shop.example", n)), fmt.Sprint(n, "@x"))
		if h <= 0 || h&authorHint.mask() == 0 {
			t.Fatalf("%d: %x", n, h)
		}
		authors[h&authorHint.mask()], senders[h&senderHint.mask()], paths[h&pathHint.mask()] = true, true, true
	}
	if len(authors) != 31 || len(senders) != 16 || len(paths) != 64 {
		t.Errorf("%d, %d and %d values", len(authors), len(senders), len(paths))
	}
	// The values are stored, so they must not change.
	if got := HintOf("news.bank.example", "b.shop.example", "ann@b.shop.example"); got != 6718 {
		t.Errorf("the hint is %d", got)
	}
}

// TestUnpackSome: a search gets the records that it asks for, as they are without the others.
func TestUnpackSome(t *testing.T) {
	p, u := packer(t)
	lines := `{"a":1,"b":[1,2]}` + "\n" + `{"a":2}` + "\n" + `{"b":[3],"c":"x"}` + "\n" + `{"a":4,"b":[]}` + "\n"
	data := p.Pack([]byte(lines))
	all, err := u.Unpack(data, every)
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for set := range 1 << 4 {
		some, err := u.Unpack(data, func(i int) bool { return set>>i&1 == 1 })
		if err != nil || len(some) != 4 {
			t.Fatal(some, err)
		}
		for i := range all {
			if wanted := set>>i&1 == 1; wanted && string(some[i]) != string(all[i]) || !wanted && some[i] != nil {
				t.Errorf("%04b: record %d is %q", set, i, some[i])
			}
		}
	}
}
