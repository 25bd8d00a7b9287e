package e2e

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-milter"
)

// witness is a milter made with go-milter, used to test this test harness without our daemon. It
// accepts every message and adds a header field with the client and HELO that the MTA told it.
type witness struct {
	milter.NoOpMilter
	client, helo string
	hold         bool
}

func (w *witness) Connect(host, family string, _ uint16, addr net.IP, _ *milter.Modifier) (milter.Response, error) {
	w.client = host + "/" + family + "/" + addr.String()
	return milter.RespContinue, nil
}

func (w *witness) Helo(name string, _ *milter.Modifier) (milter.Response, error) {
	w.helo = name
	return milter.RespContinue, nil
}

func (w *witness) Header(name, value string, _ *milter.Modifier) (milter.Response, error) {
	w.hold = w.hold || name == "Subject" && strings.Contains(value, "hold me")
	return milter.RespContinue, nil
}

func (w *witness) Body(m *milter.Modifier) (milter.Response, error) {
	if w.hold {
		if err := m.Quarantine("told to"); err != nil {
			return nil, err
		}
	}
	return milter.RespContinue, m.InsertHeader(0, "X-Witness", w.client+" "+w.helo)
}

func serveWitness(t *testing.T, s slot) {
	t.Helper()
	serveOther(t, s, func() milter.Milter { return &witness{} })
}

// serveOther starts a milter made with go-milter in place of our daemon.
func serveOther(t *testing.T, s slot, make func() milter.Milter) {
	t.Helper()
	network, addr, _ := strings.Cut(s.milter, ":")
	if network == "inet" {
		network = "tcp"
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &milter.Server{
		NewMilter: make,
		Actions:   milter.OptAddHeader | milter.OptChangeHeader | milter.OptQuarantine,
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, milter.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // server.Close would race with Serve
		wg.Wait()
	})
}

// witnessed sends a message as client p. It checks that the delivered message has the right body
// and an X-Witness field whose value is the argument "want".
func (s slot) witnessed(t *testing.T, p peer, want string) {
	t.Helper()
	rcpt := recipient()
	s.post(t, p, "a@bank.example", rcpt, mail{from: "a@bank.example"}.bytes()).accepted(t)
	d := run.inbox.wait(t, rcpt)
	if got := d.first(); got != (field{"X-Witness", want}) {
		t.Errorf("the milter saw %v, want %s", got, want)
	}
	if string(d.body) != "Dear customer,\nit is on its way.\n" {
		t.Errorf("body %q", d.body)
	}
}

// TestHarness tests the harness for Postfix with the milter witness in place of our daemon. It
// checks that the milter sees the client that XCLIENT names, that mail is delivered once, that a
// held message can be read from the queue, and that Postfix refuses refusedRecipient.
func TestHarness(t *testing.T) {
	s := shared(t)
	t.Parallel()
	sl := s.postfix.take(t, plain)
	serveWitness(t, sl)

	for _, p := range []struct {
		peer
		want string
	}{
		{bankMX, "mail.bank.example/tcp4/192.0.2.10 mail.bank.example"},
		{sixMX, "mail.six.example/tcp6/2001:db8::25 mail.six.example"},
		{peer{"", "198.51.100.7", "nobody.example"}, "[198.51.100.7]/tcp4/198.51.100.7 nobody.example"},
	} {
		sl.witnessed(t, p.peer, p.want)
	}

	id := sl.post(t, bankMX, "a@bank.example", recipient(), mail{from: "a@bank.example", subject: "hold me"}.bytes()).accepted(t)
	if got := s.postfix.held(t, id).all("X-Witness"); len(got) != 1 {
		t.Errorf("the held message has %d fields of the milter's", len(got))
	}

	c := sl.open(t, bankMX)
	if r, err := c.send("a@bank.example", []string{refusedRecipient}, nil); err != nil || r.code != 550 {
		t.Errorf("the refused recipient got %v, %v", r, err)
	}
}

// TestHarnessWithoutMilter: a listener defers mail if its milter is not running.
func TestHarnessWithoutMilter(t *testing.T) {
	s := shared(t)
	t.Parallel()
	sl := s.postfix.take(t, plain)
	if r := sl.attempt(bankMX, "a@bank.example", recipient(), mail{from: "a@bank.example"}.bytes()); r.code/100 != 4 {
		t.Errorf("got %v, want a temporary refusal", r)
	}
}

// TestHarnessLogin: the listener with AUTH accepts a login.
func TestHarnessLogin(t *testing.T) {
	s := shared(t)
	t.Parallel()
	sl := s.postfix.take(t, login)
	serveWitness(t, sl)
	c := sl.open(t, bankMX)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	rcpt := recipient()
	c.offer(t, "a@bank.example", rcpt, mail{from: "a@bank.example"}.bytes()).accepted(t)
	s.inbox.wait(t, rcpt)
}
