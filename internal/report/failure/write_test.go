package failure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/netip"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// letter returns the mail about an incident.
func letter(t testing.TB, i Incident) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, &Mail{Incident: i, Incidents: 3, MessageID: "20261128.k7.shop.example@dmarc.isp.example", FromName: "Example ISP", From: "noreply@dmarc.isp.example",
		To: "ruf@shop.example", Date: noon.Add(time.Minute), UserAgent: "sekimori/1.0", Organization: "Example ISP", Contact: "postmaster@isp.example"})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// arf is a failure report as a reader sees it.
type arf struct {
	top             mail.Header
	text            string
	feedback, about map[string][]string
}

// parse reads a failure report by the rules of RFC 5965 §2.
func parse(t testing.TB, raw []byte) arf {
	t.Helper()
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("line %q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" || params["report-type"] != "feedback-report" {
		t.Fatalf("type %s %v, %v", typ, params, err)
	}
	out := arf{top: m.Header}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"text/plain", "message/feedback-report", "text/rfc822-headers"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("%s: %v\n%s", want, err, raw)
		}
		if typ, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || typ != want {
			t.Fatalf("part %s, %v, want %s", typ, err, want)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		// The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1), so the last field needs one more.
		if want != "text/plain" && len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
			t.Fatalf("%s: the last field has no line end: %q", want, body)
		}
		switch want {
		case "text/plain":
			out.text = string(body)
		case "message/feedback-report":
			out.feedback = headerOf(t, body)
		default:
			out.about = headerOf(t, body)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Fatalf("a fourth part: %v", err)
	}
	return out
}

func headerOf(t testing.TB, body []byte) map[string][]string {
	t.Helper()
	body = bytes.TrimRight(body, "\r\n")
	if len(body) == 0 {
		return nil
	}
	m, err := mail.ReadMessage(bytes.NewReader(append(body, "\r\n\r\n"...)))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if rest, _ := io.ReadAll(m.Body); len(rest) > 0 {
		t.Fatalf("after the header: %s", rest)
	}
	return m.Header
}

func TestWrite(t *testing.T) {
	i, _ := Observe(forged(), refused, fields, false, options)
	raw := letter(t, i)
	a := parse(t, raw)
	code := newRedactor(options.Key, nil, "").code
	for name, want := range map[string]string{
		"Feedback-Type": "auth-failure", "Version": "1", "User-Agent": "sekimori/1.0", "Auth-Failure": "dmarc", "Identity-Alignment": "dkim, spf",
		"Authentication-Results": i.Results, "Source-Ip": "192.0.2.9", "Reported-Domain": "shop.example", "Arrival-Date": "Sat, 28 Nov 2026 12:00:00 +0000",
		"Incidents": "3", "Delivery-Result": "reject", "Dkim-Domain": "mail.shop.example", "Dkim-Identity": code("jane") + "@mail.shop.example",
		"Dkim-Selector": "s1", "Spf-Dns": `txt : shop.example : "v=spf1 ip4:192.0.2.1 -all"`,
	} {
		if got := a.feedback[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		delete(a.feedback, name)
	}
	if len(a.feedback) > 0 {
		t.Errorf("further fields %v", a.feedback)
	}
	if len(a.about) != len(i.Header) || a.about["From"][0] != "<"+code("anna")+"@shop.example>" {
		t.Errorf("header %v", a.about)
	}
	if !strings.Contains(a.text, "Messages:  3 since the last report") {
		t.Errorf("text %s", a.text)
	}
	if got := a.top["Auto-Submitted"]; len(got) != 1 || got[0] != "auto-generated" {
		t.Errorf("Auto-Submitted %q", got)
	}
	private(t, strings.ReplaceAll(strings.ReplaceAll(string(raw), "report for ", ""), "asks for ", ""))
}

func TestWriteWithLittle(t *testing.T) {
	a := parse(t, letter(t, Incident{PolicyDomain: "shop.example", Reported: "shop.example", Arrival: noon, Delivery: "delivered"}))
	if a.feedback["Identity-Alignment"][0] != "none" || a.feedback["Source-Ip"] != nil || len(a.about) > 0 {
		t.Errorf("got %v, %v", a.feedback, a.about)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, &Mail{MessageID: "a@b", From: "a@b.example", To: "c@d.example\r\nBcc: e@f.example"}); err == nil || b.Len() > 0 {
		t.Errorf("%v, written %q", err, b.String())
	}
	if err := Write(full{}, &Mail{MessageID: "a@b", From: "a@b.example", To: "c@d.example"}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("nothing can be written: %v", err)
	}
}

// hostile makes a message whose every part has the given text.
func hostile(s string) (Incident, bool) {
	e := forged()
	e.Session.Client = netip.MustParseAddr("::ffff:192.0.2.9")
	e.From.Mailboxes[0].Local, e.From.Mailboxes[0].Domain = s, dns.Name(s)
	e.MailFrom.Record, e.MailFrom.Domain = s, "mail.shop.example"
	e.DKIM[1].Identity, e.DKIM[1].Selector, e.DKIM[0].Domain = s+"@shop.example", s, dns.Name(s)
	var h message.Header
	for _, f := range fields {
		h = append(h, message.Field{Name: f.Name, Value: s})
	}
	h = append(h, message.Field{Name: "DKIM-Signature", Value: "v=1; d=" + s + "; i=" + s + "; b=" + s}, message.Field{Name: "List-Id", Value: "<" + s + ">"},
		message.Field{Name: "Message-ID", Value: "<" + s + "@x.example>"})
	return Observe(e, refused, h, false, options)
}

// FuzzWrite checks that no text of a sender changes the structure of a report, and that no recipient
// is in it, whatever surrounds the address.
func FuzzWrite(f *testing.F) {
	for _, s := range []string{"", "a", "\r\nX: y\r\n\r\n--=_failure_report\r\n", "anna.secret@isp.example", "=?utf-8?Q?anna.secret=40isp.example?=", "\x00\xff", "ü\u2028\u202e",
		strings.Repeat("a", 2000), strings.Repeat("a b ", 2000), `"\`, "<a@b>", "http://a/", "bob@isp.example;bob=isp.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i, ok := hostile(s)
		if !ok {
			t.Skip() // s makes the message a report
		}
		raw := letter(t, i)
		a := parse(t, raw)
		want := 15
		if i.SPF == nil {
			want-- // an empty record
		}
		if len(a.feedback) != want || len(a.top) != 8 {
			t.Errorf("fields %v, %v", a.feedback, a.top)
		}
		for name := range a.about {
			switch name {
			case "From", "Date", textproto.CanonicalMIMEHeaderKey("Message-ID"), textproto.CanonicalMIMEHeaderKey("DKIM-Signature"), "List-Id", "Subject":
			default:
				t.Errorf("field %s of the message is told", name)
			}
		}
		n := 0
		for _, f := range i.Header {
			n += len(f.Name) + len(f.Value)
		}
		if n > (maxSignatures+1)*maxField+2*maxAuthors*maxValue {
			t.Errorf("%d octets of header are kept", n)
		}
		low := strings.ToLower(string(raw))
		for _, secret := range []string{"anna.secret@isp.example", "bob@isp.example", "bob=isp.example"} {
			if strings.Contains(low, secret) {
				t.Errorf("%q is told:\n%s", secret, raw)
			}
		}
	})
}

// TestPythonReads gives reports to Python's package email, which other readers of failure reports use.
func TestPythonReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("python3 is not installed")
	}
	const script = `
import email, email.policy, json, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
parts = list(m.iter_parts())
fields = email.message_from_string(parts[1].get_payload(0).as_string() if parts[1].is_multipart() else parts[1].get_payload())
about = email.message_from_string(parts[2].get_payload())
def defects(m): return [repr(d) for p in m.walk() for d in p.defects]
json.dump({"type": m.get_content_type(), "report": m.get_param("report-type"), "parts": [p.get_content_type() for p in parts],
  "fields": dict(fields.items()), "about": [k for k in about.keys()], "defects": defects(m)}, sys.stdout)
`
	i, _ := Observe(forged(), refused, fields, false, options)
	evil, _ := hostile("\r\nX: y\r\n\r\n--=_failure_report\r\n\"")
	for why, i := range map[string]Incident{"usual": i, "hostile": evil} {
		cmd := exec.Command(python, "-c", script)
		cmd.Stdin = bytes.NewReader(letter(t, i))
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v %s", why, err, complaints.Bytes())
		}
		var got struct {
			Type, Report   string
			Parts, Defects []string
			Fields         map[string]string
			About          []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "multipart/report" || got.Report != "feedback-report" || fmt.Sprint(got.Parts) != "[text/plain message/feedback-report text/rfc822-headers]" || len(got.Defects) > 0 {
			t.Errorf("%s: %s", why, out)
		}
		if got.Fields["Reported-Domain"] != "shop.example" || got.Fields["Incidents"] != "3" || len(got.About) == 0 {
			t.Errorf("%s: %s", why, out)
		}
	}
}

// TestText checks the text for persons as a whole, with everything that it may say and without.
func TestText(t *testing.T) {
	const head = "This is a DMARC failure report (RFC 9991) on a message that names your domain\nas its author and failed DMARC.\n\n" +
		"Domain:    shop.example\nReceived:  2026-11-28 12:00:00 UTC\n"
	const tail = "\nSent by:   Example ISP\nContact:   postmaster@isp.example\n" +
		"\nTo protect the privacy of others, local parts of addresses are codes here, and\nthe body and most of the header are left out.\n" +
		"\nYou receive this mail because the DMARC record at\n_dmarc.shop.example\nasks for such reports. To stop them, take this address out of its tag ruf.\n"
	for _, tt := range []struct {
		why       string
		source    netip.Addr
		incidents int
		want      string
	}{
		{"little", netip.Addr{}, 0, head + tail},
		{"one", netip.MustParseAddr("::ffff:192.0.2.9"), 1, head + "From host: 192.0.2.9\n" + tail},
		{"two", netip.Addr{}, 2, head + "Messages:  2 since the last report; the parts below are about the newest\n" + tail},
	} {
		m := Mail{Incident: Incident{Reported: "shop.example", PolicyDomain: "shop.example", Arrival: noon, Source: tt.source}, Incidents: tt.incidents,
			Organization: "Example ISP", Contact: "postmaster@isp.example"}
		if got := m.text(); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.why, got, tt.want)
		}
	}
	long := Mail{Organization: strings.Repeat("x", 2*maxValue)}
	for line := range strings.SplitSeq(long.text(), "\n") {
		if len(line) > len("Sent by:   ")+maxValue {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

// TestFieldsAreBounded checks how long a field of a report may be, and that the number of incidents is never 0.
func TestFieldsAreBounded(t *testing.T) {
	const words = "x " // so that the field can be folded
	for size, want := range map[int]int{2*maxField - 2: 2*maxField - 2, 2 * maxField: 2 * maxField, 2*maxField + 2: 2 * maxField} {
		value := strings.Repeat(words, size/2-1) + "yy"
		a := parse(t, letter(t, Incident{Reported: "shop.example", Results: value, Header: []message.Field{{Name: "Subject", Value: value}}}))
		if got := len(a.feedback["Authentication-Results"][0]); got != want {
			t.Errorf("results of %d octets became %d", size, got)
		}
		if got := len(a.about["Subject"][0]); got != want {
			t.Errorf("a Subject of %d octets became %d", size, got)
		}
	}
	for incidents, want := range map[int]string{0: "1", 1: "1", 2: "2"} {
		for _, f := range (&Mail{Incidents: incidents}).fields() {
			if f.Name == "Incidents" && f.Value != want {
				t.Errorf("%d incidents: %s", incidents, f.Value)
			}
		}
	}
	if got := word(strings.Repeat("x", maxValue+1)); len(got) != maxValue {
		t.Errorf("a word of %d octets", len(got))
	}
	if got := word("a b\nc"); got != "a?b?c" {
		t.Errorf("%q", got)
	}
}
