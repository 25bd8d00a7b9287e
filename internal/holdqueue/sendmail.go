package holdqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/policy"
)

// sendmail is the queue of Sendmail. Sendmail calls a message on hold "quarantined".
type sendmail struct {
	dirs map[string]string // the queue directory of each message, by queue id
}

func (s *sendmail) held(ctx context.Context, add func(Message)) error {
	list := mailq{now: time.Now(), add: add}
	s.dirs = map[string]string{}
	list.located = func(id, dir string) { s.dirs[id] = dir }
	err := run(ctx, func(line []byte) error {
		list.line(string(line))
		return nil
	}, "sendmail", "-bp", "-qQ")
	list.end()
	if err != nil && strings.Contains(err.Error(), "-qQ is not implemented") { // by Postfix's program of that name
		return fmt.Errorf("%w; this is Postfix: give --mta postfix", err)
	}
	return err
}

// mailq reads the output of "sendmail -bp -qQ".
type mailq struct {
	now     time.Time
	add     func(Message)
	located func(id, dir string)
	dir     string
	m       *Message // the message whose lines are being read
}

var (
	// directoryLine is the line before the messages of a queue directory.
	directoryLine = regexp.MustCompile(`^\s+(/.*) \(\d+ requests?(?:, .*)?\)$`)
	// messageLine is the first line of a message: queue id, state, size, time, and sender.
	messageLine = regexp.MustCompile(`^([0-9A-Za-z]{6,32})[-*X?!]*\s+(\d+|-)\s+(\w{3} \w{3} [ \d]\d \d\d:\d\d)\s*(.*)$`)
)

func (q *mailq) line(line string) {
	if found := directoryLine.FindStringSubmatch(line); found != nil {
		q.dir = found[1]
		return
	}
	if found := messageLine.FindStringSubmatch(line); found != nil {
		q.end()
		size, _ := strconv.ParseInt(found[2], 10, 64) // "-" while Sendmail does not know the size
		q.m = &Message{QueueID: found[1], Size: size, Arrived: q.time(found[3]), Sender: address(found[4]), Recipients: []string{}}
		q.located(found[1], q.dir)
		return
	}
	text := strings.TrimSpace(line)
	switch reason, quarantine := strings.CutPrefix(text, "QUARANTINE: "); {
	case q.m == nil:
	case quarantine:
		q.m.MTAReason = reason
	case strings.HasPrefix(line, "\t\t\t") && strings.HasPrefix(text, "<"):
		if q.m.RecipientCount++; len(q.m.Recipients) < maxRecipients {
			q.m.Recipients = append(q.m.Recipients, address(text))
		}
	}
}

// end ends the message whose lines were read last.
func (q *mailq) end() {
	if q.m != nil {
		q.add(*q.m)
		q.m = nil
	}
}

// time returns the time of a message. Sendmail prints no year, so the latest year is taken for
// which the time is not in the future.
func (q *mailq) time(text string) time.Time {
	for _, year := range []int{q.now.Year(), q.now.Year() - 1} {
		t, err := time.ParseInLocation("2006 Mon Jan _2 15:04", fmt.Sprint(year, " ", text), q.now.Location())
		if err == nil && !t.After(q.now.Add(24*time.Hour)) {
			return t.UTC()
		}
	}
	return q.now.UTC()
}

// address removes the angle brackets of an address.
func address(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">")
}

// ourReason matches the reason that the daemon gives to Sendmail: a word, and the ID of the decision.
var ourReason = regexp.MustCompile(`^([a-z_]{1,40}) ([0-9A-Z]{8})$`)

// label reads the reason, which Sendmail has kept.
func (s *sendmail) label(_ context.Context, m *Message) (bool, policy.Reason, error) {
	found := ourReason.FindStringSubmatch(m.MTAReason)
	if found == nil {
		return false, "", nil
	}
	m.ID = found[2]
	return true, policy.Reason(found[1]), nil
}

// release ends the quarantine of a message. The next queue run delivers it. The option -qI
// selects every queue id that contains its argument. It gets the whole id, which no other id
// contains.
func (s *sendmail) release(ctx context.Context, id string) error {
	if user() != 0 {
		return fmt.Errorf("holdqueue: sendmail: %w", errRoot)
	}
	return run(ctx, ignore, "sendmail", "-qQ", "-qI"+id, "-Q")
}

// drop deletes the files of a quarantined message, because Sendmail has no command for that. The
// control file of a quarantined message is called hf... and its body df....
func (s *sendmail) drop(_ context.Context, id string) error {
	dir := s.dirs[id]
	if dir == "" {
		return fmt.Errorf("holdqueue: sendmail does not say in which directory %s is", id)
	}
	for _, sub := range []string{"qf", ""} { // a queue directory may have one directory for each kind of file
		control := filepath.Join(dir, sub, "hf"+id)
		err := removeControl(control)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("holdqueue: %w", err)
		}
		for _, body := range []string{filepath.Join(dir, "df", "df"+id), filepath.Join(dir, "df"+id)} {
			if err := os.Remove(body); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("holdqueue: %w", err)
			}
		}
		return nil
	}
	return fmt.Errorf("holdqueue: there is no file hf%s in %s", id, dir)
}

// removeControl removes a control file. Meanwhile it holds the lock that Sendmail takes to work
// on a message.
func removeControl(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		return fmt.Errorf("%s is in use by sendmail: %w", path, err)
	}
	head := make([]byte, 64<<10)
	n, err := file.Read(head)
	if err != nil {
		return err
	}
	if !bytes.Contains(head[:n], []byte("\nq")) {
		return fmt.Errorf("%s is not the control file of a quarantined message", path)
	}
	return os.Remove(path)
}
