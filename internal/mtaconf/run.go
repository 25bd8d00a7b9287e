package mtaconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	// patience is how long ReadPostfix waits for postconf. A healthy postconf takes less than a
	// tenth of a second, but it hangs, for example, if a name in main.cf is in a database that does
	// not answer.
	patience = 5 * time.Second
	// maxOutput is the largest part of the output of postconf that is kept, in octets. Postfix 3.7
	// prints 60 kB.
	maxOutput = 4 << 20
	// maxFile bounds the size of a sendmail.cf. Sendmail's m4 macros make one of 65 kB.
	maxFile = 4 << 20
)

// ErrNoPostfix says that this host has no program postconf.
var ErrNoPostfix = errors.New("mtaconf: there is no program postconf, so Postfix is not installed or not in PATH")

// Postconf returns the path of the program postconf. It is looked for in PATH and, because a user's
// PATH may lack it, in /usr/sbin.
func Postconf() (string, error) {
	for _, name := range []string{"postconf", "/usr/sbin/postconf", "/usr/local/sbin/postconf"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", ErrNoPostfix
}

// ReadPostfix asks postconf for the configuration in the directory dir; "" means the default
// directory. It gives up after five seconds.
func ReadPostfix(ctx context.Context, dir string) (*Postfix, error) {
	program, err := Postconf()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out [4]string
	var said strings.Builder
	for i, flag := range []string{"-x", "-n", "-M", "-Px"} {
		args := []string{flag}
		if dir != "" {
			args = []string{"-c", dir, flag}
		}
		var complaints string
		if out[i], complaints, err = output(ctx, program, args...); err != nil {
			return nil, err
		}
		said.WriteString(complaints)
	}
	p := ParsePostfix(out[0], out[1], out[2], out[3])
	p.Dir, p.Warnings = dir, warnings(said.String())
	return p, nil
}

// output runs a program and returns what the program wrote. If the program ends and leaves a child
// that holds the pipes open, output closes the pipes after WaitDelay.
func output(ctx context.Context, program string, args ...string) (stdout, stderr string, err error) {
	var out, complaints limited
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = 100 * time.Millisecond
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("mtaconf: %s %s did not answer within %v: %w", program, strings.Join(args, " "), patience, ctx.Err())
	case err != nil:
		err = fmt.Errorf("mtaconf: %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), complaints.String(), err
}

// limited keeps the first maxOutput octets that are written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// warnings returns the warnings of postconf without the words "postconf: warning:". Each is
// returned once.
func warnings(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimPrefix(strings.TrimSpace(line), "postconf: warning: "); line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// ReadSendmail reads a sendmail.cf.
func ReadSendmail(file string) (*Sendmail, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("mtaconf: %s is not a sendmail.cf: it must be a file of at most %d octets", file, maxFile)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := ParseSendmail(string(text))
	s.File = file
	return s, nil
}
