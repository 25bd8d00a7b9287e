package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
)

// serveAuth is the little of Dovecot's authentication protocol that Postfix
// needs to believe in a SASL server. Every PLAIN login is good, and is user
// "alice".
func serveAuth(path string) (net.Listener, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go authenticate(conn)
		}
	}()
	return ln, nil
}

func authenticate(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00000000000000000000000000000000\nDONE\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if args := strings.Split(lines.Text(), "\t"); args[0] == "AUTH" && len(args) > 1 {
			_, _ = fmt.Fprintf(conn, "OK\t%s\tuser=alice\n", args[1])
		}
	}
}
