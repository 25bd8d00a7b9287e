package submit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/submit"
)

// certificate returns the configuration of a TLS server, and the roots that trust it as 127.0.0.1.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func TestTLS(t *testing.T) {
	config, roots := certificate(t)
	const untrusted = "TLS: the certificate of the mail server is not trusted: "
	for _, tc := range []struct {
		name  string
		mta   mta
		tls   submit.TLS
		roots *x509.CertPool
		want  string // the beginning of the reply
		ehlos int
	}{
		{"offered", mta{tls: config}, submit.Opportunistic, nil, "250 ", 2},
		{"by default", mta{tls: config}, "", nil, "250 ", 2},
		{"required", mta{tls: config}, submit.Required, roots, "250 ", 2},
		{"required, but not trusted", mta{tls: config}, submit.Required, nil, untrusted, 1},
		{"required, but not offered", mta{}, submit.Required, nil, "STARTTLS: the mail server does not offer it", 1},
		{"required, but refused", mta{tls: config, replies: map[string]string{"STARTTLS": "454 4.7.0 not now\x04"}}, submit.Required, roots,
			"STARTTLS: 454 4.7.0 not now", 1},
		{"refused", mta{offers: []string{"STARTTLS"}, replies: map[string]string{"STARTTLS": "454 4.7.0 not now"}}, submit.Opportunistic, nil, "250 ", 2},
		{"required, but EHLO is refused", mta{tls: config, replies: map[string]string{"EHLO": "502 what?"}}, submit.Required, roots,
			"STARTTLS: the mail server does not offer it", 1},
		{"EHLO is refused by the word", mta{replies: map[string]string{"EHLO": "502-what is\r\n502 STARTTLS"}}, submit.Opportunistic, nil, "250 ", 2},
		{"ends at EHLO", mta{tls: config, replies: map[string]string{"EHLO": "\x04"}}, submit.Opportunistic, nil,
			"EHLO: the mail server closed the connection", 1},
		{"ends at STARTTLS", mta{tls: config, replies: map[string]string{"STARTTLS": "\x04"}}, submit.Opportunistic, nil,
			"STARTTLS: the mail server closed the connection", 1},
		{"ends instead of TLS", mta{offers: []string{"STARTTLS"}, replies: map[string]string{"STARTTLS": "220 go\x04"}}, submit.Opportunistic, nil,
			"TLS: the mail server closed the connection", 1},
		{"not wanted", mta{tls: config}, submit.None, nil, "250 ", 1},
		{"broken", mta{offers: []string{"STARTTLS"}, replies: map[string]string{"STARTTLS": "220 go\r\n\x15\x03\x01"}}, submit.Opportunistic, nil,
			"STARTTLS: the mail server said more than it was asked", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := serve(t, tc.mta)
			r := send(t, m, func(o *submit.Options) { o.TLS, o.Roots = tc.tls, tc.roots })
			if !strings.HasPrefix(r.Reply, tc.want) {
				t.Errorf("%+v, want %s", r, tc.want)
			}
			if (r.Kind == submit.Sent) != strings.HasPrefix(tc.want, "250") || m.mails() > 0 && r.Kind != submit.Sent {
				t.Errorf("%+v", r)
			}
			ehlos := 0
			for _, line := range m.heard() {
				if strings.HasPrefix(line, "EHLO") {
					ehlos++
				}
			}
			if ehlos != tc.ehlos {
				t.Errorf("%d EHLO, want %d", ehlos, tc.ehlos)
			}
		})
	}
}

// TestInjected: what came in the clear after the reply to STARTTLS is not taken for an answer over TLS.
func TestInjected(t *testing.T) {
	config, _ := certificate(t)
	m := serve(t, mta{tls: config, replies: map[string]string{"STARTTLS": "220 go\r\n250 evil"}})
	if r := send(t, m, nil); r.Kind != submit.Temporary || r.Reply != "STARTTLS: the mail server said more than it was asked" {
		t.Errorf("%+v", r)
	}
}

func TestLogin(t *testing.T) {
	config, roots := certificate(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("geheim\r\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	plain := "AUTH PLAIN " + b64([]byte("\x00reports@isp.test\x00geheim"))
	user, password := b64([]byte("reports@isp.test")), b64([]byte("geheim"))
	ask := map[string]string{"AUTH": "334 VXNlcm5hbWU6", user: "334 UGFzc3dvcmQ6", password: "235 2.7.0 welcome"}
	for _, tc := range []struct {
		name string
		mta  mta
		said []string // lines that the MTA must have heard
		want string
	}{
		{"PLAIN", mta{tls: config, auth: "LOGIN PLAIN"}, []string{plain}, "250 "},
		{"LOGIN", mta{tls: config, auth: "LOGIN", replies: ask}, []string{"AUTH LOGIN", user, password}, "250 "},
		{"refused", mta{tls: config, auth: "PLAIN", replies: map[string]string{"AUTH": "535 5.7.8 wrong password"}}, []string{plain},
			"login: 535 5.7.8 wrong password"},
		{"asks for ever", mta{tls: config, auth: "PLAIN", replies: map[string]string{"AUTH": "334 ", "*": "501 5.0.0 aborted"}}, []string{plain, "*"},
			"login: the mail server asks for more than user and password"},
		{"challenge is not base64", mta{tls: config, auth: "LOGIN", replies: map[string]string{"AUTH": "334 ???"}}, []string{"*"},
			"login: illegal base64"},
		{"no mechanism", mta{tls: config, auth: "GSSAPI"}, nil, "login: the mail server offers neither AUTH PLAIN nor AUTH LOGIN"},
		{"no TLS", mta{offers: []string{"AUTH PLAIN"}}, nil,
			"login: the mail server does not offer STARTTLS, and a password is only sent over TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := serve(t, tc.mta)
			r := send(t, m, func(o *submit.Options) { o.User, o.PasswordFile, o.Roots = "reports@isp.test", file, roots })
			if !strings.HasPrefix(r.Reply, tc.want) || (r.Kind == submit.Sent) != strings.HasPrefix(tc.want, "250") || r.Kind == submit.Refused {
				t.Errorf("%+v, want %s", r, tc.want)
			}
			m.finish()
			heard := m.heard()
			for _, line := range tc.said {
				if !slices.Contains(heard, line) {
					t.Errorf("no %s in\n%s", line, strings.Join(heard, "\n"))
				}
			}
			if tc.said == nil && strings.Contains(strings.Join(heard, "\n"), "AUTH") {
				t.Error("the password was sent")
			}
		})
	}
}
