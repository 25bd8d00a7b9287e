package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/mtaconf"
)

const (
	// answerTimeout is how long Apply waits until the daemon answers after a restart.
	answerTimeout = 20 * time.Second
	// answerPause is the pause between two questions.
	answerPause = 200 * time.Millisecond
)

// Apply writes a plan. It first keeps a copy of every file that it changes, and it stops before the
// MTA's files if the daemon does not answer. If a step fails, it puts everything back. With run false
// it only writes files, and the commands are left to the operator.
func (h Host) Apply(ctx context.Context, plan Plan, run bool, out io.Writer) error {
	if len(plan.Problems) > 0 {
		return errors.New("setup: the configuration is not understood, and nothing was changed")
	}
	if plan.Done() {
		return nil
	}
	if run && plan.Offline != "" {
		return fmt.Errorf("setup: %s; nothing was changed", plan.Offline)
	}
	if run && plan.Listens {
		if err := answers(ctx, plan.Endpoint); err != nil {
			return fmt.Errorf("%w; nothing was changed", err)
		}
	}
	r, err := h.keep(plan)
	if err != nil {
		return err
	}
	written := map[string]bool{}
	err = h.apply(ctx, plan, run, written, out)
	if err == nil {
		fmt.Fprintf(out, "The files as they were are in %s; \"sekimori setup %s --undo\" takes the changes back.\n", r.dir, plan.MTA)
		return nil
	}
	// The files must be put back even if ctx has ended.
	for i, s := range r.Stages {
		r.Stages[i].Files = slices.DeleteFunc(s.Files, func(k kept) bool { return !written[k.Path] })
	}
	back := h.revert(context.WithoutCancel(ctx), r, run, io.Discard)
	if back != nil {
		return fmt.Errorf("%w; taking the changes back failed as well: %w", err, back)
	}
	return fmt.Errorf("%w; every file is as it was before", err)
}

// apply writes both stages, and notes in written which files it wrote.
func (h Host) apply(ctx context.Context, plan Plan, run bool, written map[string]bool, out io.Writer) error {
	if err := h.write(ctx, plan.Daemon, run, written, out); err != nil {
		return err
	}
	if run {
		if err := answers(ctx, plan.Endpoint); err != nil {
			return err
		}
		if err := mayConnect(plan.Endpoint, plan.Group); err != nil {
			return err
		}
	}
	return h.write(ctx, plan.Mail, run && !plan.Mail.ByHand, written, out)
}

// write writes the files of a stage, and runs its commands if run is true.
func (h Host) write(ctx context.Context, s Stage, run bool, written map[string]bool, out io.Writer) error {
	for _, c := range s.Changes {
		if err := writeChange(c); err != nil {
			return err
		}
		written[c.Path] = true
		fmt.Fprintf(out, "wrote %s\n", c.Path)
	}
	for _, argv := range s.Runs {
		command := strings.Join(argv, " ")
		if !run {
			fmt.Fprintf(out, "run now: %s\n", command)
			continue
		}
		if err := h.run(ctx, argv); err != nil {
			return err
		}
		fmt.Fprintf(out, "ran %s\n", command)
	}
	return nil
}

// writeChange writes the new content of a file, unless the file is no longer the one that the plan
// was made for.
func writeChange(c Change) error {
	now, err := os.ReadFile(c.Path)
	switch {
	case c.Before == nil && err == nil:
		return fmt.Errorf("setup: %s was made by another program meanwhile", c.Path)
	case c.Before != nil && err != nil:
		return fmt.Errorf("setup: %w", err)
	case !bytes.Equal(now, c.Before):
		return fmt.Errorf("setup: %s was changed by another program meanwhile", c.Path)
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return config.ReplaceFile(c.Path, c.After)
}

// run runs a command that brings changes into effect. It has no timeout of its own: a restart waits
// for open SMTP sessions.
func (h Host) run(ctx context.Context, argv []string) error {
	name := argv[0]
	switch name {
	case "sekimori":
		name = h.Self
	case "postfix":
		program, err := mtaconf.Program(name)
		if err != nil {
			return err
		}
		name = program
	}
	out, err := exec.CommandContext(ctx, name, argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("setup: %s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// answers waits until the daemon answers at e. It does not wait for a milter that is not the daemon.
func answers(ctx context.Context, e Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		err := client.Ask(ctx, e.Network, e.Address)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, client.ErrAnother):
			return fmt.Errorf("setup: %s", taken(e))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("setup: the daemon does not answer at %s: %w; \"systemctl status sekimori\" or its log says why", e, err)
		case <-time.After(answerPause):
		}
	}
}

// taken says that another program has an address of the daemon.
func taken(e Endpoint) string {
	return fmt.Sprintf("at %s another program answers, not sekimori (OpenDKIM often has port 8891); "+
		"write another address into listen, such as inet:127.0.0.1:8893, and restart the daemon", e)
}

// mayConnect returns an error if processes of the group may not open the socket at e.
func mayConnect(e Endpoint, group string) error {
	if e.Network != "unix" || group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	info, err := os.Stat(e.Address)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if mode := info.Mode().Perm(); ok && !opens(mode, strconv.Itoa(int(st.Gid)) == g.Gid) {
		return fmt.Errorf("setup: group %s may not open %s (mode %o, group %d)", group, e.Address, mode, st.Gid)
	}
	return nil
}

// opens reports whether a process that does not own the socket may connect to it, which takes the
// right to write. If the process is in the socket's group, the rights of others do not count.
func opens(mode fs.FileMode, inGroup bool) bool {
	if inGroup {
		return mode&0o020 != 0
	}
	return mode&0o002 != 0
}
