// Package postfix runs a private instance of the Postfix that is installed on this host, beside the
// host's own instance. The instance ends with the process that started it.
package postfix

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// Daemons is the directory of Postfix's daemons (Debian).
	Daemons = "/usr/lib/postfix/sbin"
	// Master is the program that starts the others.
	Master = Daemons + "/master"
)

// LayOut makes the directories of the instance with the owners and modes that "postfix check" would
// set: etc for main.cf and master.cf, run, data, queue, and mail for the mailboxes. The caller must
// be root. LayOut does not run "postfix check", because that takes seconds.
func LayOut(dir, mail string) error { return layOut(dir, mail, "postfix", "nobody", "postdrop") }

func layOut(dir, mail, mailOwner, mailbox, group string) error {
	pfUID, _, err := owner(mailOwner)
	if err != nil {
		return err
	}
	nobodyUID, nobodyGID, err := owner(mailbox)
	if err != nil {
		return err
	}
	drop, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("postfix: %w", err)
	}
	dropGID, _ := strconv.Atoi(drop.Gid)
	queue := filepath.Join(dir, "queue")
	list := []directory{
		{dir, 0o755, 0, 0}, {filepath.Join(dir, "etc"), 0o755, 0, 0}, {filepath.Join(dir, "run"), 0o755, 0, 0},
		{filepath.Join(dir, "data"), 0o700, pfUID, 0}, {mail, 0o755, nobodyUID, nobodyGID},
		{queue, 0o755, 0, 0}, {filepath.Join(queue, "pid"), 0o755, 0, 0},
		{filepath.Join(queue, "public"), 0o710 | os.ModeSetgid, pfUID, dropGID},
		{filepath.Join(queue, "maildrop"), 0o730 | os.ModeSticky, pfUID, dropGID},
	}
	for _, name := range strings.Fields("active bounce corrupt defer deferred flush hold incoming private saved trace") {
		list = append(list, directory{filepath.Join(queue, name), 0o700, pfUID, 0})
	}
	for _, d := range list {
		if err := d.make(); err != nil {
			return fmt.Errorf("postfix: %w", err)
		}
	}
	return nil
}

// owner returns the ids of a user and the user's group.
func owner(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("postfix: %w", err)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, nil
}

type directory struct {
	path     string
	mode     os.FileMode
	uid, gid int
}

func (d directory) make() error {
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	return errors.Join(os.Chown(d.path, d.uid, d.gid), os.Chmod(d.path, d.mode)) // chown clears the bits of a mode
}

// Instance is a running instance.
type Instance struct {
	leash io.WriteCloser // the instance stops when this is closed or when this process ends
	cmd   *exec.Cmd
}

// LeashScript runs a command in a new session, and ends it with SIGTERM when the script's standard
// input ends, or when a signal asks the script itself to end. (An interrupt goes to all processes of
// the terminal.) A parent-death signal would not work: the kernel clears it when Postfix's master
// changes its credentials.
const LeashScript = `trap 'end=1; kill -TERM $pid $input 2>/dev/null' HUP INT TERM
exec 3<&0; setsid "$@" 3<&- </dev/null & pid=$!
cat <&3 >/dev/null & input=$!; [ "$end" ] || wait $input
kill -TERM $pid $input 2>/dev/null; wait $pid`

// Start starts the instance whose configuration is in the directory etc.
func Start(etc string) (*Instance, error) {
	i := &Instance{cmd: exec.Command("sh", "-c", LeashScript, "leash", Master, "-c", etc, "-s")}
	var err error
	if i.leash, err = i.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("postfix: %w", err)
	}
	if err := i.cmd.Start(); err != nil {
		return nil, fmt.Errorf("postfix: %w", err)
	}
	return i, nil
}

// Stop stops the instance and waits until it has ended.
func (i *Instance) Stop() {
	_ = i.leash.Close()
	_ = i.cmd.Wait()
}
