package dispatch

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
	"sekimori/internal/testkit/nameserver"
)

// mail is a mail that the MTA took.
type mail struct {
	at       time.Time
	from, to string
	text     string
}

// id returns the Message-ID.
func (m mail) id() string {
	if f := regexp.MustCompile(`(?m)^Message-ID: <(.*)>\r$`).FindStringSubmatch(m.text); f != nil {
		return f[1]
	}
	return ""
}

// xml returns the report.
func (m mail) xml(t *testing.T) string {
	t.Helper()
	_, part, _ := strings.Cut(m.text, "Content-Disposition: attachment")
	_, part, _ = strings.Cut(part, "\r\n\r\n")
	part, _, _ = strings.Cut(part, "--")
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(strings.TrimSpace(part), "\r\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// mta takes mail, or does with it what answer says. A nil answer takes everything.
type mta struct {
	answer func(ctx context.Context, to string) (submit.Result, error) // the zero Result takes the mail
	after  func(to string)                                             // called when the mail was taken

	mu    sync.Mutex
	tries []mail // without text
	mails []mail
}

func (m *mta) Submit(ctx context.Context, e submit.Envelope, body func(io.Writer) error) (submit.Result, error) {
	m.mu.Lock()
	m.tries = append(m.tries, mail{at: time.Now(), from: e.From, to: e.To})
	m.mu.Unlock()
	if m.answer != nil {
		if r, err := m.answer(ctx, e.To); err != nil || r.Kind != "" {
			return r, err
		}
	}
	if e.Check != nil {
		if err := e.Check(); err != nil {
			return submit.Result{Kind: submit.Temporary}, fmt.Errorf("check: %w", err)
		}
	}
	var b bytes.Buffer
	if err := body(&b); err != nil {
		return submit.Result{Kind: submit.Temporary}, err
	}
	if int64(b.Len()) != e.Size {
		return submit.Result{}, fmt.Errorf("SIZE=%d for a mail of %d octets", e.Size, b.Len())
	}
	m.mu.Lock()
	m.mails = append(m.mails, mail{at: time.Now(), from: e.From, to: e.To, text: b.String()})
	m.mu.Unlock()
	if m.after != nil {
		m.after(e.To)
	}
	return submit.Result{Kind: submit.Sent, Code: 250, Reply: "250 2.0.0 Ok: queued as 4711"}, nil
}

func (m *mta) taken() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mails)
}

func (m *mta) tried() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tries)
}

// world is a store, DNS and an MTA.
type world struct {
	t     *testing.T
	store report.Store
	zone  *zone.Zone
	mta   *mta
	mu    sync.Mutex
	count map[string]int // of events
}

func newWorld(t *testing.T, zoneText string) *world {
	t.Helper()
	return newWorldOn(t, zoneText, &memory{rows: map[int64][]report.Row{}, suppression: map[string]report.Suppression{}})
}

func newWorldOn(t *testing.T, zoneText string, s report.Store) *world {
	t.Helper()
	return &world{t: t, store: s, zone: nameserver.Zone(t, zoneText), mta: &mta{}, count: map[string]int{}}
}

func (w *world) event(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[name]++
}

func (w *world) options(owner string) Options {
	return Options{
		Store: w.store, Resolver: w.zone, Submit: w.mta, Owner: owner, Dir: w.t.TempDir(),
		Identity: Identity{Organization: "Example ISP", Domain: "dmarc.isp.example", From: "noreply", Bounce: "dmarc-bounce", Contact: "postmaster@isp.example", Generator: "sekimori test"},
		Settings: destination.Settings{Send: true, Always: []string{".example"}},
		Events: Events{
			Sent:     func(r report.Word) { w.event("sent " + string(r)) },
			Withheld: func(r report.Word) { w.event("withheld " + string(r)) },
			Built:    func(time.Duration) { w.event("built") },
		},
	}
}

func (w *world) dispatcher(owner string) *Dispatcher {
	w.t.Helper()
	d, err := New(w.options(owner))
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// run runs dispatchers for a while of fake time.
func (w *world) run(long time.Duration, all ...*Dispatcher) {
	ctx, cancel := context.WithTimeout(w.t.Context(), long)
	defer cancel()
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Go(func() { d.Run(ctx) })
	}
	wg.Wait()
}

// runNowAndThen runs a dispatcher for the first hour of every six, to save time.
func (w *world) runNowAndThen(long time.Duration, d *Dispatcher) {
	for begin := time.Now(); time.Since(begin) < long; {
		w.run(time.Hour, d)
		time.Sleep(5 * time.Hour)
	}
}

// yesterday returns the window of the day before.
func yesterday() report.Window { return dayWindow(time.Now().Add(-24 * time.Hour)) }

func dayWindow(at time.Time) report.Window {
	begin := at.UTC().Truncate(24 * time.Hour).Unix()
	return report.Window{Begin: begin, End: begin + 86399}
}

// add adds a job that is due when its window is closed.
func (w *world) add(window report.Window, domains ...string) {
	w.t.Helper()
	for _, domain := range domains {
		row := report.Row{Source: netip.MustParseAddr("192.0.2.1"), Disposition: report.None, HeaderFrom: dns.Name(domain),
			AuthSPF: report.SPFResult{Domain: domain, Result: "pass"}, Count: 5}
		closed := time.Unix(window.End+1, 0).Add(report.Grace)
		err := w.store.Add(w.t.Context(), time.Unix(window.Begin+1, 0), report.Batch{
			ID: fmt.Sprint(domain, window.Begin), Current: window,
			Tallies: []report.Tally{{Policy: report.Policy{Domain: dns.Name(domain), P: "none", SP: "none", NP: "none", ADKIM: "relaxed", ASPF: "relaxed", FO: "0", Method: "treewalk"},
				Window: window, SendAt: closed, Rows: []report.Row{row}, Causes: 5}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) job(f report.Filter) report.Job {
	w.t.Helper()
	all, err := w.store.Jobs(w.t.Context(), f)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d jobs, %v", len(all), err)
	}
	return all[0]
}

func (w *world) deliveries(j report.Job) map[string]report.Delivery {
	w.t.Helper()
	all, err := w.store.Deliveries(w.t.Context(), j.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]report.Delivery{}
	for _, v := range all {
		out[v.Address] = v
	}
	return out
}

// drain works on every job that is due now, and returns their number.
func (w *world) drain(d *Dispatcher) (n int) {
	w.t.Helper()
	for {
		job, err := d.o.Store.Claim(w.t.Context(), d.now(), d.o.Owner, leaseTime)
		if errors.Is(err, report.ErrNone) {
			return n
		}
		if err != nil {
			w.t.Fatal(err)
		}
		_, _ = d.work(w.t.Context(), job) // the store says what came of it
		n++
	}
}

// domainZone returns a record with a destination of its own, and the mail server of it.
func domainZone(domain, rua string) string {
	return fmt.Sprintf("_dmarc.%s TXT \"v=DMARC1; p=none; rua=%s\"\n%s MX 10 mx.%s\n", domain, rua, domain, domain)
}
