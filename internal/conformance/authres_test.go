package conformance

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/suites"
)

// docField finds the Authentication-Results fields that authres-doctest.txt prints or parses.
var docField = regexp.MustCompile(`['"]([Aa]uthentication-[Rr]esults): *([\w.-]+)(.*)['"]\)?$`)

// rfc8601 has the examples of RFC 8601 Appendix B and RFC 6008 §5, folded as in the RFCs.
var rfc8601 = []string{
	" example.org 1; none",
	" example.com;\r\n          spf=pass smtp.mailfrom=example.net",
	" example.com;\r\n          auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n          spf=pass smtp.mailfrom=example.net",
	" example.com; iprev=pass\r\n          policy.iprev=192.0.2.200",
	" example.com;\r\n          dkim=pass reason=\"good signature\"\r\n            header.i=@mail-router.example.net;\r\n          dkim=fail reason=\"bad " +
		"signature\"\r\n            header.i=@newyork.example.com",
	" mail-router.example.net;\r\n     dkim=pass (good signature) header.d=newyork.example.com\r\n          header.b=oINEO8hg;\r\n     dkim=fail (bad " +
		"signature) header.d=newyork.example.com\r\n          header.b=EToRSuvU",
}

// TestConformanceAuthresRFC8601 checks the rules of RFC 8601 §5 (deletion of forged fields) with
// the examples in rfc8601. See boundaryRow.
func TestConformanceAuthresRFC8601(t *testing.T) {
	rows := make([]row, 0, len(rfc8601))
	for i, value := range rfc8601 {
		id, rest, _ := strings.Cut(strings.TrimSpace(value), ";")
		id, version, _ := strings.Cut(id, " ")
		rows = append(rows, boundaryRow("example "+strconv.Itoa(i+1), id, strings.TrimRight(" "+version, " ")+";"+rest))
	}
	suite{name: "authres/rfc8601 daemon", total: 6, rows: rows}.run(t)
}

// TestConformanceAuthresDoctest checks the same rules with the fields of authres-doctest.txt that
// docField finds.
func TestConformanceAuthresDoctest(t *testing.T) {
	seen := map[string]bool{}
	var rows []row
	for n, line := range strings.Split(string(suites.Read(t, "authres/authres-doctest.txt")), "\n") {
		if m := docField.FindStringSubmatch(line); m != nil && !seen[m[2]+m[3]] {
			seen[m[2]+m[3]] = true
			rows = append(rows, boundaryRow("line "+strconv.Itoa(n+1), m[2], m[3]))
		}
	}
	suite{name: "authres/doctest daemon", total: 35, rows: rows}.run(t)
}

// boundaryRow returns a test case that sends messages with an Authentication-Results field from
// outside. With the authserv-id of another host, the field must stay as it is and must not change
// our results. With our authserv-id it is forged and must be deleted.
func boundaryRow(name, id, rest string) row {
	return row{id: name, check: func(st *station) error {
		var err error
		for _, tt := range []struct {
			id   string
			left int
		}{{id, 1}, {authServID, 0}, {strings.ToUpper(authServID), 0}, {`"` + authServID + `"`, 0}, {"(x) " + authServID, 0}} {
			err = errors.Join(err, atBoundary(st, " "+tt.id+rest, tt.left))
		}
		return err
	}}
}

func atBoundary(st *station, value string, left int) error {
	o, err := st.label(mail{ip: "192.0.2.1", helo: "mx.client.invalid", from: "<bounce@client.invalid>",
		raw: []byte("Subject: s\r\n" + authres.FieldName + ":" + value + "\r\nFrom: a@author.invalid\r\n\r\nbody\r\n")})
	if err != nil {
		return fmt.Errorf("%q: %w", value, err)
	}
	var kept []client.Field
	for _, f := range o.header[1:] {
		if f.Name == authres.FieldName {
			kept = append(kept, f)
		}
	}
	if len(kept) != left || left == 1 && kept[0].Value != value {
		return fmt.Errorf("%q: left are %q, want %d", value, kept, left)
	}
	for _, method := range []string{"spf", "dkim", "dmarc", "arc"} {
		if r, err := o.word(method); err != nil || r.Value != "none" {
			return fmt.Errorf("%q: %s=%s (%w)", value, method, r.Value, err)
		}
	}
	return nil
}
