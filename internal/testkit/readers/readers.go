// Package readers gives Authentication-Results fields to programs that read such fields on real
// hosts, and returns the results that each program finds. The programs are SpamAssassin,
// python3-authres, Mail::AuthenticationResults, mailauth and go-msgauth.
package readers

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"sekimori/internal/testkit/naive"
)

// AuthServID is the authserv-id that all readers are configured to trust.
const AuthServID = "mx.here.example"

// Seen is what a reader found in one field.
type Seen struct {
	Results []naive.Result
	// SPF is the SPF result that SpamAssassin's plugin SPF takes from the field. It is "" for the
	// other readers.
	SPF string
	// Error is the reason why the reader could not read the field, or "".
	Error string
}

// Reader is one program. Read takes the values of fields as sent over the wire, and returns one
// Seen for each of them, in the same order.
type Reader struct {
	Name string
	// ASCII is true if the program cannot read fields that contain UTF-8.
	ASCII bool
	// NoBIMI is true if the program skips a field that has a result of BIMI, whose method is not
	// registered.
	NoBIMI bool
	Read   func(values []string) ([]Seen, error)
}

var (
	//go:embed spamassassin.pl
	spamAssassin string
	//go:embed python.py
	pythonAuthres string
	//go:embed authenticationresults.pl
	authenticationResults string
	//go:embed mailauth.js
	mailauth string
)

// mailauthDir is the folder in which npm has installed mailauth. The environment variable
// SEKIMORI_TEST_MAILAUTH can name another folder.
const mailauthDir = "/opt/sekimori-test/mailauth"

// Available returns the readers that are installed. The error names the others; the caller decides
// whether that is a failure.
func Available() ([]Reader, error) {
	dir := mailauthDir
	if other := os.Getenv("SEKIMORI_TEST_MAILAUTH"); other != "" {
		dir = other
	}
	found := []Reader{{Name: "go-msgauth", Read: goMsgauth}}
	var missing []error
	for _, r := range []struct {
		reader  Reader
		install string
		files   []string
	}{
		{Reader{Name: "SpamAssassin", NoBIMI: true, Read: script(spamAssassin, "/usr/bin/perl")}, "apt-get install spamassassin",
			[]string{"/usr/share/perl5/Mail/SpamAssassin.pm"}},
		{Reader{Name: "python3-authres", ASCII: true, Read: script(pythonAuthres, "/usr/bin/python3")}, "apt-get install python3-authres",
			[]string{"/usr/lib/python3/dist-packages/authres"}},
		{Reader{Name: "Mail::AuthenticationResults", Read: script(authenticationResults, "/usr/bin/perl")},
			"apt-get install libmail-authenticationresults-perl", []string{"/usr/share/perl5/Mail/AuthenticationResults"}},
		{Reader{Name: "mailauth", Read: script(mailauth, "node", dir)}, "npm install --prefix " + dir + " mailauth",
			[]string{filepath.Join(dir, "node_modules/mailauth")}},
	} {
		ok := true
		for _, file := range r.files {
			if _, err := os.Stat(file); err != nil {
				ok = false
			}
		}
		if ok {
			found = append(found, r.reader)
		} else {
			missing = append(missing, fmt.Errorf("%s is not installed (%s)", r.reader.Name, r.install))
		}
	}
	return found, errors.Join(missing...)
}

// script returns a function for Reader.Read. The function runs the script text with the given
// program. The script reads a JSON array of values from standard input and writes a JSON array of
// results.
func script(text, program string, args ...string) func(values []string) ([]Seen, error) {
	return func(values []string) ([]Seen, error) {
		in, _ := json.Marshal(values) // texts can always be written
		// Standard input is used for the values, so the script itself must be in a file.
		file, err := os.CreateTemp("", "sekimori-reader-*")
		if err != nil {
			return nil, err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if _, err := file.WriteString(text); err != nil {
			return nil, err
		}
		cmd := exec.Command(program, append([]string{file.Name()}, args...)...)
		var out, complaints bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaints
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", program, err, complaints.Bytes())
		}
		var answers []struct {
			Results [][2]string `json:"results"`
			SPF     string      `json:"spf"`
			Error   string      `json:"error"`
		}
		if err := json.Unmarshal(out.Bytes(), &answers); err != nil || len(answers) != len(values) {
			return nil, fmt.Errorf("%s: %d answers to %d fields: %w", program, len(answers), len(values), err)
		}
		seen := make([]Seen, len(answers))
		for i, a := range answers {
			seen[i] = Seen{SPF: a.SPF, Error: a.Error}
			for _, r := range a.Results {
				seen[i].Results = append(seen[i].Results, naive.Result{Method: r[0], Value: r[1]})
			}
		}
		return seen, nil
	}
}

// goMsgauth is the Read function for the parser of github.com/emersion/go-msgauth.
func goMsgauth(values []string) ([]Seen, error) {
	seen := make([]Seen, len(values))
	for i, value := range values {
		_, results, err := authres.Parse(value)
		if err != nil {
			seen[i].Error = err.Error()
		}
		for _, r := range results {
			switch r := r.(type) {
			case *authres.SPFResult:
				seen[i].add("spf", r.Value)
			case *authres.DKIMResult:
				seen[i].add("dkim", r.Value)
			case *authres.DMARCResult:
				seen[i].add("dmarc", r.Value)
			case *authres.IPRevResult:
				seen[i].add("iprev", r.Value)
			case *authres.ARCResult:
				seen[i].add("arc", r.Value)
			case *authres.GenericResult:
				seen[i].add(r.Method, r.Value)
			default:
				seen[i].add(fmt.Sprintf("%T", r), "")
			}
		}
	}
	return seen, nil
}

func (s *Seen) add(method string, value authres.ResultValue) {
	s.Results = append(s.Results, naive.Result{Method: method, Value: string(value)})
}

// Check gives the values to the readers. It returns a complaint for each reader and value where the
// results differ from those in "want".
func Check(found []Reader, values []string, want []naive.Field) (wrong []string) {
	for _, r := range found {
		seen, err := r.Read(values)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", r.Name, err))
			continue
		}
		for i, s := range seen {
			if r.ASCII && s.Error != "" && strings.ContainsFunc(values[i], func(c rune) bool { return c > '~' }) {
				continue
			}
			bimi := func(r naive.Result) bool { return r.Method == "bimi" }
			if r.NoBIMI && s.Error == "" && len(s.Results) == 0 && slices.ContainsFunc(want[i].Results, bimi) {
				continue
			}
			if s.Error != "" || !slices.Equal(s.Results, want[i].Results) {
				wrong = append(wrong, fmt.Sprintf("%s sees %v %s, want %v:\n%s", r.Name, s.Results, s.Error, want[i].Results, values[i]))
			}
			if len(want[i].Results) > 0 && s.SPF != "" && s.SPF != want[i].Results[0].Value {
				wrong = append(wrong, fmt.Sprintf("%s counts spf=%s, want %s:\n%s", r.Name, s.SPF, want[i].Results[0].Value, values[i]))
			}
		}
	}
	return wrong
}
