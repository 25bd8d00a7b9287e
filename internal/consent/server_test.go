package consent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// server is a socketmap server for the tests. It does not use the client's code
// for netstrings, so the tests also find mistakes in that code.
type server struct {
	ln     net.Listener
	answer func(question string) string // returns the octets to send; if it returns "", the connection is closed

	mu        sync.Mutex
	conns     map[net.Conn]bool
	questions []string
	accepted  int
	wg        sync.WaitGroup
}

func serve(t *testing.T, network string, answer func(question string) string) *server {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/map"
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ln: ln, answer: answer, conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	_ = s.ln.Close()
	s.hangUp()
	s.wg.Wait()
}

// hangUp closes all open connections, as a restart of the server does.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.accepted++
		s.mu.Unlock()
		s.wg.Go(func() {
			_ = s.talk(c)
			_ = c.Close()
		})
	}
}

func (s *server) talk(c net.Conn) error {
	in := bufio.NewReader(c)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "%d:", &n); err != nil {
			return err
		}
		text := make([]byte, n+1)
		if _, err := io.ReadFull(in, text); err != nil {
			return err
		}
		if text[n] != ',' {
			return errors.New("no comma")
		}
		question := string(text[:n])
		s.mu.Lock()
		s.questions = append(s.questions, question)
		s.mu.Unlock()
		answer := s.answer(question)
		if answer == "" {
			return nil
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return err
		}
	}
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.questions...)
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// target returns the address of the server in the form of Options.Socketmap.
func (s *server) target() string {
	if s.ln.Addr().Network() == "unix" {
		return "unix:" + s.ln.Addr().String() + ":consent"
	}
	return "inet:" + s.ln.Addr().String() + ":consent"
}

// netstring returns s as a netstring, without using the client's code.
func netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

// says returns an answer function that gives the same answer to every question.
func says(answer string) func(string) string { return func(string) string { return netstring(answer) } }

// table returns an answer function that looks up the address in entries.
func table(entries map[string]string) func(string) string {
	return func(q string) string {
		_, key, _ := strings.Cut(q, " ")
		if v, ok := entries[key]; ok {
			return netstring(v)
		}
		return netstring("NOTFOUND ")
	}
}
