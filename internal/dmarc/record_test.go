package dmarc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	cases := []struct{ why, txt, want string }{
		{"the least", "v=DMARC1", "p= sp= np= relaxed relaxed u false [0] [] [] invalid[] ignored"},
		{"all tags", "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=s; psd=n; t=y; fo=1; rua=mailto:a@b.example; ruf=mailto:c@d.example",
			"p=reject sp=quarantine np=none strict strict n true [1] [mailto:a@b.example] [mailto:c@d.example] invalid[] valid"},
		{"defaults written out", "v=DMARC1;p=none;adkim=r;aspf=r;psd=u;t=n;fo=0", "p=none sp= np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"white space around everything", "v \t=\tDMARC1 ;\tp = reject ; ", "p=reject sp= np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"case of names and values", "V=DMARC1; P=REJECT; AdKim=S; PSD=Y; T=Y; FO=D:S", "p=reject sp= np= strict relaxed y true [d s] [] [] invalid[] valid"},
		{"order of all but v is free", "v=DMARC1; sp=none; p=reject", "p=reject sp=none np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"unknown and historic tags, even twice", "v=DMARC1; foo=1; foo=2; pct=0; rf=afrf; ri=1; p=reject",
			"p=reject sp= np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"pieces that are no tags (§4.8)", "v=DMARC1;; p=reject; rubbish; =x; sp", "p=reject sp= np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"octets beyond ASCII in an unknown tag", "v=DMARC1; p=reject; n=\xfc", "p=reject sp= np= relaxed relaxed u false [0] [] [] invalid[] valid"},
		{"octets beyond ASCII in a policy", "v=DMARC1; p=reject; sp=no\xffne", "p=reject sp= np= relaxed relaxed u false [0] [] [] invalid[sp] ignored"},
		{"wrong values of no consequence", "v=DMARC1; p=none; adkim=x; aspf=; psd=x; t=maybe; fo=2",
			"p=none sp= np= relaxed relaxed u false [0] [] [] invalid[adkim aspf psd t fo] valid"},
		{"empty p", "v=DMARC1; p=; rua=mailto:a@b.example", "p= sp= np= relaxed relaxed u false [0] [mailto:a@b.example] [] invalid[p] monitored"},
		{"no p with rua", "v=DMARC1; rua=mailto:a@b.example", "p= sp= np= relaxed relaxed u false [0] [mailto:a@b.example] [] invalid[] monitored"},
		{"wrong np with rua", "v=DMARC1; p=reject; np=x; rua=mailto:a@b.example",
			"p=reject sp= np= relaxed relaxed u false [0] [mailto:a@b.example] [] invalid[np] monitored"},
		{"wrong p with ruf only", "v=DMARC1; p=x; ruf=mailto:a@b.example", "p= sp= np= relaxed relaxed u false [0] [] [mailto:a@b.example] invalid[p] ignored"},
		{"a value with an equals sign", "v=DMARC1; p=none; rua=mailto:a@b.example?subject=x",
			"p=none sp= np= relaxed relaxed u false [0] [mailto:a@b.example?subject=x] [] invalid[] valid"},
		{"good URIs among bad ones",
			"v=DMARC1; p=none; rua=mailto:a@b.example, not a uri,,1x:y,a@b.example,mailto:,x%:y,http:%zz,https://h.example/%41",
			"p=none sp= np= relaxed relaxed u false [0] [mailto:a@b.example https://h.example/%41] [] invalid[rua] valid"},
		{"obsolete size limits are dropped", "v=DMARC1; p=none; rua=mailto:a@b.example!10m,mailto:c@d.example!5,mailto:e@f.example!,mailto:g@h.example!x",
			"p=none sp= np= relaxed relaxed u false [0] [mailto:a@b.example mailto:c@d.example] [] invalid[rua] valid"},
		{"fo mixes what excludes each other", "v=DMARC1; p=none; fo=1:d:s", "p=none sp= np= relaxed relaxed u false [0] [] [] invalid[fo] valid"},
		{"fo repeats", "v=DMARC1; p=none; fo=s : d:s", "p=none sp= np= relaxed relaxed u false [s d] [] [] invalid[] valid"},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			r, err := ParseRecord(c.txt)
			if err != nil {
				t.Fatal(err)
			}
			state := "ignored"
			if r.PolicyValid() {
				state = "valid"
			} else if r.Applies() {
				state = "monitored"
			}
			got := fmt.Sprintf("p=%s sp=%s np=%s %s %s %s %v %v %v %v invalid%v %s",
				r.P, r.SP, r.NP, r.ADKIM, r.ASPF, r.PSD, r.Test, r.FO, r.RUA, r.RUF, r.Invalid, state)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if r.Raw != c.txt {
				t.Errorf("raw %q", r.Raw)
			}
		})
	}
}

func TestParseRecordRefuses(t *testing.T) {
	cases := []struct {
		why, txt string
		want     error
	}{
		{"nothing", "", ErrNotDMARC},
		{"other text", "v=spf1 -all", ErrNotDMARC},
		{"version in lower case", "v=dmarc1; p=none", ErrNotDMARC},
		{"next version", "v=DMARC2; p=none", ErrNotDMARC},
		{"longer version", "v=DMARC1.0; p=none", ErrNotDMARC},
		{"no semicolon", "v=DMARC1 p=none", ErrNotDMARC},
		{"version not first", "p=none; v=DMARC1", ErrNotDMARC},
		{"empty piece first", ";v=DMARC1; p=none", ErrNotDMARC},
		{"leading space", " v=DMARC1; p=none", ErrNotDMARC},
		{"version over a line break", "v=\r\n DMARC1; p=none", ErrNotDMARC},
		{"quotes in the data", `"v=DMARC1; p=none"`, ErrNotDMARC},
		{"p twice", "v=DMARC1; p=none; p=reject", ErrDuplicateTag},
		{"p twice in another case, once wrong", "v=DMARC1; p=x; P=reject", ErrDuplicateTag},
		{"v twice", "v=DMARC1; v=DMARC1; p=reject", ErrDuplicateTag},
		{"too long", "v=DMARC1; p=none; x=" + strings.Repeat("x", MaxRecordLen), ErrRecordTooLong},
		{"too long and something else", strings.Repeat("x", MaxRecordLen+1), ErrNotDMARC},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			r, err := ParseRecord(c.txt)
			if !errors.Is(err, c.want) || r != nil {
				t.Errorf("got %v, %v; want %v", r, err, c.want)
			}
		})
	}
}

func TestParseRecordBounds(t *testing.T) {
	r, err := ParseRecord("v=DMARC1; p=none; rua=" + strings.Repeat("mailto:a@b.example,", MaxURIs) + "mailto:last@b.example")
	if err != nil || len(r.RUA) != MaxURIs || !slices.Contains(r.Invalid, "rua") {
		t.Errorf("%d URIs, invalid %v, %v", len(r.RUA), r.Invalid, err)
	}
}

func TestEvaluationJSON(t *testing.T) {
	c := readCases(t, "testdata/cases/worked.txt")[1]
	e := evaluate(t, c)
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"result":"pass","reason":"aligned","author_domain":"example.com","method":"treewalk",` +
		`"organizational_domain":"example.com","policy_domain":"example.com","source":"author",` +
		`"record":{"p":"reject","adkim":"relaxed","aspf":"relaxed","psd":"u","fo":["0"],"raw":"v=DMARC1; p=reject"},` +
		`"policy_published":"reject","tag":"p","disposition":"reject",` +
		`"alignments":[{"mechanism":"dkim","domain":"signing.example.com","state":"pass","mode":"relaxed","aligned":true,"organizational_domain":"example.com"}],` +
		`"aligned_spf":false,"aligned_dkim":true,` +
		`"trace":[{"name":"_dmarc.example.com","type":"TXT","purpose":"author","found":"record","psd":"u"},` +
		`{"name":"_dmarc.com","type":"TXT","purpose":"organizational","found":"nxdomain"},` +
		`{"name":"_dmarc.signing.example.com","type":"TXT","purpose":"identifier","found":"record","psd":"u"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
