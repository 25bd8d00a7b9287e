package submit_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mta is an MTA that answers as the test wants.
type mta struct {
	offers []string // after EHLO; STARTTLS and AUTH are added if there is a certificate
	// replies has what the MTA answers to a command instead of a success. The command "" is the greeting, and "."
	// is the end of the mail. The last octet may be an order: \x04 to close the connection, \x05 to
	// neither read nor write any more, \x06 to send an octet now and then.
	replies map[string]string
	tls     *tls.Config
	auth    string       // the mechanisms that are offered over TLS
	on      func(string) // called with each command, before the reply

	address string
	ln      net.Listener
	wg      *sync.WaitGroup
	closed  chan struct{}

	mu    *sync.Mutex
	lines []string
	text  []string
	conns []net.Conn
}

func serve(t *testing.T, m mta) *mta {
	t.Helper()
	var err error
	if m.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.address, m.mu, m.wg, m.closed = m.ln.Addr().String(), &sync.Mutex{}, &sync.WaitGroup{}, make(chan struct{})
	m.wg.Go(func() {
		for {
			conn, err := m.ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			m.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				(&dialogue{mta: &m, conn: conn, in: bufio.NewReader(conn)}).run()
			})
		}
	})
	t.Cleanup(func() {
		m.mu.Lock()
		for _, c := range m.conns {
			_ = c.Close()
		}
		m.mu.Unlock()
		m.close()
	})
	return &m
}

// close stops the MTA, so that connections to it are refused.
func (m *mta) close() {
	_ = m.ln.Close()
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	m.wg.Wait()
}

// finish waits until all connections have ended.
func (m *mta) finish() {
	_ = m.ln.Close()
	m.wg.Wait()
}

func (m *mta) heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

func (m *mta) mails() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.text)
}

// mail returns the text of all mails, as it came after DATA.
func (m *mta) mail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.text, "")
}

// dialogue is one connection to the MTA.
type dialogue struct {
	*mta
	conn      net.Conn
	in        *bufio.Reader
	encrypted bool
}

func (d *dialogue) run() {
	if !d.say("", "220 hello") {
		return
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		d.mu.Lock()
		d.lines = append(d.lines, line)
		d.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		if !d.command(verb, line) {
			return
		}
	}
}

func (d *dialogue) command(verb, line string) bool {
	switch verb {
	case "EHLO":
		offers := slices.Clone(d.offers)
		if d.tls != nil && !d.encrypted {
			offers = append(offers, "STARTTLS")
		} else if d.encrypted && d.auth != "" {
			offers = append(offers, "AUTH "+d.auth)
		}
		reply := "250-me"
		for _, o := range append(offers, "ENHANCEDSTATUSCODES") {
			reply += "\r\n250-" + o
		}
		last := strings.LastIndex(reply, "250-")
		return d.say(verb, reply[:last]+"250 "+reply[last+4:])
	case "STARTTLS":
		if !d.say(verb, "220 go") {
			return false
		}
		if d.tls != nil {
			d.conn = tls.Server(d.conn, d.tls)
			d.in, d.encrypted = bufio.NewReader(d.conn), true
		}
		return true
	case "DATA":
		if !d.say(verb, "354 go") || d.replies[verb] != "" && !strings.HasPrefix(d.replies[verb], "354") {
			return d.replies[verb] != ""
		}
		text := ""
		for {
			line, err := d.in.ReadString('\n')
			if err != nil {
				return false
			}
			if line == ".\r\n" {
				break
			}
			text += line
		}
		d.mu.Lock()
		d.text = append(d.text, text)
		d.mu.Unlock()
		return d.say(".", "250 2.0.0 ok")
	case "QUIT":
		d.say(verb, "221 bye")
		return false
	case "AUTH":
		return d.say(verb, "235 welcome")
	}
	if reply, ok := d.replies[line]; ok { // an answer to a challenge
		return d.say(line, reply)
	}
	return d.say(verb, "250 ok")
}

// say answers a command. It returns false if the connection is at its end.
func (d *dialogue) say(command, usual string) bool {
	reply, ok := d.replies[command]
	if !ok {
		reply = usual
	}
	if d.on != nil {
		d.on(command)
	}
	order := byte(0)
	if end := len(reply) - 1; end >= 0 && strings.IndexByte("\x04\x05\x06", reply[end]) >= 0 {
		order, reply = reply[end], reply[:end]
	}
	if reply != "" {
		if _, err := d.conn.Write([]byte(reply + "\r\n")); err != nil {
			return false
		}
	}
	switch order {
	case 4:
		return false
	case 5:
		<-d.closed
		return false
	case 6:
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				if _, err := d.conn.Write([]byte("2")); err != nil {
					tick.Stop()
					return false
				}
			case <-d.closed:
				return false
			}
		}
	}
	return true
}
