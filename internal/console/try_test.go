package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/explain"
	"sekimori/internal/policy"
)

// form returns the body of a request with these fields, and its content type.
func form(t *testing.T, fields map[string]string) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		create := w.CreateFormField
		if name == "file" {
			create = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "x.eml") }
		}
		part, err := create(name)
		if err == nil {
			_, err = part.Write([]byte(value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

func (b *bench) post(t *testing.T, body []byte, contentType string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/try", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	b.console.Forms()["/try"].ServeHTTP(w, r)
	return w
}

func TestTry(t *testing.T) {
	b := newBench(t)
	var asked *explain.Stored
	b.try = func(_ context.Context, m *explain.Stored) (*explain.Explanation, error) {
		asked = m
		if m.HELO == "broken" {
			return nil, errors.New("explain: " + hostile)
		}
		return &explain.Explanation{Summary: "rejected " + hostile, Verdict: policy.Verdict{Action: policy.Reject, Applied: policy.Tag}, Mode: policy.Monitor,
			AuthenticationResults: "mx.example; " + hostile}, nil
	}
	b.shows(t, "/try", 200, `method="post"`, `enctype="multipart/form-data"`, "!role=\"alert\"")
	good := map[string]string{"message": "From: a@b.example\r\n\r\nx", "client": " 192.0.2.1 ", "helo": "h.example", "from": "a@b.example", "rcpt": "c@d.example\r\n\r\n e@d.example ", "now": "on"}
	from := "a@b.example"
	for _, tt := range []struct {
		name   string
		change map[string]string // "-" removes a field
		want   []string
	}{
		{"good", nil, []string{"rejected", "applied as", "mx.example; ", `value="h.example"`, "c@d.example", " checked", "From: a@b.example", "!role=\"alert\""}},
		{"no message", map[string]string{"message": " \r\n"}, []string{"Paste a message", "!applied as"}},
		{"no client", map[string]string{"client": "here"}, []string{"not an IP address", `value="here"`}},
		{"too many recipients", map[string]string{"rcpt": strings.Repeat("a@b.example\n", maxTryRecipients+1)}, []string{"more than 100 recipients"}},
		{"an error", map[string]string{"helo": "broken"}, []string{"cannot be judged", "!<script>alert"}},
		{"hostile", map[string]string{"message": hostile, "client": "::1", "from": hostile, "rcpt": hostile, "helo": hostile}, []string{"!<script>alert", "!<img", "!\x1b", "!\u202e"}},
		{"a file", map[string]string{"file": "From: file@b.example\r\n\r\n\xff", "message": ""}, []string{"rejected", "!file@b.example"}},
	} {
		b.now = b.now.Add(time.Minute)
		asked = nil
		fields := map[string]string{}
		for k, v := range good {
			fields[k] = v
		}
		for k, v := range tt.change {
			fields[k] = v
		}
		body, contentType := form(t, fields)
		w := b.post(t, body, contentType)
		for _, text := range tt.want {
			text, not := strings.CutPrefix(text, "!")
			if strings.Contains(w.Body.String(), text) == not {
				t.Errorf("%s: has %q is not %t:\n%s", tt.name, text, !not, w.Body)
			}
		}
		if w.Code != 200 || w.Header().Get("Content-Security-Policy") != csp {
			t.Errorf("%s: %d", tt.name, w.Code)
		}
		switch tt.name {
		case "good":
			want := &explain.Stored{Message: []byte(good["message"]), Client: asked.Client, HELO: "h.example", MailFrom: &from,
				Recipients: []string{"c@d.example", "e@d.example"}, Time: b.now}
			if !reflect.DeepEqual(asked, want) || asked.Client.String() != "192.0.2.1" {
				t.Errorf("asked for %+v, want %+v", asked, want)
			}
		case "a file":
			if string(asked.Message) != "From: file@b.example\r\n\r\n\xff" {
				t.Errorf("asked for %q", asked.Message)
			}
		}
	}
}

func TestTryBounds(t *testing.T) {
	b := newBench(t)
	tried := 0
	b.try = func(context.Context, *explain.Stored) (*explain.Explanation, error) {
		tried++
		return &explain.Explanation{}, nil
	}
	send := func(size int) int {
		t.Helper()
		empty, _ := form(t, map[string]string{"client": "192.0.2.1", "message": ""})
		body, contentType := form(t, map[string]string{"client": "192.0.2.1", "message": strings.Repeat("x", max(1, size-len(empty)))})
		return b.post(t, body, contentType).Code
	}
	for size, want := range map[int]int{0: 200, MaxTry: 200, MaxTry + 1: 413, 3 * MaxTry: 413} {
		if got := send(size); got != want {
			t.Errorf("%d octets: %d, want %d", size, got, want)
		}
	}
	b.now = b.now.Add(time.Hour)
	for i := range maxTries + 2 {
		want := 200
		if i >= maxTries {
			want = 429
		}
		if got := send(0); got != want {
			t.Errorf("try %d: %d, want %d", i+1, got, want)
		}
	}
	b.now = b.now.Add(tryEvery)
	if a, c := send(0), send(0); a != 200 || c != 429 {
		t.Errorf("after %s: %d, and %d", tryEvery, a, c)
	}
	b.now = b.now.Add(time.Hour)
	before := tried
	for name, contentType := range map[string]string{"not a form": "text/plain", "no boundary": "multipart/form-data"} {
		if got := b.post(t, []byte("x"), contentType).Code; got != 400 {
			t.Errorf("%s: %d", name, got)
		}
	}
	b.tryOff = "It is switched off."
	if got := send(0); got != 403 {
		t.Errorf("switched off: %d", got)
	}
	b.shows(t, "/try", 200, "It is switched off.", "!<form class=\"try\"")
	if tried != before {
		t.Errorf("%d messages were judged that must not be", tried-before)
	}
}
