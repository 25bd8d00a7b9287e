package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/testkit/web"
)

// TestRun checks that each message of the demo is handled as its title says.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), &out, Options{JSON: true}); err != nil {
		t.Fatal(err)
	}
	want := []struct{ title, verdict, label, reply string }{
		{"the bank's own mail", "delivered", "dmarc=pass header.from=bank.example policy.dmarc=reject", ""},
		{"forwarded by a stranger", "delivered", "dmarc=pass", ""},
		{"RSA and with ed25519", "delivered", "dkim=pass (256-bit ed25519)", ""},
		{"only SPF", "delivered", "dmarc=pass", ""},
		{"as the bank: p=reject", "rejected", "", "550 5.7.1 Email rejected per DMARC policy for bank.example"},
		{"np=reject", "rejected", "", "550 5.7.1 Email rejected per DMARC policy for secure-login.bank.example"},
		{"p=quarantine", "held", "dmarc=fail", "dmarc_quarantine"},
		{"t=y", "held", "policy_test_mode", "dmarc_quarantine"},
		{"mailing list", "held", "mailing_list", "dmarc_indirect"},
		{"forged in our name", "delivered", "dmarc=fail", ""},
		{"without DMARC", "delivered", "dmarc=none", ""},
		{"null sender", "delivered", "spf=pass smtp.helo=mail.lists.example", ""},
		{"two From fields", "rejected", "", "550 5.7.1"},
		{"silent", "delivered", "dmarc=temperror", ""},
	}
	dec := json.NewDecoder(&out)
	for i, w := range want {
		var o Outcome
		if err := dec.Decode(&o); err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
		label := strings.Join(strings.Fields(strings.Join(o.Results, " ")), " ")
		if !strings.Contains(o.Title, w.title) || o.Verdict != w.verdict || !strings.Contains(label, w.label) || !strings.HasPrefix(o.Reply, w.reply) {
			t.Errorf("message %d: %+v, want %+v", i+1, o, w)
		}
		ours := 0
		for _, r := range o.Results {
			if authres.NewIDs(authServID).Claimed(r) {
				ours++
			}
		}
		if o.Verdict == "rejected" != (ours == 0) || ours > 1 {
			t.Errorf("message %d: %d fields in our name", i+1, ours)
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Errorf("more output than messages: %v", err)
	}
}

// TestShowsReport checks that the demo ends with the report about its own messages: those whose author
// is bank.example or below it.
func TestShowsReport(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), &out, Options{Version: "v1"}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"rows of 5 messages", "If it were true, it would go to dmarc@bank.example.", "the list always has bank.example",
		"<org_name>Sekimori demo</org_name>", "<disposition>reject</disposition>", "<type>mailing_list</type>", "</feedback>"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "reader@mx.example") {
		t.Error("a recipient is shown")
	}
}

// TestKeep checks that with Keep the daemon and its metrics stay up until ctx ends.
func TestKeep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, w, Options{Keep: true})
		w.Close()
		ended <- err
	}()
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "staying up") {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("%v after %s", err, text.String())
		}
		text.Write(buf[:n])
	}
	url := regexp.MustCompile(`http://\S+/metrics`).FindString(text.String())
	metrics := web.Get(t, url)
	if !strings.Contains(metrics, `sekimori_messages_total{verdict="reject"} 3`) {
		t.Errorf("metrics: %s", metrics)
	}
	if !strings.Contains(text.String(), "=> REJECTED: 550 5.7.1 ") {
		t.Errorf("the text shows no reject:\n%s", text.String())
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
