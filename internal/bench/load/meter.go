package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// used has the time and the resources that a measured phase took.
type used struct {
	time     time.Duration
	server   usage // cpu, calls and switches during the phase; memory at its end
	queries  int64
	measured bool // server has values
}

// meter measures one phase.
type meter struct {
	o       Options
	start   time.Time
	before  usage
	queries int64
	calls   *callCounter // nil unless Options.SystemCalls
}

func startMeter(ctx context.Context, o Options) (*meter, error) {
	m := &meter{o: o}
	var err error
	if o.SystemCalls {
		if m.calls, err = countCalls(ctx, o.PIDs); err != nil {
			return nil, err
		}
	}
	if m.before, err = sampleProcesses(o.PIDs); err != nil {
		return nil, errors.Join(err, m.calls.discard())
	}
	m.queries, m.start = m.asked(), time.Now()
	return m, nil
}

func (m *meter) asked() int64 {
	if m.o.Queries == nil {
		return 0
	}
	return m.o.Queries()
}

// stop returns what was used since the meter was started.
func (m *meter) stop() (used, error) {
	u := used{time: time.Since(m.start), queries: m.asked() - m.queries, measured: len(m.o.PIDs) > 0}
	var err error
	if u.server, err = sampleProcesses(m.o.PIDs); err != nil {
		return u, errors.Join(err, m.calls.discard())
	}
	u.server.cpu -= m.before.cpu
	if m.calls != nil {
		u.server.calls, u.server.switches, err = m.calls.stop()
	}
	return u, err
}

// callCounter counts the system calls and context switches of processes with the program perf.
type callCounter struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	command *os.File // commands to perf
	ack     *os.File // perf answers each command here
}

const (
	callEvent   = "raw_syscalls:sys_enter"
	switchEvent = "context-switches"
)

// countCalls starts perf, and returns once it counts.
func countCalls(ctx context.Context, pids []int) (*callCounter, error) {
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(descendants(pids)), " ", ","), "[]")
	c := &callCounter{}
	commands, command, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("load: perf: %w", err)
	}
	defer commands.Close()
	ack, acks, err := os.Pipe()
	if err != nil {
		_ = command.Close()
		return nil, fmt.Errorf("load: perf: %w", err)
	}
	defer acks.Close()
	c.command, c.ack = command, ack
	// The end of ctx does not kill perf, because perf prints only when it is interrupted.
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), "perf", "stat", "-x", ",", "-e", callEvent+","+switchEvent, "-p", list,
		"--delay", "-1", "--control", "fd:3,4")
	c.cmd.Stderr = &c.out
	c.cmd.ExtraFiles = []*os.File{commands, acks}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.close()
		return nil, fmt.Errorf("load: perf counts the system calls (apt-get install linux-perf): %w", err)
	}
	_ = acks.Close() // so that the next read ends if perf ends
	if err := c.tell("enable"); err != nil {
		_, _, stopErr := c.stop()
		return nil, errors.Join(err, stopErr)
	}
	return c, nil
}

func (c *callCounter) close() {
	_ = c.command.Close()
	_ = c.ack.Close()
}

// tell sends a command to perf and waits until perf has obeyed.
func (c *callCounter) tell(command string) error {
	if _, err := io.WriteString(c.command, command+"\n"); err != nil {
		return fmt.Errorf("load: perf: %s: %w", command, err)
	}
	if _, err := c.ack.Read(make([]byte, len("ack\n"))); err != nil {
		return fmt.Errorf("load: perf: %s: %w", command, err)
	}
	return nil
}

// stop ends perf and returns what it counted.
func (c *callCounter) stop() (calls, switches int64, err error) {
	defer c.close()
	told := c.tell("disable") // an error means that perf has ended, and then it printed why
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	_ = c.cmd.Wait() // not checked: perf ends by the signal
	for line := range strings.Lines(c.out.String()) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch fields[2] {
		case callEvent:
			calls = n
		case switchEvent:
			switches = n
		}
	}
	if calls == 0 {
		return 0, 0, errors.Join(fmt.Errorf("load: perf counted no system calls (it needs root): %s", strings.TrimSpace(c.out.String())), told)
	}
	return calls, switches, nil
}

// discard ends perf. c may be nil.
func (c *callCounter) discard() error {
	if c == nil {
		return nil
	}
	_, _, err := c.stop()
	return err
}
