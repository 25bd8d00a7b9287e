package holdqueue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// patience is the longest time that a program of the MTA may run without any output.
	patience = 5 * time.Second
	// maxLine limits a line of a program's output, in octets. A line of postqueue -j has all recipients
	// of a message.
	maxLine = 16 << 20
	// maxComplaint limits how much of a program's standard error is kept, in octets.
	maxComplaint = 4 << 10
)

var errHangs = errors.New("no answer")

// program finds a program of the MTA. The directories of administrators are searched too, because they
// are not in the PATH of every user.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/lib"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("holdqueue: there is no program %s, neither in PATH nor in /usr/sbin: is Postfix or Sendmail installed here?", name)
}

// run runs a program of the MTA, without a shell, and calls each with every line of its output. If
// the program prints nothing for the time "patience", it is killed.
func run(ctx context.Context, each func(line []byte) error, name string, args ...string) error {
	path, err := program(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(patience, cancel)
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the name is a constant, and every id was checked
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second // if a child of the program keeps the output open
	complaint := &limited{}
	cmd.Stderr = complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("holdqueue: %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("holdqueue: %s: %w", name, err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for err == nil && lines.Scan() {
		silence.Reset(patience)
		err = each(lines.Bytes())
	}
	err = errors.Join(err, lines.Err())
	if err != nil {
		cancel()
	}
	ended := cmd.Wait()
	if !silence.Stop() {
		return fmt.Errorf("holdqueue: %s gives %w within %s; is the MTA running?", name, errHangs, patience)
	}
	switch {
	case err != nil:
		return fmt.Errorf("holdqueue: %s: %w", name, err)
	case ended != nil:
		return fmt.Errorf("holdqueue: %s: %w: %s", name, ended, complaint.text())
	}
	return nil
}

// ignore is the function for a program whose output is not needed.
func ignore([]byte) error { return nil }

// limited keeps the beginning of what is written to it.
type limited struct{ kept bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	l.kept.Write(p[:min(len(p), maxComplaint-l.kept.Len())])
	return len(p), nil
}

func (l *limited) text() string { return strings.Join(strings.Fields(l.kept.String()), " ") }
