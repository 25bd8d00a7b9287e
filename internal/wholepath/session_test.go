package wholepath

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// maxQuestions is the largest number of DNS questions that the tests allow for one message and its
// connection. It has 150 for each of the two SPF checks (HELO and MAIL FROM), and the limits of
// msgauth's stages for DKIM, DMARC, ARC and iprev.
const maxQuestions = 2*150 + 64 + 96 + 102 + 24

// maxZoneLines is the largest number of zone lines that are taken from the fuzzer.
const maxZoneLines = 64

// FuzzSession runs sessions made of the fuzzer's input: zone lines in addition to saneZone, an
// envelope, a message, the size of the parts in which the body is sent, and raw frames that follow
// the message. The session must end without a panic. A message must get at most one
// Authentication-Results field of ours, which must be parsable. DMARC must not pass without an
// aligned pass of SPF or DKIM. The number of DNS questions must stay within a limit.
func FuzzSession(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s.zone, s.envelope, []byte(s.mail), s.part, []byte(s.frames))
	}
	stations := [2]*station{newStation(policy.Enforce), newStation(policy.Monitor)}
	f.Fuzz(func(t *testing.T, zoneText, envelope string, mail []byte, part uint8, frames []byte) {
		s := stations[part&1]
		z := fuzzZone(t, zoneText)
		s.zone.p.Store(z)
		mta, closed := s.dial()
		header, results := converse(t, mta, envelope, mail, int(part), frames)
		select {
		case <-closed:
		case <-time.After(30 * time.Second):
			t.Fatal("the session does not end")
		}
		seen, panics := s.take()
		for _, p := range panics {
			t.Errorf("panic in %s", p)
		}
		for _, e := range seen {
			checkEvaluation(t, z, e)
		}
		if n := len(z.Queries()); n > (len(seen)+1)*maxQuestions {
			t.Errorf("%d questions for %d messages", n, len(seen))
		}
		if results != nil {
			checkHeader(t, z, client.Apply(header, results), len(results) > 0)
		}
	})
}

// TestSeeds checks the results of those seeds that have a known result.
func TestSeeds(t *testing.T) {
	stations := [2]*station{newStation(policy.Enforce), newStation(policy.Monitor)}
	known := 0
	for i, seed := range seeds(t) {
		if seed.want == "" {
			continue
		}
		known++
		s := stations[seed.part&1]
		s.zone.p.Store(fuzzZone(t, seed.zone))
		mta, closed := s.dial()
		header, mods := converse(t, mta, seed.envelope, []byte(seed.mail), int(seed.part), nil)
		<-closed
		s.take()
		var words []string
		for _, f := range client.Apply(header, mods) {
			if !isOurs(f.Name, f.Value) {
				continue
			}
			field, err := authres.Parse(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range field.Results {
				if r.Method != "iprev" {
					words = append(words, r.Method+"="+r.Value)
				}
			}
		}
		if got := strings.Join(words, " "); got != seed.want {
			t.Errorf("seed %d: %s, want %s", i, got, seed.want)
		}
	}
	if known == 0 {
		t.Error("no seed has a known end")
	}
}

// fuzzZone returns saneZone with those of the given lines that are valid zone text. Lines with a
// delay are left out, because they would only make the test slow.
func fuzzZone(t *testing.T, lines string) *zone.Zone {
	t.Helper()
	text := saneZone()
	n := 0
	for line := range strings.Lines(lines) {
		if n++; n > maxZoneLines {
			break
		}
		if strings.HasPrefix(strings.TrimSpace(line), "$") || strings.Contains(line, "delay") {
			continue
		}
		if _, err := zone.Parse(text + line + "\n"); err == nil {
			text += line + "\n"
		}
	}
	return nameserver.Zone(t, text)
}

// converse plays the MTA. It sends one message as Postfix would, then the raw frames, and closes
// the connection. It returns the header that the daemon saw and the daemon's edits of the message.
// Both are nil if the message was not delivered.
func converse(t *testing.T, nc net.Conn, envelope string, mail []byte, part int, frames []byte) (header []client.Field, mods []client.Modification) {
	t.Helper()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := client.New(nc)
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatalf("negotiation: %v", err)
	}
	var args [4]string
	copy(args[:], strings.SplitN(envelope, "\n", 4))
	var peer netip.AddrPort
	if ip, err := netip.ParseAddr(args[0]); err == nil && ip.Zone() == "" {
		peer = netip.AddrPortFrom(ip, 25)
	}
	// If the envelope contains a NUL, a frame is malformed, and the daemon may close the
	// connection.
	header, mods = oneMessage(c, peer, args, mail, part)
	done := make(chan struct{})
	go func() {
		defer close(done)
		countInserts(t, nc)
	}()
	_, _ = nc.Write(frames)
	_ = nc.Close()
	<-done
	return header, mods
}

func oneMessage(c *client.Client, peer netip.AddrPort, args [4]string, mail []byte, part int) (header []client.Field, mods []client.Modification) {
	failed := func(_ client.Action, err error) bool { return err != nil }
	if failed(c.Connect("client.example", peer)) || failed(c.Helo(args[1])) || failed(c.Mail(args[2])) ||
		failed(c.Rcpt("<"+args[3]+">")) || failed(c.Data()) {
		return nil, nil
	}
	fields, body := client.Split(mail)
	for _, f := range fields {
		if failed(c.Header(f.Name, f.Value)) {
			return nil, nil
		}
		// The daemon sees the value only up to the first NUL, because Postfix cuts it there.
		f.Value, _, _ = strings.Cut(f.Value, "\x00")
		header = append(header, f)
	}
	if failed(c.EndOfHeader()) {
		return nil, nil
	}
	for step := max(1, part*part); len(body) > 0; body = body[min(step, len(body)):] {
		if failed(c.Body(body[:min(step, len(body))])) {
			return nil, nil
		}
	}
	action, mods, err := c.EndOfMessage()
	if err != nil || !action.Delivers() {
		return nil, nil
	}
	if mods == nil {
		mods = []client.Modification{}
	}
	return header, mods
}

// countInserts reads the daemon's answers to the raw frames. Between two final replies the daemon
// may insert at most one Authentication-Results field of ours, which must be parsable.
func countInserts(t *testing.T, r io.Reader) {
	inserts := 0
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		data := make([]byte, min(binary.BigEndian.Uint32(head[:])-1, 1<<20))
		if _, err := io.ReadFull(r, data); err != nil {
			return
		}
		switch head[4] {
		case 'i':
			parts := strings.Split(string(data[4:]), "\x00")
			if len(parts) != 3 {
				t.Errorf("malformed edit %q", data)
				return
			}
			value := strings.ReplaceAll(parts[1], "\n", "\r\n")
			if !isOurs(parts[0], value) {
				continue // the field is Received-SPF
			}
			if inserts++; inserts > 1 {
				t.Error("two fields of ours in one message")
			}
			if _, err := authres.Parse(value); err != nil {
				t.Errorf("our own field cannot be read: %v\n%q", err, value)
			}
		case 'c', 'a', 'r', 't', 'd', 'y':
			inserts = 0
		}
	}
}

// checkHeader checks the header after the daemon's edits. The header must have at most one
// Authentication-Results field of ours, and exactly one if the message was labelled. If the field
// says dmarc=pass, it must also have an aligned pass.
func checkHeader(t *testing.T, z *zone.Zone, header []client.Field, labelled bool) {
	t.Helper()
	var ours []string
	for _, f := range header {
		if isOurs(f.Name, f.Value) {
			ours = append(ours, f.Value)
		}
	}
	if len(ours) > 1 || labelled && len(ours) != 1 {
		t.Fatalf("%d fields of ours: %q", len(ours), ours)
	}
	for _, value := range ours {
		field, err := authres.Parse(value)
		if err != nil {
			t.Fatalf("our own field cannot be read: %v\n%q", err, value)
		}
		checkLabel(t, z, field)
	}
}

// checkLabel checks the results in our field: if it says dmarc=pass, it must also have an aligned
// pass of SPF or DKIM.
func checkLabel(t *testing.T, z *zone.Zone, field authres.Field) {
	t.Helper()
	var author string
	var passed []string
	methods := map[string]int{}
	for _, r := range field.Results {
		methods[r.Method]++
		if r.Value != "pass" {
			continue
		}
		for _, p := range r.Properties {
			domain := p.Value[strings.LastIndexByte(p.Value, '@')+1:]
			switch r.Method + " " + string(p.Type) + "." + p.Name {
			case "dmarc header.from":
				author = domain
			case "spf smtp.mailfrom", "spf smtp.helo", "dkim header.d":
				passed = append(passed, strings.ToLower(domain))
			}
		}
		if len(r.Properties) == 0 || strings.Contains(fmt.Sprint(r.Properties), "...") {
			return // a long field leaves out properties, and then nothing can be compared; checkEvaluation checks the result itself
		}
	}
	for _, m := range []string{"spf", "dmarc", "arc", "iprev"} {
		if methods[m] != 1 {
			t.Errorf("%d results of %s", methods[m], m)
		}
	}
	if author == "" {
		return
	}
	for _, p := range passed {
		if mayAlign(z, p, strings.ToLower(author)) {
			return
		}
	}
	t.Errorf("dmarc=pass for %s, authenticated are %q", author, passed)
}

// mayAlign reports whether two names may belong to the same organization. They may if they are
// equal, if their last two labels are the same, or if their last label is the same and has a DMARC
// policy.
func mayAlign(z *zone.Zone, a, b string) bool {
	if a == b {
		return true
	}
	la, lb := strings.Split(a, "."), strings.Split(b, ".")
	n := 0
	for n < len(la) && n < len(lb) && la[len(la)-1-n] == lb[len(lb)-1-n] {
		n++
	}
	if n != 1 {
		return n > 1
	}
	answer, err := z.Lookup(context.Background(), dns.Name("_dmarc."+la[len(la)-1]), dns.TypeTXT)
	return err == nil && len(answer.Records) > 0
}

// checkEvaluation checks one evaluation. The evaluation must have no panics and not too many
// lookups. If DMARC passed, an aligned identifier must have passed SPF or DKIM.
func checkEvaluation(t *testing.T, z *zone.Zone, e *msgauth.Evaluation) {
	t.Helper()
	for _, p := range e.Panics {
		t.Errorf("panic: %+v", p)
	}
	if n := e.Lookups(); n > maxQuestions {
		t.Errorf("%d lookups", n)
	}
	if e.DMARC.Result != "pass" {
		return
	}
	author := string(e.From.AuthorDomain)
	if e.FromError != nil || author == "" {
		t.Errorf("dmarc=pass without an author: %+v", e.FromError)
	}
	if e.MailFrom.Result == spf.Pass && mayAlign(z, string(e.MailFrom.Domain), author) {
		return
	}
	for _, s := range e.DKIM {
		if s.Result == dkim.Pass && mayAlign(z, string(s.Domain), author) {
			return
		}
	}
	t.Errorf("dmarc=pass for %s: %+v, %+v", author, e.MailFrom, e.DKIM)
}
