package submit

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"

	"sekimori/internal/printable"
)

// FuzzReply reads what an MTA may send as a reply.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"250 2.0.0 Ok: queued as 4ABC", "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three", "550 5.1.1", "421", "550 5.1.1 \xff\x00\x1b[31m", "354 go",
		"999 x", "550-a\r\n250 b", "550 5.999.999 x", "550  5.1.1  x",
	} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		r := textproto.NewReader(bufio.NewReader(strings.NewReader(reply + "\r\n")))
		code, text, err := r.ReadResponse(250)
		got := answer(code, text)
		if err != nil {
			got = (&transaction{}).failure("", err)
			if got.Kind != Temporary {
				t.Errorf("kind %s", got.Kind)
			}
		}
		if !printable.IsPlain(got.Reply) || len(got.Reply) > maxReply || got.Code != 0 && !strings.HasPrefix(got.Reply, strconv.Itoa(got.Code)) {
			t.Errorf("%+v", got)
		}
		if got.Enhanced != "" && (!isEnhanced(got.Enhanced, got.Code) || !strings.HasPrefix(got.Reply, strconv.Itoa(got.Code)+" "+got.Enhanced)) {
			t.Errorf("%+v", got)
		}
	})
}

// TestFailure has the errors of go-smtp and of the connection, and what is made of them.
func TestFailure(t *testing.T) {
	const closed, late = "the mail server closed the connection", "the mail server did not answer in time"
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, tt := range []struct {
		step         string
		err, failed  error // of the command, and of the connection before
		want         string
		code         int
		enhancedCode string
	}{
		{"", io.EOF, nil, closed, 0, ""},
		{"", fmt.Errorf("x: %w", io.ErrUnexpectedEOF), nil, closed, 0, ""},
		{"", reset, nil, closed, 0, ""},
		{"", &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, nil, closed, 0, ""},
		{"", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, nil, late, 0, ""},
		{"EHLO", os.ErrDeadlineExceeded, nil, "EHLO: " + late, 0, ""},
		{"", &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, nil, "dial tcp: connection refused", 0, ""},
		{"", errLongReply, nil, "the reply of the mail server was too long", 0, ""},
		{"", smtp.ErrTooLongLine, nil, "the reply of the mail server was too long", 0, ""},
		{"", textproto.ProtocolError("short"), nil, "the reply of the mail server was malformed", 0, ""},
		{"", textproto.ProtocolError("short"), io.EOF, closed, 0, ""},
		{"", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, nil,
			"the certificate of the mail server is not trusted: x509: certificate signed by unknown authority", 0, ""},
		{"", &tls.CertificateVerificationError{Err: errors.New(strings.Repeat("x", 600))}, nil,
			"the certificate of the mail server is not trusted: " + strings.Repeat("x", 446) + "...", 0, ""},
		{"", errors.New("else\n" + strings.Repeat("x", 600)), nil, "else?" + strings.Repeat("x", 492) + "...", 0, ""},
		{"TLS", errors.New(strings.Repeat("x", 600)), nil, "TLS: " + strings.Repeat("x", 492) + "...", 0, ""},
		{"", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 2}, Message: "no"}, nil, "550 5.1.2 no", 550, "5.1.2"},
		{"", &smtp.SMTPError{Code: 550, Message: "no"}, io.EOF, "550 no", 550, ""},
		{"", &smtp.SMTPError{Message: "no"}, nil, "SMTP error 000: no", 0, ""},
		{"", &smtp.SMTPError{Message: "no"}, io.EOF, closed, 0, ""},
		{"", &textproto.Error{Code: 454, Msg: "4.7.0 later"}, nil, "454 4.7.0 later", 454, "4.7.0"},
		{"STARTTLS", &textproto.Error{Code: 454, Msg: "later"}, nil, "STARTTLS: 454 later", 454, ""},
		{"", &textproto.Error{Code: 199, Msg: "x"}, nil, `199 "x"`, 0, ""},
		{"", &textproto.Error{Code: 200, Msg: "x"}, nil, "200 x", 200, ""},
		{"", &textproto.Error{Code: 599, Msg: "x\ny"}, nil, "599 x y", 599, ""},
		{"", &textproto.Error{Code: 600, Msg: "x\ny"}, nil, `600 "x\ny"`, 0, ""},
	} {
		tr := &transaction{conn: &boundedConn{failed: tt.failed}}
		want := Result{Kind: Temporary, Reply: tt.want, Code: tt.code, Enhanced: tt.enhancedCode}
		if got := tr.failure(tt.step, tt.err); got != want {
			t.Errorf("%v: got  %+v\nwant %+v", tt.err, got, want)
		}
		if tt.failed == nil {
			if got := (&transaction{}).failure(tt.step, tt.err); got != want {
				t.Errorf("%v without a connection: %+v", tt.err, got)
			}
		}
	}
}

func TestAboutUs(t *testing.T) {
	want := map[int]bool{530: true, 534: true, 535: true, 538: true}
	for code := 500; code < 600; code++ {
		if aboutUs(code) != want[code] {
			t.Errorf("%d", code)
		}
	}
}

func TestIsEnhanced(t *testing.T) {
	for s, want := range map[string]bool{
		"5.0.0": true, "5.1.1": true, "5.999.0": true, "5.0.999": true, "5.1000.0": false, "5.0.1000": false, "5.-1.0": false, "5.0.-1": false,
		"4.1.1": false, "5.1": false, "5.1.1.1": false, "5.01.1": false, "5.1.01": false, "5.+1.1": false, "5.a.1": false, "5.1.": false, "5..1": false, "": false,
	} {
		if isEnhanced(s, 550) != want {
			t.Errorf("%q", s)
		}
	}
}
