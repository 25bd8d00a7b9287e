package mtaconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// Program returns the path of a program of the MTA. It is looked for in PATH and, because a user's
// PATH may lack them, in /usr/sbin and /usr/local/sbin.
func Program(name string) (string, error) {
	return program(name, fmt.Errorf("mtaconf: there is no program %s, neither in PATH nor in /usr/sbin; is its package installed?", name))
}

// Postconf returns the path of the program postconf.
func Postconf() (string, error) { return program("postconf", ErrNoPostfix) }

// program returns the path of a program, or the error "missing".
func program(name string, missing error) (string, error) {
	for _, file := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(file); err == nil {
			return found, nil
		}
	}
	return "", missing
}

// Runs reports whether the instance of Postfix with this queue directory runs: its master keeps its
// process id there. "postfix status" would say the same, but writes to the log, and takes seconds on a
// busy host.
func Runs(queue string) bool {
	text, _ := os.ReadFile(filepath.Join(queue, "pid", "master.pid")) // without the file, the text is not a number
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 1 {
		return false
	}
	if name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil {
		return strings.TrimSpace(string(name)) == "master"
	}
	return alive(pid) // the process is gone, or the system has no /proc as Linux has
}

// instance returns the arguments of a program of Postfix for the instance with this configuration
// directory.
func instance(dir string, args ...string) []string {
	if dir == "" {
		return args
	}
	return append([]string{"-c", dir}, args...)
}

// ReadPostfix asks postconf for the configuration in the directory dir; "" means the default
// directory. It gives up if postconf does not answer within five seconds.
func ReadPostfix(ctx context.Context, dir string) (*Postfix, error) {
	program, err := Postconf()
	if err != nil {
		return nil, err
	}
	var out [4]string
	var said strings.Builder
	for i, flag := range []string{"-x", "-n", "-M", "-Px"} {
		var complaints string
		if out[i], complaints, err = output(ctx, program, instance(dir, flag)...); err != nil {
			return nil, err
		}
		said.WriteString(complaints)
	}
	p := ParsePostfix(out[0], out[1], out[2], out[3])
	p.Dir, p.Warnings = dir, warnings(said.String())
	return p, nil
}

// output runs a program and returns what the program wrote. When ctx ends, the program is ended
// together with the programs that it started.
func output(ctx context.Context, program string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out, complaints limited
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	inGroup(cmd)
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("mtaconf: %s %s did not answer within %v: %w", program, strings.Join(args, " "), patience, ctx.Err())
	case err != nil:
		err = fmt.Errorf("mtaconf: %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(complaints.kept.String()))
	case out.kept.Len() >= maxOutput:
		err = fmt.Errorf("mtaconf: %s %s printed more than %d octets", program, strings.Join(args, " "), maxOutput)
	}
	return out.kept.String(), complaints.kept.String(), err
}

// limited keeps the first maxOutput octets that are written to it. The buffer is not embedded, because
// io.Copy would then call its ReadFrom, which has no limit.
type limited struct{ kept bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.kept.Write(b[:min(maxOutput-l.kept.Len(), len(b))])
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
