package holdqueue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/policy"
)

// postfix is the queue of a Postfix instance.
type postfix struct {
	dir  string // the configuration directory; "" means the default
	self string // the name in the daemon's label; "" until it is known
}

// args puts the configuration directory before the arguments of a program of Postfix.
func (p *postfix) args(args ...string) []string {
	if p.dir == "" {
		return args
	}
	return append([]string{"-c", p.dir}, args...)
}

// entry is a line of postqueue -j.
type entry struct {
	Queue      string `json:"queue_name"`
	ID         string `json:"queue_id"`
	Arrival    int64  `json:"arrival_time"`
	Size       int64  `json:"message_size"`
	Sender     string `json:"sender"`
	Recipients []struct {
		Address string `json:"address"`
	} `json:"recipients"`
}

func (p *postfix) held(ctx context.Context, add func(Message)) error {
	return run(ctx, func(line []byte) error {
		m, held, err := parseEntry(line)
		if held {
			add(m)
		}
		return err
	}, "postqueue", p.args("-j")...)
}

// parseEntry reads a line of postqueue -j. held is false if the message is not on hold.
func parseEntry(line []byte) (m Message, held bool, err error) {
	if len(bytes.TrimSpace(line)) == 0 {
		return m, false, nil
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return m, false, fmt.Errorf("its output is not the JSON of Postfix 3.1 and later: %w", err)
	}
	if e.Queue != "hold" {
		return m, false, nil
	}
	m = Message{QueueID: e.ID, Arrived: time.Unix(e.Arrival, 0).UTC(), Size: e.Size, Sender: e.Sender,
		Recipients: []string{}, RecipientCount: len(e.Recipients)}
	if m.Sender == "MAILER-DAEMON" {
		m.Sender = ""
	}
	for _, r := range e.Recipients[:min(len(e.Recipients), maxRecipients)] {
		m.Recipients = append(m.Recipients, r.Address)
	}
	return m, true, nil
}

// errRoot means that the command must be run by root.
var errRoot = errors.New("only root may do this")

// user returns the effective user id. Tests replace it.
var user = os.Geteuid

func (p *postfix) label(ctx context.Context, m *Message) (bool, policy.Reason, error) {
	if user() != 0 {
		return false, "", errRoot
	}
	if err := p.findName(ctx); err != nil {
		return false, "", err
	}
	var header bytes.Buffer
	err := run(ctx, func(line []byte) error {
		if header.Len()+len(line) < maxHeader {
			header.Write(line)
			header.WriteByte('\n')
		}
		return nil
	}, "postcat", p.args("-h", "-q", m.QueueID)...)
	if err != nil {
		return false, "", err
	}
	ours, reason := readLabel(header.Bytes(), p.self)
	return ours, reason, nil
}

// findName asks Postfix for its name if the configuration of the daemon has no authserv-id.
func (p *postfix) findName(ctx context.Context) error {
	if p.self != "" {
		return nil
	}
	return run(ctx, func(line []byte) error {
		p.self = strings.TrimSpace(string(line))
		return nil
	}, "postconf", p.args("-h", "myhostname")...)
}

// maxHeader limits how much of a message's header is kept to look for the label, in octets. The label
// is near the top.
const maxHeader = 256 << 10

// quarantined matches the comment that the daemon writes into the label of a message that it puts
// on hold.
var quarantined = regexp.MustCompile(`\(quarantine: ([a-z_]{1,40})`)

// readLabel reports whether the topmost Authentication-Results field in the name self says that the
// message was quarantined. The daemon deletes fields in this name that a sender wrote.
func readLabel(header []byte, self string) (ours bool, reason policy.Reason) {
	fields, _ := message.Parse(header)
	ids := authres.NewIDs(self)
	for _, f := range fields {
		if !strings.EqualFold(f.Name, authres.FieldName) || !ids.Claimed(f.Value) {
			continue
		}
		if found := quarantined.FindStringSubmatch(f.Value); found != nil {
			return true, policy.Reason(found[1])
		}
		return false, ""
	}
	return false, ""
}

// release takes a message off hold, and asks Postfix to deliver it now and not at the next queue run.
func (p *postfix) release(ctx context.Context, id string) error {
	if err := p.super(ctx, "-H", id); err != nil {
		return err
	}
	// The message is released now. If postqueue -i fails, the next queue run delivers the message.
	_ = run(ctx, ignore, "postqueue", p.args("-i", id)...)
	return nil
}

func (p *postfix) drop(ctx context.Context, id string) error { return p.super(ctx, "-d", id) }

// super runs postsuper for a message in the queue "hold". If the message left that queue meanwhile,
// nothing happens to it.
func (p *postfix) super(ctx context.Context, option, id string) error {
	if user() != 0 {
		return fmt.Errorf("holdqueue: postsuper: %w", errRoot)
	}
	return run(ctx, ignore, "postsuper", p.args(option, id, "hold")...)
}
