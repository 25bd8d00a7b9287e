package failures

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dispatch"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/failure"
	"sekimori/internal/submit"
	"sekimori/internal/testkit/nameserver"
)

// store is the part of a store that failure reports use.
type store struct {
	report.Store
	mu      sync.Mutex // a ticker wakes Run, so a test that changes a fault later holds it
	entries map[string]report.Suppression
	seen    report.Seen
	counted map[string]int64 // by limit, on any day
	fails   string           // the method that returns errStore
}

var errStore = errors.New("the store is away")

func (s *store) fault(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails == method {
		return errStore
	}
	return nil
}

func (s *store) Allow(_ context.Context, day report.Day, limit string, most int64) (bool, error) {
	if err := s.fault("Allow"); err != nil {
		return true, err // what a store says beside an error does not matter
	}
	key := fmt.Sprint(day, limit)
	if s.counted[key] >= most {
		return false, nil
	}
	s.counted[key]++
	return true, nil
}

func (s *store) Secret(context.Context) ([]byte, error) { return []byte("secret"), s.fault("Secret") }
func (s *store) Seen(context.Context, dns.Name, report.Day) (report.Seen, error) {
	err := s.fault("Seen")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, err
}
func (s *store) Suppress(_ context.Context, x report.Suppression) error {
	s.entries[x.Target] = x
	return s.fault("Suppress")
}
func (s *store) Suppression(_ context.Context, target string) (report.Suppression, error) {
	if x, ok := s.entries[target]; ok {
		return x, nil
	}
	return report.Suppression{}, report.ErrUnknown
}

type mail struct {
	from, to, text string
	utf8           bool
}

type mta struct {
	mu     sync.Mutex
	taken  []mail
	hang   bool
	breaks int // which write of a mail fails, from 1 on
	result submit.Result
	err    error
}

func (m *mta) mails() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.taken)
}

func (m *mta) Submit(ctx context.Context, e submit.Envelope, body func(io.Writer) error) (submit.Result, error) {
	if m.hang {
		<-ctx.Done()
		return submit.Result{Kind: submit.Temporary}, ctx.Err()
	}
	b := connection{breaks: m.breaks}
	if err := body(&b); err != nil {
		return submit.Result{}, err
	}
	if int64(b.Len()) != e.Size {
		return submit.Result{}, fmt.Errorf("SIZE=%d for %d octets", e.Size, b.Len())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = append(m.taken, mail{e.From, e.To, b.String(), e.SMTPUTF8})
	return m.result, m.err
}

// connection is a connection to an MTA of which a write may fail.
type connection struct {
	bytes.Buffer
	breaks int
}

var errGone = errors.New("the connection is gone")

func (c *connection) Write(p []byte) (int, error) {
	if c.breaks--; c.breaks == 0 {
		return 0, errGone
	}
	return c.Buffer.Write(p)
}

// WriteString hides that of the buffer.
func (c *connection) WriteString(s string) (int, error) { return c.Write([]byte(s)) }

func incident(domain dns.Name) failure.Incident {
	return failure.Incident{PolicyDomain: domain, Reported: domain, Source: netip.MustParseAddr("192.0.2.1"), Arrival: time.Now(), Results: "mx.isp.example; dmarc=fail",
		NotAligned: []string{"dkim", "spf"}, Delivery: "reject"}
}

const zone = `
_dmarc.shop.example TXT "v=DMARC1; p=reject; rua=mailto:rua@shop.example; ruf=mailto:ruf@shop.example,mailto:x@esp.example"
shop.example MX 10 mx.shop.example
_dmarc.tld.example TXT "v=DMARC1; p=reject; psd=y; ruf=mailto:ruf@tld.example"
tld.example MX 10 mx.tld.example
_dmarc.quiet.example TXT "v=DMARC1; p=reject; rua=mailto:rua@quiet.example"
_dmarc.dmarc.isp.example TXT "v=DMARC1; p=reject; ruf=mailto:noreply@dmarc.isp.example,mailto:dmarc-bounce+x@dmarc.isp.example"
dmarc.isp.example MX 10 mx.isp.example
_dmarc.utf8.example TXT "v=DMARC1; p=reject; ruf=mailto:b%C3%A9@utf8.example"
utf8.example MX 10 mx.utf8.example
`

type world struct {
	store    *store
	mta      *mta
	count    map[string]int
	log      *bytes.Buffer
	sender   *Sender
	stop     context.CancelFunc
	finished chan struct{}
}

// logger writes records without their time.
func logger(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// start starts a sender in the bubble of the test.
func start(t *testing.T, change func(*Options, *store)) *world {
	w := &world{store: &store{entries: map[string]report.Suppression{}, counted: map[string]int64{}, seen: report.Seen{PassDays: 9, FirstPass: 1}},
		mta: &mta{result: submit.Result{Kind: submit.Sent}}, count: map[string]int{}, log: &bytes.Buffer{}, finished: make(chan struct{})}
	o := Options{
		Log:   logger(w.log),
		Store: w.store, Resolver: nameserver.Zone(t, zone), Submit: w.mta, PerDomain: 10, Total: 1000, Settings: destination.Settings{Send: true},
		Identity: dispatch.Identity{Organization: "Example ISP", Domain: "dmarc.isp.example", From: "noreply", Bounce: "dmarc-bounce", Contact: "postmaster@isp.example", Generator: "sekimori 1.2.3"},
		Sent:     func(x report.Word) { w.count["sent "+string(x)]++ },
		Withheld: func(x report.Word) { w.count["withheld "+string(x)]++ },
		Dropped:  func() { w.count["dropped"]++ },
	}
	if change != nil {
		change(&o, w.store)
	}
	var err error
	if w.sender, err = New(o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	go func() {
		defer close(w.finished)
		w.sender.Run(ctx)
	}()
	t.Cleanup(func() {
		w.stop()
		<-w.finished
	})
	return w
}

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if len(w.mta.mails()) != 1 || w.mta.mails()[0].to != "ruf@shop.example" {
			t.Fatalf("%+v", w.mta.mails())
		}
		m := w.mta.mails()[0]
		for _, want := range []string{"report-type=feedback-report", "Auth-Failure: dmarc\r\n", "Incidents: 1\r\n", "To: <ruf@shop.example>\r\n", "User-Agent: sekimori/1.2.3\r\n"} {
			if !strings.Contains(m.text, want) {
				t.Errorf("no %q in %s", want, m.text)
			}
		}
		// The bounce is recognized, and strikes the address.
		local, _, _ := strings.Cut(m.from, "@")
		token, _ := report.BounceTokenOf("dmarc-bounce", local)
		e := dispatch.NewEcho(w.store, nil)
		if _, err := e.Known(t.Context(), token); err == nil {
			t.Error("known to a process without failure reports")
		}
		e.Failures = w.sender.o.Memory.Address
		id, err := e.Known(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Failed(t.Context(), id, "5.1.1", "550 5.1.1 no such user"); err != nil || !w.store.entries["ruf@shop.example"].Suppressed(time.Now()) {
			t.Errorf("%v, %+v", err, w.store.entries)
		}
		time.Sleep(2 * time.Hour)
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if len(w.mta.mails()) != 1 {
			t.Error("sent although the address is suppressed")
		}
		if want := map[string]int{"sent sent": 1, "withheld suppressed": 1}; !reflect.DeepEqual(w.count, want) {
			t.Errorf("counted %v, want %v", w.count, want)
		}
	})
}

func TestWithheld(t *testing.T) {
	for _, c := range []struct {
		why    string
		domain dns.Name
		change func(*Options, *store)
		want   map[string]int
	}{
		{"not established", "shop.example", func(_ *Options, s *store) { s.seen = report.Seen{} }, map[string]int{"withheld not_established": 1}},
		{"a public suffix", "tld.example", nil, map[string]int{"withheld not_requested": 1}},
		{"no ruf", "quiet.example", nil, map[string]int{"withheld not_requested": 1}},
		{"off", "shop.example", func(o *Options, _ *store) { o.Settings.Send = false }, map[string]int{"withheld off": 1}},
		{"not one of the domains", "shop.example", func(o *Options, _ *store) { o.Domains = []policy.Pattern{"a.example", ".shop.example"} }, map[string]int{}},
		{"not the one domain", "shop.example", func(o *Options, _ *store) { o.Domains = []policy.Pattern{"a.example"} }, map[string]int{}},
		{"our own addresses", "dmarc.isp.example", nil, map[string]int{"withheld loop": 1}},
		{"no history", "shop.example", func(_ *Options, s *store) { s.fails = "Seen" }, map[string]int{"dropped": 5}},
		{"no counts of the farm", "shop.example", func(_ *Options, s *store) { s.fails = "Allow" }, map[string]int{"dropped": 1}},
		{"no reports today", "shop.example", func(o *Options, _ *store) { o.Total = 0 }, map[string]int{"dropped": 5}},
		{"no DNS", "shop.example", func(o *Options, _ *store) {
			o.Resolver = nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
				return dns.Answer{}, &dns.Error{Kind: dns.KindServFail}
			})
		}, map[string]int{"dropped": 1}},
		{"no secret", "shop.example", func(_ *Options, s *store) { s.fails = "Secret" }, map[string]int{"dropped": 1}},
		{"no signature", "shop.example", func(o *Options, _ *store) {
			o.Sign = func(func(io.Writer) error) (string, error) { return "", errors.New("no key") }
		}, map[string]int{"sent failed": 1}},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, c.change)
				for range 5 { // the answer is remembered
					w.sender.Offer(incident(c.domain))
				}
				synctest.Wait()
				if len(w.mta.mails()) != 0 || !reflect.DeepEqual(w.count, c.want) {
					t.Errorf("%d mails, counted %v", len(w.mta.mails()), w.count)
				}
			})
		})
	}
}

// TestNobodyIsTold: without the functions that count, the same is sent.
func TestNobodyIsTold(t *testing.T) {
	for why, change := range map[string]func(*Options, *store){
		"sent": func(*Options, *store) {}, "withheld": func(_ *Options, s *store) { s.seen = report.Seen{} }, "dropped": func(_ *Options, s *store) { s.fails = "Seen" },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, func(o *Options, s *store) {
				o.Sent, o.Withheld, o.Dropped, o.Log = nil, nil, nil, nil
				change(o, s)
			})
			w.sender.Offer(incident("shop.example"))
			synctest.Wait()
			if n := len(w.mta.mails()); (n == 1) != (why == "sent") {
				t.Errorf("%s: %d mails", why, n)
			}
		})
	}
}

// TestFaults has every fault of a store, of the signer and of the MTA: what is counted, and the one line of the log.
func TestFaults(t *testing.T) {
	const (
		dropped = "level=WARN msg=\"a failure report is dropped\" domain=shop.example error="
		notSent = "level=WARN msg=\"a failure report was not sent\" domain=shop.example error="
		gone    = "\"the connection is gone\""
		away    = "\"the store is away\""
	)
	sign := func(o *Options) {
		o.Sign = func(mail func(io.Writer) error) (string, error) { return "DKIM-Signature: x\r\n", mail(io.Discard) }
	}
	refused := submit.Result{Kind: submit.Refused, Code: 550, Enhanced: "5.1.1"}
	for _, tt := range []struct {
		why     string
		change  func(*Options, *store)
		breaks  int // the MTA's connection, at this write
		result  submit.Result
		err     error
		counted string
		log     string
	}{
		{"none", nil, 0, submit.Result{Kind: submit.Sent}, nil, "sent sent", ""},
		{"none, signed", func(o *Options, _ *store) { sign(o) }, 0, submit.Result{Kind: submit.Sent}, nil, "sent sent", ""},
		{"later", nil, 0, submit.Result{Kind: submit.Temporary}, nil, "sent failed", ""},
		{"refused", nil, 0, refused, nil, "sent refused", ""},
		{"the entry of the refusal", func(_ *Options, s *store) { s.fails = "Suppress" }, 0, refused, nil, "sent refused", notSent + away},
		{"no history", func(_ *Options, s *store) { s.fails = "Seen" }, 0, submit.Result{}, nil, "dropped", dropped + away},
		{"no counts", func(_ *Options, s *store) { s.fails = "Allow" }, 0, submit.Result{}, nil, "dropped", dropped + away},
		{"no secret", func(_ *Options, s *store) { s.fails = "Secret" }, 0, submit.Result{}, nil, "dropped", dropped + away},
		{"no MTA", nil, 0, submit.Result{}, errGone, "sent failed", notSent + gone},
		{"while the mail is written", nil, 2, submit.Result{}, nil, "sent failed", notSent + gone},
		{"while the signature is written", func(o *Options, _ *store) { sign(o) }, 1, submit.Result{}, nil, "sent failed", notSent + gone},
		{"no signature", func(o *Options, _ *store) {
			o.Sign = func(func(io.Writer) error) (string, error) { return "", errGone }
		}, 0, submit.Result{}, nil, "sent failed", notSent + gone},
		{"no mail", func(o *Options, _ *store) {
			sign(o)
			o.Identity.From = "a\nb"
		}, 0, submit.Result{}, nil, "sent failed", notSent + `"failure: compose: not an address that can stand in a header: \"a\\nb@dmarc.isp.example\""`},
	} {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, tt.change)
				w.mta.breaks, w.mta.result, w.mta.err = tt.breaks, tt.result, tt.err
				w.sender.Offer(incident("shop.example"))
				synctest.Wait()
				if want := map[string]int{tt.counted: 1}; !reflect.DeepEqual(w.count, want) || strings.TrimSuffix(w.log.String(), "\n") != tt.log {
					t.Errorf("counted %v\n%s\nwant %s", w.count, w.log, tt.log)
				}
			})
		})
	}
}

// TestDueNoLonger: a domain that is not established any more gets no report on what was merged, and a fault is not
// tried again. Neither uses up the reports of the farm.
func TestDueNoLonger(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change func(*store)
		lost   int
	}{
		{"not established", func(s *store) { s.seen = report.Seen{} }, 0},
		{"no history", func(s *store) { s.fails = "Seen" }, 1},
		{"no secret", func(s *store) { s.fails = "Secret" }, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			w.sender.Offer(incident("shop.example"))
			w.sender.Offer(incident("shop.example"))
			synctest.Wait()
			counted := len(w.store.counted)
			w.store.mu.Lock()
			tt.change(w.store)
			w.store.mu.Unlock()
			time.Sleep(time.Hour + dueTime)
			synctest.Wait()
			if n := len(w.mta.mails()); n != 1 || len(w.store.counted) != counted || w.count["dropped"] != tt.lost {
				t.Errorf("%s: %d mails, limits %v, counted %v", tt.why, n, w.store.counted, w.count)
			}
			w.store.mu.Lock()
			w.store.seen, w.store.fails = report.Seen{PassDays: 9, FirstPass: 1}, ""
			w.store.mu.Unlock()
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			if n := len(w.mta.mails()); n != 1 || w.count["dropped"] != tt.lost {
				t.Errorf("%s, hours later: %d mails, counted %v", tt.why, n, w.count)
			}
		})
	}
}

// TestNow: the clock of the options dates a report, and says on which day its refusal counts.
func TestNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Date(2026, 11, 29, 23, 59, 58, 0, time.FixedZone("", 3600))
		w := start(t, func(o *Options, _ *store) { o.Now = func() time.Time { return at } })
		w.mta.result = submit.Result{Kind: submit.Refused, Code: 550, Enhanced: "5.2.2", Reply: "550 5.2.2 full"}
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if m := w.mta.mails(); len(m) != 1 || !strings.Contains(m[0].text, "\r\nDate: Sun, 29 Nov 2026 22:59:58 +0000\r\n") {
			t.Errorf("%+v", m)
		}
		if got, want := w.store.entries["ruf@shop.example"].Window, time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC).Unix(); got != want {
			t.Errorf("the strike is of %d, want %d", got, want)
		}
	})
}

// TestSMTPUTF8: an address beyond ASCII needs an MTA that takes it, and another does not.
func TestSMTPUTF8(t *testing.T) {
	for domain, want := range map[dns.Name]mail{"utf8.example": {to: "b\u00e9@utf8.example", utf8: true}, "shop.example": {to: "ruf@shop.example"}} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, func(o *Options, _ *store) { o.Settings.SMTPUTF8 = true })
			w.sender.Offer(incident(domain))
			synctest.Wait()
			if m := w.mta.mails(); len(m) != 1 || m[0].to != want.to || m[0].utf8 != want.utf8 {
				t.Errorf("%s: %+v", domain, m)
			}
		})
	}
}

// TestDeliveries: two processes of a farm do not use the same ids, and none is that of an aggregate report.
func TestDeliveries(t *testing.T) {
	seen := map[int64]bool{}
	for range 20 {
		id := NewMemory().remember("a@b.example")
		if id <= dispatch.FirstFailure || id > dispatch.FirstFailure+1<<61 || seen[id] {
			t.Errorf("%d, after %v", id, seen)
		}
		seen[id] = true
	}
}

// TestMerge checks that a wave becomes one report at once and one an hour.
func TestMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options, _ *store) { o.Domains = []policy.Pattern{"shop.example"} })
		for range 10 {
			w.sender.Offer(incident("shop.example"))
		}
		synctest.Wait()
		if len(w.mta.mails()) != 1 {
			t.Fatalf("%d mails at once", len(w.mta.mails()))
		}
		time.Sleep(time.Hour + dueTime)
		synctest.Wait()
		if len(w.mta.mails()) != 2 || !strings.Contains(w.mta.mails()[1].text, "Incidents: 9\r\n") {
			t.Errorf("%d mails after an hour", len(w.mta.mails()))
		}
	})
}

// TestReload gives the memory of a sender to the next one: the hour goes on, bounces are recognized, and
// what was merged under the old settings is not sent.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := start(t, nil)
		for range 3 {
			old.sender.Offer(incident("shop.example"))
		}
		synctest.Wait()
		old.stop()
		<-old.finished
		w := start(t, func(o *Options, _ *store) { o.Memory = old.sender.o.Memory })
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if len(old.mta.mails()) != 1 || len(w.mta.mails()) != 0 {
			t.Fatalf("%d and %d mails within the hour", len(old.mta.mails()), len(w.mta.mails()))
		}
		time.Sleep(time.Hour + dueTime)
		synctest.Wait()
		if m := w.mta.mails(); len(m) != 1 || !strings.Contains(m[0].text, "Incidents: 1\r\n") {
			t.Errorf("after the hour: %+v", m)
		}
		local, _, _ := strings.Cut(old.mta.mails()[0].from, "@")
		token, _ := report.BounceTokenOf("dmarc-bounce", local)
		e := dispatch.NewEcho(w.store, nil)
		e.Failures = w.sender.o.Memory.Address
		if _, err := e.Known(t.Context(), token); err != nil {
			t.Errorf("a report from before the reload: %v", err)
		}
	})
}

// TestUnwantedDomainsCostNoReports checks that domains that get no report do not use up those of the day.
func TestUnwantedDomainsCostNoReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options, _ *store) { o.Total = 1 })
		for i := range 100 {
			w.sender.Offer(incident(dns.Name(fmt.Sprintf("forged%d.example", i))))
		}
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if len(w.mta.mails()) != 1 {
			t.Errorf("%d mails", len(w.mta.mails()))
		}
	})
}

// TestFarm has two hosts on one store. Together they send one report an hour on a domain, and no more than the limits of the day.
func TestFarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, func(o *Options, _ *store) { o.PerDomain = 2 })
		b := start(t, func(o *Options, _ *store) { o.PerDomain, o.Store = 2, a.store })
		a.sender.Offer(incident("shop.example"))
		synctest.Wait()
		b.sender.Offer(incident("shop.example"))
		b.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if len(a.mta.mails()) != 1 || len(b.mta.mails()) != 0 {
			t.Errorf("at once: %d and %d mails", len(a.mta.mails()), len(b.mta.mails()))
		}
		time.Sleep(time.Hour + dueTime)
		synctest.Wait()
		if m := b.mta.mails(); len(m) != 1 || !strings.Contains(m[0].text, "Incidents: 2\r\n") {
			t.Errorf("after an hour: %+v", m)
		}
		a.sender.Offer(incident("shop.example"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(a.mta.mails()) != 1 {
			t.Errorf("%d mails, although the two of the day were sent", len(a.mta.mails()))
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if m := a.mta.mails(); len(m) != 2 || !strings.Contains(m[1].text, "Incidents: 1\r\n") {
			t.Errorf("on the next day: %+v", m)
		}
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.mta.result = submit.Result{Kind: submit.Refused, Code: 550, Enhanced: "5.1.1", Reply: "550 5.1.1 no such user"}
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if s := w.store.entries["ruf@shop.example"]; !s.Suppressed(time.Now()) || w.count["sent refused"] != 1 {
			t.Errorf("%+v, %v", s, w.count)
		}
	})
}

// TestNotSubmitted: a report that did not get away does not count as sent to an address that has a strike.
func TestNotSubmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.mta.err = errors.New("no MTA")
		w.store.entries["ruf@shop.example"] = report.Suppression{Target: "ruf@shop.example", Strikes: 1}
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if s := w.store.entries["ruf@shop.example"]; !s.Sent.IsZero() || w.count["sent failed"] != 1 {
			t.Errorf("%+v, %v", s, w.count)
		}
	})
}

// TestOfferNeverBlocks fills the queue of a sender that does not run.
func TestOfferNeverBlocks(t *testing.T) {
	dropped := 0
	s, err := New(Options{Store: &store{}, Resolver: nameserver.Zone(t, ""), Submit: &mta{}, Identity: dispatch.Identity{Domain: "isp.example"},
		Dropped: func() { dropped++ }})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxQueued {
		s.Offer(incident("shop.example"))
	}
	if dropped != 2*maxQueued {
		t.Errorf("%d dropped", dropped)
	}
}

// TestBounds checks that the memory does not grow with what strangers make up.
func TestBounds(t *testing.T) {
	s, err := New(Options{Store: &store{}, Resolver: nameserver.Zone(t, ""), Submit: &mta{}, Identity: dispatch.Identity{Domain: "isp.example"}, Settings: destination.Settings{Send: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown + 10 {
		s.wanted(t.Context(), dns.Name(fmt.Sprintf("d%d.example", i)))
		if want := i%maxKnown + 1; len(s.known) != want {
			t.Fatalf("%d domains remembered, want %d", len(s.known), want)
		}
	}
	m := s.o.Memory
	first := m.remember("a@b.example")
	for range maxAddresses {
		m.remember("c@d.example")
	}
	if _, ok := m.Address(first); ok || len(m.addresses) != maxAddresses || len(m.order) != maxAddresses {
		t.Errorf("%d addresses remembered", len(m.addresses))
	}
}

// TestKnownTime checks that a domain that was not established is asked about again after an hour.
func TestKnownTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(_ *Options, s *store) { s.seen = report.Seen{} })
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		w.store.seen = report.Seen{PassDays: 9, FirstPass: 1}
		time.Sleep(maxKnownTime - time.Second)
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if n := len(w.mta.mails()); n != 0 {
			t.Errorf("%d mails within the hour", n)
		}
		time.Sleep(time.Second)
		w.sender.Offer(incident("shop.example"))
		synctest.Wait()
		if n := len(w.mta.mails()); n != 1 {
			t.Errorf("%d mails after the hour", n)
		}
	})
}

// slow is a resolver that never answers.
type slow struct{ dns.LookupOnly }

func (slow) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, dns.OutOfTime(slow{}, ctx.Err(), name, typ)
}

func TestSlowDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options, _ *store) { o.Resolver = slow{} })
		begin := time.Now()
		if w.sender.wanted(t.Context(), "shop.example") || time.Since(begin) != maxDecide {
			t.Errorf("decided after %v", time.Since(begin))
		}
	})
}

// TestStopDuringLookup: a lookup that ends because the sender is told to stop is no loss.
func TestStopDuringLookup(t *testing.T) {
	for _, stop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, func(o *Options, _ *store) { o.Resolver = slow{} })
			w.sender.Offer(incident("shop.example"))
			synctest.Wait()
			if !stop {
				time.Sleep(maxDecide)
				synctest.Wait()
			}
			w.stop()
			<-w.finished
			if lost := w.count["dropped"] == 1; lost == stop || len(w.count) > 1 {
				t.Errorf("stop %v: %v", stop, w.count)
			}
		})
	}
}

// TestSlowMTA checks how long an MTA that does not answer can hold up the other reports, and the stop.
func TestSlowMTA(t *testing.T) {
	for _, stop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			w.mta.hang = true
			begin := time.Now()
			w.sender.Offer(incident("shop.example"))
			synctest.Wait()
			want := maxSubmit
			if stop {
				want = dispatch.DefaultDrain
			} else {
				time.Sleep(maxSubmit)
				synctest.Wait()
			}
			w.stop()
			<-w.finished
			if long := time.Since(begin); long != want {
				t.Errorf("stop %v: ended after %v, want %v", stop, long, want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	whole := Options{Store: &store{}, Resolver: nameserver.Zone(t, zone), Submit: &mta{}, Identity: dispatch.Identity{Domain: "dmarc.isp.example"}}
	if _, err := New(whole); err != nil {
		t.Error(err)
	}
	for name, remove := range map[string]func(*Options){
		"store": func(o *Options) { o.Store = nil }, "resolver": func(o *Options) { o.Resolver = nil }, "submitter": func(o *Options) { o.Submit = nil },
		"identity": func(o *Options) { o.Identity.Domain = "" },
	} {
		o := whole
		remove(&o)
		if _, err := New(o); err == nil {
			t.Errorf("accepted without the %s", name)
		}
	}
}
