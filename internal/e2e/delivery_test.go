package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// field is one header field as delivered, its value unfolded and trimmed.
type field struct{ name, value string }

// delivery is one message as the MTA delivered or held it.
type delivery struct {
	fields []field // in the order of the message
	body   []byte
}

func parseDelivery(raw []byte) delivery {
	header, body, _ := bytes.Cut(raw, []byte("\n\n"))
	d := delivery{body: body}
	for line := range strings.SplitSeq(string(header), "\n") {
		if n := len(d.fields); n > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			d.fields[n-1].value = strings.TrimSpace(d.fields[n-1].value + " " + strings.TrimSpace(line))
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		d.fields = append(d.fields, field{name, strings.TrimSpace(value)})
	}
	return d
}

// all returns the values of the fields with the given name, in the order of the message.
func (d delivery) all(name string) (values []string) {
	for _, f := range d.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// first returns the first header field, without counting the fields that the MTA adds at delivery.
func (d delivery) first() field {
	for _, f := range d.fields {
		switch f.name {
		case "Return-Path", "X-Original-To", "Delivered-To":
			continue
		}
		return f
	}
	return field{}
}

// inbox is the Maildir that all mail is delivered to. Each file is read once.
type inbox struct {
	dir string

	mu   sync.Mutex
	seen map[string]bool
	mail map[string][]delivery // by recipient address, as the client wrote it
}

func newInbox(dir string) *inbox {
	return &inbox{dir: dir, seen: map[string]bool{}, mail: map[string][]delivery{}}
}

// to returns the messages that have been delivered to rcpt so far.
func (i *inbox) to(t *testing.T, rcpt string) []delivery {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	entries, err := os.ReadDir(filepath.Join(i.dir, "new"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if i.seen[e.Name()] {
			continue
		}
		i.seen[e.Name()] = true
		raw, err := os.ReadFile(filepath.Join(i.dir, "new", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		d := parseDelivery(raw)
		for _, to := range d.all("X-Original-To") {
			i.mail[to] = append(i.mail[to], d)
		}
	}
	return i.mail[rcpt]
}

// wait waits for a message to rcpt and returns it. It fails the test if there is more than one such
// message.
func (i *inbox) wait(t *testing.T, rcpt string) delivery {
	t.Helper()
	eventually(t, "a delivery to "+rcpt, func() bool { return len(i.to(t, rcpt)) > 0 })
	mail := i.to(t, rcpt)
	if len(mail) != 1 {
		t.Fatalf("%d deliveries to %s, want one", len(mail), rcpt)
	}
	return mail[0]
}

// recipient returns an address that no other test uses.
func recipient() string { return strings.ToLower(rand.Text()[:16]) + "@" + localDomain }
