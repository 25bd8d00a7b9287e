package e2e

import (
	"net"

	"sekimori/internal/milter/sockets"
)

// within runs f on the thread of the namespace and waits until f returns. A socket or a process
// that f creates belongs to the namespace.
func (m *sendmail) within(f func()) {
	done := make(chan struct{})
	m.inside <- func() {
		defer close(done)
		f()
	}
	<-done
}

// listen opens the milter socket of a listener of the kind "tcp", within the namespace.
func (m *sendmail) listen(s slot) (ln net.Listener, err error) {
	m.within(func() {
		var listeners []net.Listener
		if listeners, err = (sockets.Config{Address: s.milter}).Listen(); err == nil {
			ln = listeners[0]
		}
	})
	return ln, err
}

// connect connects to an address within the namespace, from the given source address unless it is
// "".
func (m *sendmail) connect(from, to string) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	m.within(func() { conn, err = dialer.Dial("tcp", to) })
	return conn, err
}
