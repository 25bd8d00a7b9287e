package holdqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/policy"
)

// fakes puts programs with these names and shell scripts first in the PATH. Each script writes its
// arguments into the file that calls returns.
func fakes(t *testing.T, scripts map[string]string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	for name, script := range scripts {
		text := "#!/bin/sh\necho " + name + " \"$@\" >>" + log + "\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		raw, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(raw)
	}
}

const (
	arrival = 1764400000 // of the messages in listing
	listing = `cat <<'END'
{"queue_name": "hold", "queue_id": "4dNewer0000001", "arrival_time": 1764400060, "message_size": 900, "sender": "b@shop.example", "recipients": [{"address": "r@here.example"}, {"address": "s@here.example"}]}
{"queue_name": "deferred", "queue_id": "4dDeferred0001", "arrival_time": 1764400000, "message_size": 1, "sender": "x@y", "recipients": []}
{"queue_name": "hold", "queue_id": "4dOurs00000001", "arrival_time": 1764400000, "message_size": 800, "forced_expire": false, "sender": "MAILER-DAEMON", "recipients": [{"address": "r@here.example", "delay_reason": "x"}]}
{"queue_name": "hold", "queue_id": "4dOther0000001", "arrival_time": 1764400001, "message_size": 700, "sender": "c@d", "recipients": [{"address": "r@here.example"}]}
{"queue_name": "hold", "queue_id": "-d", "arrival_time": 1764400001, "message_size": 700, "sender": "c@d", "recipients": []}
END`
	labels = `case "$*" in
*4dNewer0000001*) printf 'Received: x\nAuthentication-Results: other.example; dmarc=pass\nAuthentication-Results: mx.here.example;\n dmarc=fail (quarantine: dmarc_indirect, x) header.from=shop.example\nSubject: x\n' ;;
*) printf 'Received: x\nAuthentication-Results: other.example; dmarc=fail (quarantine: forged)\nSubject: (quarantine: forged)\n' ;;
esac`
)

// remembers is a daemon that remembers one message. It also remembers older messages with the same queue
// ids.
func remembers(_ context.Context, id string) ([]Decision, error) {
	if id == "4dOther0000001" {
		return []Decision{{Time: time.Unix(arrival-90000, 0), Held: true, Reason: policy.ReasonQuarantine}}, nil
	}
	if id != "4dOurs00000001" {
		return nil, nil
	}
	return []Decision{
		{Time: time.Unix(arrival+5, 0), Held: true, Reason: policy.ReasonQuarantine, ID: "7G3K0A2B", AuthorDomain: "bank.example"},
		{Time: time.Unix(arrival-90000, 0), Reason: policy.ReasonAligned},
	}, nil
}

func open(t *testing.T, o Options) *Queue {
	t.Helper()
	o.MTA, o.AuthservID = "postfix", "mx.here.example"
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may read and change the queue")
	}
}

// TestList checks that the list says for each message who put it on hold. This is known from the
// daemon's memory, from the label, or not at all.
func TestList(t *testing.T) {
	needRoot(t)
	fakes(t, map[string]string{"postqueue": listing, "postcat": labels})
	l, err := open(t, Options{Decisions: remembers}).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range l.Messages {
		got = append(got, strings.Join([]string{m.QueueID, string(m.HeldBy), string(m.Reason), m.ID, m.AuthorDomain, m.Sender, m.recipients()}, " "))
	}
	want := "4dOurs00000001 sekimori dmarc_quarantine 7G3K0A2B bank.example  r@here.example\n" +
		"4dOther0000001 other    c@d r@here.example\n" +
		"4dNewer0000001 sekimori dmarc_indirect   b@shop.example r@here.example and 1 more"
	if strings.Join(got, "\n") != want || l.Total != 3 {
		t.Errorf("%d messages:\n%s\nwant\n%s", l.Total, strings.Join(got, "\n"), want)
	}
	var text strings.Builder
	if err := l.Text(&text, time.Unix(arrival+7200, 0)); err != nil || !strings.Contains(text.String(), "1 entries whose queue id") ||
		!strings.Contains(text.String(), "4dOurs00000001  2h   800") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// TestWhatIsNotSeen checks that the list says what could not be looked at.
func TestWhatIsNotSeen(t *testing.T) {
	needRoot(t)
	fakes(t, map[string]string{"postqueue": listing, "postcat": "echo no such file >&2; exit 1"})
	gone := func(context.Context, string) ([]Decision, error) { return nil, errors.New("no daemon answers") }
	l, err := open(t, Options{Decisions: gone}).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(l.Unseen, "\n")
	for _, want := range []string{"no daemon answers", "the labels of 3 messages", "no such file"} {
		if !strings.Contains(all, want) {
			t.Errorf("lacks %q:\n%s", want, all)
		}
	}
	for _, m := range l.Messages {
		if m.HeldBy != Unknown {
			t.Errorf("%+v", m)
		}
	}
}

// TestChange checks which messages may be released and deleted, and by which commands.
func TestChange(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name  string
		ids   []string
		drop  bool
		force bool
		want  string // a part of the error, or the commands that change something
	}{
		{"remembered", []string{"4dOurs00000001"}, false, false, "postsuper -c /etc/x -H 4dOurs00000001 hold\npostqueue -c /etc/x -i 4dOurs00000001\n"},
		{"labelled, to drop", []string{"4dNewer0000001"}, true, false, "postsuper -c /etc/x -d 4dNewer0000001 hold\n"},
		{"somebody else's", []string{"4dOther0000001"}, false, false, "not held by sekimori: somebody else put it on hold"},
		{"somebody else's, by force", []string{"4dOther0000001"}, true, true, "postsuper -c /etc/x -d 4dOther0000001 hold\n"},
		{"one of two is refused", []string{"4dOurs00000001", "4dOther0000001"}, false, false, "nothing was changed"},
		{"not on hold", []string{"4dDeferred0001"}, false, true, "is not on hold"},
		{"an option", []string{"-d"}, true, true, "is not a queue id"},
		{"all", []string{"ALL"}, true, true, "is not a queue id"},
		{"a path", []string{"../../../etc/passwd"}, true, true, "is not a queue id"},
		{"two lines", []string{"4dOurs00000001\n4dOther0000001"}, true, true, "is not a queue id"},
		{"empty", []string{""}, true, true, "is not a queue id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := fakes(t, map[string]string{"postqueue": listing, "postcat": labels, "postsuper": ""})
			q := open(t, Options{Decisions: remembers, ConfigDir: "/etc/x"})
			act := q.Release
			if tt.drop {
				act = q.Drop
			}
			err := act(t.Context(), tt.ids, tt.force)
			var changes string
			for line := range strings.Lines(calls()) {
				if !strings.Contains(line, " -j") && !strings.HasPrefix(line, "postcat") {
					changes += line
				}
			}
			if err == nil && changes != tt.want || err != nil && (changes != "" || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, and these commands:\n%s", err, changes)
			}
			if strings.Contains(tt.want, "not a queue id") && calls() != "" {
				t.Errorf("a program was run: %s", calls())
			}
		})
	}
}

// TestHangs checks that a program without output is killed after the time "patience", even if one
// of its child processes keeps the output open.
func TestHangs(t *testing.T) {
	fakes(t, map[string]string{"postqueue": "sleep 100 & exec sleep 100"})
	begin := time.Now()
	_, err := open(t, Options{}).List(t.Context())
	if took := time.Since(begin); !errors.Is(err, errHangs) || took < patience || took > patience+10*time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

// TestPrograms checks the errors for programs that are missing, fail, or print something
// unexpected.
func TestPrograms(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"it fails", "echo 'postqueue: fatal: User nobody(65534) is not allowed to view the mail queue' >&2; exit 69", "is not allowed to view"},
		{"it is old", "echo 'Mail queue is empty'", "not the JSON of Postfix 3.1"},
		{"it says much", "yes {", "not the JSON"},
		{"it says a long line", "head -c 20000000 /dev/zero | tr '\\0' x", "token too long"},
		{"it complains much", "yes complaint | head -c 1000000 >&2; exit 1", "complaint complaint"},
	} {
		fakes(t, map[string]string{"postqueue": tt.script})
		if _, err := open(t, Options{}).List(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2*maxComplaint {
			t.Errorf("%s: %.300v", tt.name, err)
		}
	}
	if _, err := Open(Options{MTA: "exim"}); err == nil {
		t.Error("exim is taken")
	}
	if _, err := Open(Options{MTA: "sendmail", ConfigDir: "/etc/x"}); err == nil {
		t.Error("a configuration directory is taken for Sendmail")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := program("no-such-program"); err == nil || !strings.Contains(err.Error(), "is Postfix or Sendmail installed here?") {
		t.Error(err)
	}
}

// TestListIsBounded checks that messages beyond maxMessages are counted.
func TestListIsBounded(t *testing.T) {
	fakes(t, map[string]string{"postqueue": `awk 'BEGIN { for (i = 0; i < 10005; i++) printf "{\"queue_name\":\"hold\",\"queue_id\":\"A%08d\",\"arrival_time\":1}\n", i }'`,
		"postcat": "exit 1"})
	l, err := open(t, Options{}).List(t.Context())
	if err != nil || l.Total != 10_005 || len(l.Messages) != maxMessages {
		t.Fatalf("%v: %+v", err, l)
	}
	var text strings.Builder
	if err := l.Text(&text, time.Now()); err != nil || !strings.Contains(text.String(), "... and 5 more") {
		t.Error(err)
	}
}

// TestHeaderIsBounded checks that a label is not looked for behind a very long header, and that only the
// first recipients are listed.
func TestHeaderIsBounded(t *testing.T) {
	needRoot(t)
	const label = "Authentication-Results: mx.here.example; dmarc=fail (quarantine: ramp) header.from=x.example"
	fakes(t, map[string]string{
		"postqueue": `awk 'BEGIN { printf "{\"queue_name\":\"hold\",\"queue_id\":\"A00000001\",\"arrival_time\":1,\"recipients\":[{\"address\":\"a\"}"; ` +
			`for (i = 0; i < 99; i++) printf ",{\"address\":\"b\"}"; print "]}" }'`,
		"postcat": "yes 'X: 0123456789' | head -n 30000; echo '" + label + "'",
	})
	l, err := open(t, Options{}).List(t.Context())
	if err != nil || len(l.Messages) != 1 || l.Messages[0].HeldBy != Other {
		t.Fatalf("%v: %+v", err, l)
	}
	if m := l.Messages[0]; len(m.Recipients) != maxRecipients || m.RecipientCount != 100 {
		t.Errorf("%+v", m)
	}
}

// many is an MTA that holds many messages.
type many struct{ beyond, labels int }

func (m *many) held(_ context.Context, add func(Message)) error {
	for i := range maxLabels + m.beyond {
		add(Message{QueueID: fmt.Sprintf("A%08d", i)})
	}
	return nil
}

func (m *many) label(context.Context, *Message) (bool, policy.Reason, error) {
	m.labels++
	return true, policy.ReasonRamp, nil
}
func (*many) release(context.Context, string) error { return nil }
func (*many) drop(context.Context, string) error    { return nil }

// TestLabelsAreBounded checks that at most maxLabels labels are read, and that the list says so.
func TestLabelsAreBounded(t *testing.T) {
	for beyond, want := range map[int]string{0: "[]", 1: "[the labels of 1 messages: at most 1000 are read]", 5: "[the labels of 5 messages: at most 1000 are read]"} {
		m := &many{beyond: beyond}
		l, err := (&Queue{mta: m}).List(t.Context())
		if err != nil || m.labels != maxLabels || fmt.Sprint(l.Unseen) != want {
			t.Errorf("%v, %d labels, %q", err, m.labels, l.Unseen)
		}
	}
}

// one is an MTA that holds one message.
type one struct {
	ours bool
	err  error // of label, release and drop
}

func (*one) held(_ context.Context, add func(Message)) error {
	add(Message{QueueID: "A00000001"})
	return nil
}
func (o *one) label(context.Context, *Message) (bool, policy.Reason, error) { return o.ours, "", o.err }
func (o *one) release(context.Context, string) error                        { return o.err }
func (o *one) drop(context.Context, string) error                           { return o.err }

// TestRefused checks what is said of a message that is not released or deleted.
func TestRefused(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		mta   one
		force bool
		want  string // "" if it is changed
	}{
		{"ours", one{ours: true}, false, ""},
		{"another's", one{}, false, "somebody else put it on hold; nothing"},
		{"another's, by force", one{}, true, ""},
		{"nobody knows", one{err: broken}, false, "it is not known who put it on hold; could not look at the labels of 1 messages: broken; nothing"},
		{"it fails", one{err: broken}, true, "broken (message 1 of 1)"},
	} {
		q := &Queue{mta: &tt.mta}
		for _, act := range []func(context.Context, []string, bool) error{q.Release, q.Drop} {
			err := act(t.Context(), []string{"A00000001"}, tt.force)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
	if l, err := (&Queue{mta: &one{ours: true}}).List(t.Context()); err != nil || l.Total != 1 || len(l.Unseen) > 0 {
		t.Errorf("all is seen: %+v, %v", l, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := &many{}
	if _, err := (&Queue{mta: m}).List(ctx); !errors.Is(err, context.Canceled) || m.labels != 0 {
		t.Errorf("%v, %d labels", err, m.labels)
	}
}

// TestLabel checks in which field the label is looked for.
func TestLabel(t *testing.T) {
	const ours = "Authentication-Results: mx.here.example; dmarc=fail (quarantine: ramp) header.from=x.example\n"
	for header, want := range map[string]string{
		"": "false ", ours: "true ramp", "Subject: x\n": "false ", "Received: x\n" + ours: "true ramp",
		"Authentication-Results: mx.here.example; dmarc=pass\n" + ours:  "false ",
		"Authentication-Results: mx.other.example; dmarc=pass\n" + ours: "true ramp",
		strings.Replace(ours, "here", "other", 1):                       "false ",
		strings.Replace(ours, "Authentication", "X", 1):                 "false ",
	} {
		if is, reason := readLabel([]byte(header), "mx.here.example"); fmt.Sprint(is, " ", reason) != want {
			t.Errorf("%q: %v %s", header, is, reason)
		}
	}
}

// TestAge checks the units of an age.
func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "-", 0: "0m", time.Hour - 1: "59m", time.Hour: "1h", 48*time.Hour - 1: "47h", 48 * time.Hour: "2d", 72*time.Hour - 1: "2d"} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	l := &List{Total: 1, Messages: []Message{{QueueID: "A00000001", MTAReason: "by hand"}}}
	var text strings.Builder
	if err := l.Text(&text, time.Now()); err != nil || !strings.Contains(text.String(), "  by hand  ") {
		t.Errorf("%v, %s", err, &text)
	}
	out, in := io.Pipe()
	_ = out.Close()
	if err := l.Text(in, time.Now()); err == nil {
		t.Error("nobody reads, and there is no error")
	}
}

// TestMTA checks which MTA is looked at, and what Postfix's own sendmail says.
func TestMTA(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	want := "postfix"
	if _, err := program("postqueue"); err != nil {
		want = "sendmail"
	}
	if q, err := Open(Options{}); err != nil || q.name != want {
		t.Errorf("%+v, %v", q, err)
	}
	fakes(t, map[string]string{"postqueue": "", "postsuper": "exit 1", "sendmail": "echo 'sendmail: fatal: -qQ is not implemented' >&2; exit 1"})
	q, err := Open(Options{})
	if err != nil || q.name != "postfix" {
		t.Fatalf("%+v, %v", q, err)
	}
	if err := q.mta.release(t.Context(), "A00000001"); err == nil {
		t.Error("postsuper failed, and the message is released")
	}
	if q, err = Open(Options{MTA: "sendmail"}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.List(t.Context()); err == nil || !strings.Contains(err.Error(), "give --mta postfix") {
		t.Error(err)
	}
}

// TestMetrics checks the file for node_exporter.
func TestMetrics(t *testing.T) {
	now := time.Unix(arrival+100, 0)
	message := func(by HeldBy, reason policy.Reason, after int64) Message {
		return Message{HeldBy: by, Reason: reason, Arrived: time.Unix(arrival+after, 0)}
	}
	l := &List{Total: 6, Messages: []Message{message(Us, policy.ReasonQuarantine, 9), message(Us, policy.ReasonQuarantine, 5),
		message(Us, policy.ReasonIndirect, 7), message(Other, "", 3)}}
	dir := t.TempDir()
	path := filepath.Join(dir, "sekimori.prom")
	for range 2 { // the second time the file is replaced
		if err := WriteMetrics(path, l, now); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sekimori_hold_queue_messages{held_by="sekimori",reason="dmarc_quarantine"} 2`,
		`sekimori_hold_queue_messages{held_by="sekimori",reason="dmarc_indirect"} 1`,
		`sekimori_hold_queue_messages{held_by="other",reason=""} 1`,
		`sekimori_hold_queue_messages{held_by="unknown",reason=""} 2`,
		`sekimori_hold_queue_oldest_timestamp_seconds{held_by="sekimori"} 1764400005`,
		`sekimori_hold_queue_checked_timestamp_seconds 1764400100`,
	} {
		if !strings.Contains(string(raw), want+"\n") {
			t.Errorf("lacks %s:\n%s", want, raw)
		}
	}
	if empty := metrics(&List{}, now); strings.Contains(empty, "oldest_timestamp_seconds{") || !strings.Contains(empty, `{held_by="sekimori",reason=""} 0`) {
		t.Errorf("an empty queue: %s", empty)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	taken := filepath.Join(dir, "directory.prom")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "x.txt"), filepath.Join(dir, "none", "x.prom"), dir, taken} {
		if err := WriteMetrics(bad, l, now); err == nil {
			t.Errorf("%s is written", bad)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("%v", files)
	}
}

// TestMetricsAreBounded checks that only maxReasons reasons have a series.
func TestMetricsAreBounded(t *testing.T) {
	l := &List{Total: 1000}
	for i := range 1000 {
		l.Messages = append(l.Messages, Message{HeldBy: Us, Reason: policy.Reason(strings.Repeat("x", i))})
	}
	if n := strings.Count(metrics(l, time.Now()), "\n"); n > maxReasons+20 {
		t.Errorf("%d lines", n)
	}
}

const quarantineListing = "\t\t/var/spool/mqueue (2 requests)\n" +
	"-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n" +
	"5ATFVWxk012345      412 Sun Nov 29 15:31 <a@shop.example>\n" +
	"      QUARANTINE: dmarc_quarantine 7G3K0A2B\n" +
	"\t\t\t\t\t <r@here.example>\n" +
	"\t\t\t\t\t <s@here.example>\n" +
	"5ATFVWxk012346*       - Thu Dec 31 23:59 <>\n" +
	"      QUARANTINE: by hand\n" +
	"\t\t\t\t\t <r@here.example>\n" +
	"\t\tTotal requests: 2\n"

func readMailq(text string) (messages []Message, dirs map[string]string) {
	dirs = map[string]string{}
	q := mailq{now: time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC), add: func(m Message) { messages = append(messages, m) },
		located: func(id, dir string) { dirs[id] = dir }}
	for line := range strings.Lines(text) {
		q.line(strings.TrimSuffix(line, "\n"))
	}
	q.end()
	q.end() // there is no message any more
	return messages, dirs
}

func TestMailq(t *testing.T) {
	messages, dirs := readMailq(quarantineListing)
	if len(messages) != 2 {
		t.Fatalf("%+v", messages)
	}
	a, b := messages[0], messages[1]
	if a.Sender != "a@shop.example" || a.RecipientCount != 2 || a.Size != 412 || a.Arrived.Format(time.DateTime) != "2026-11-29 15:31:00" ||
		b.Sender != "" || b.MTAReason != "by hand" || b.Arrived.Year() != 2025 || dirs[b.QueueID] != "/var/spool/mqueue" {
		t.Errorf("%+v\n%+v\n%v", a, b, dirs)
	}
	s := &sendmail{}
	if ours, reason, err := s.label(t.Context(), &a); !ours || reason != policy.ReasonQuarantine || err != nil || a.ID != "7G3K0A2B" {
		t.Errorf("%t, %s, %v, %s", ours, reason, err, a.ID)
	}
	if ours, _, _ := s.label(t.Context(), &b); ours {
		t.Error("a message that somebody quarantined by hand is ours")
	}
	for n, want := range map[int]int{0: 0, maxRecipients: maxRecipients, maxRecipients + 1: maxRecipients} {
		text := "QUARANTINE: of nothing\n5ATFVWxk012345 412 Sun Nov 29 15:31 <a@b>\n" + strings.Repeat("\t\t\t <r@here.example>\n", n) + "\t\t\t not an address\n"
		if got, _ := readMailq(text); len(got) != 1 || len(got[0].Recipients) != want || got[0].RecipientCount != n || got[0].MTAReason != "" {
			t.Errorf("%d recipients: %+v", n, got)
		}
	}
	if empty, _ := readMailq("/var/spool/mqueue is empty\n\t\tTotal requests: 0\n"); len(empty) > 0 {
		t.Errorf("%+v", empty)
	}
}

// TestDropFiles checks which files of a Sendmail queue are deleted.
func TestDropFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("hf5ATFVWxk012345", "V8\nT1\nqdmarc_quarantine x\n")
	put("df5ATFVWxk012345", "body")
	put("hf5ATFVWxk012346", "V8\nT1\n")
	put("target", "V8\nqx\n")
	if err := os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "hf5ATFVWxk012347")); err != nil {
		t.Fatal(err)
	}
	s := &sendmail{dirs: map[string]string{}}
	for _, tt := range []struct{ id, want string }{
		{"5ATFVWxk012345", ""}, {"5ATFVWxk012346", "not the control file"}, {"5ATFVWxk012347", "too many levels"},
		{"5ATFVWxk012345", "there is no file"},
	} {
		s.dirs[tt.id] = dir
		if err := s.drop(t.Context(), tt.id); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.id, err)
		}
	}
	if err := s.drop(t.Context(), "5ATFVWxk099999"); err == nil {
		t.Error("a message without a directory is dropped")
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 {
		t.Errorf("%v", files)
	}
}

// lettered is an MTA that holds messages A00000001, A00000002 and so on. It fails at those whose numbers are given.
type lettered struct {
	total      int
	heldError  error
	labels     map[int]error // of label: nil says that it is ours
	change     map[int]error
	asked, did []string
}

func (m *lettered) held(_ context.Context, add func(Message)) error {
	for i := range m.total {
		add(Message{QueueID: fmt.Sprintf("A%08d", i+1), Arrived: time.Unix(arrival, 0)})
	}
	return m.heldError
}

func (m *lettered) label(_ context.Context, x *Message) (bool, policy.Reason, error) {
	m.asked = append(m.asked, x.QueueID[8:])
	n, _ := strconv.Atoi(x.QueueID[1:])
	err, ours := m.labels[n]
	return ours, policy.ReasonRamp, err
}

func (m *lettered) act(what, id string) error {
	m.did = append(m.did, what+id[8:])
	n, _ := strconv.Atoi(id[1:])
	return m.change[n]
}
func (m *lettered) release(_ context.Context, id string) error { return m.act("release ", id) }
func (m *lettered) drop(_ context.Context, id string) error    { return m.act("drop ", id) }

// TestRemembered checks which decision is about a message, and what is taken from it.
func TestRemembered(t *testing.T) {
	at := time.Unix(arrival, 0)
	held := func(after time.Duration) Decision {
		return Decision{Time: at.Add(after), Held: true, Reason: policy.ReasonQuarantine, ID: "7G3K0A2B", AuthorDomain: "a.example"}
	}
	passed := func(after time.Duration) Decision {
		return Decision{Time: at.Add(after), Reason: policy.ReasonAligned, ID: "7G3K0A2C", AuthorDomain: "b.example"}
	}
	const ours, others, label = "sekimori dmarc_quarantine 7G3K0A2B a.example", "other   b.example", "sekimori ramp  "
	for _, tt := range []struct {
		why       string
		decisions []Decision
		want      string
	}{
		{"held", []Decision{held(0)}, ours},
		{"not held: the label is not asked", []Decision{passed(0)}, others},
		{"nothing", nil, label},
		{"as early as may be", []Decision{held(-early)}, ours},
		{"too early", []Decision{held(-early - 1)}, label},
		{"as late as may be", []Decision{held(late)}, ours},
		{"too late", []Decision{held(late + 1)}, label},
		{"the newest first", []Decision{held(1), passed(0)}, ours},
		{"the newest first, which did not hold it", []Decision{passed(1), held(0)}, others},
		{"one too late, then one in time", []Decision{passed(late + 1), held(0)}, ours},
	} {
		m := &lettered{total: 1, labels: map[int]error{1: nil}}
		l, err := (&Queue{mta: m, o: Options{Decisions: func(_ context.Context, id string) ([]Decision, error) {
			if id != "A00000001" {
				t.Errorf("asked about %s", id)
			}
			return tt.decisions, nil
		}}}).List(t.Context())
		if err != nil || len(l.Messages) != 1 || len(l.Unseen) != 0 {
			t.Fatalf("%s: %+v, %v", tt.why, l, err)
		}
		x := l.Messages[0]
		if got := fmt.Sprint(x.HeldBy, " ", x.Reason, " ", x.ID, " ", x.AuthorDomain); got != tt.want || (len(m.asked) == 1) != (tt.want == label) {
			t.Errorf("%s: %q, want %q; labels asked %q", tt.why, got, tt.want, m.asked)
		}
	}
}

// TestFailures checks what is said when the daemon, a label or a change fails for one of several messages.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	asked := 0
	m := &lettered{total: 4, labels: map[int]error{1: nil, 3: broken}}
	q := &Queue{name: "x", mta: m, o: Options{Decisions: func(context.Context, string) ([]Decision, error) { asked++; return nil, broken }}}
	l, err := q.List(t.Context())
	if err != nil || asked != 1 || l.MTA != "x" || fmt.Sprint(l.Unseen) != "[what the running daemon remembers: broken the labels of 2 messages: broken]" ||
		fmt.Sprint(m.asked) != "[1 2 3]" || fmt.Sprint(l.Messages[0].HeldBy, l.Messages[1].HeldBy, l.Messages[2].HeldBy, l.Messages[3].HeldBy) != "sekimoriotherunknownunknown" {
		t.Errorf("%v, the daemon was asked %d times, labels %q: %+v", err, asked, m.asked, l)
	}
	if l, err := (&Queue{mta: &lettered{total: 1, heldError: broken}}).List(t.Context()); l != nil || !errors.Is(err, broken) {
		t.Errorf("a queue that cannot be listed: %+v, %v", l, err)
	}
	const first, second, third = "A00000001", "A00000002", "A00000003"
	all := map[int]error{1: nil, 2: nil, 3: nil}
	for _, tt := range []struct {
		why      string
		m        lettered
		ids      []string
		err, did string
		asked    string
	}{
		{"all", lettered{total: 3, labels: all}, []string{third, first}, "", "[drop 3 drop 1]", "[1 3]"},
		{"one is not on hold", lettered{total: 2, labels: all}, []string{first, third}, "holdqueue: A00000003 is not on hold; nothing was changed", "[]", "[1]"},
		{"one is somebody else's", lettered{total: 3, labels: map[int]error{1: nil}}, []string{first, second},
			"holdqueue: A00000002 is not held by sekimori: somebody else put it on hold; nothing was changed (--force does it nevertheless)", "[]", "[1 2]"},
		{"one cannot be read", lettered{total: 3, labels: map[int]error{1: nil, 2: broken}}, []string{first, second}, "holdqueue: A00000002 is not held by sekimori: " +
			"it is not known who put it on hold; could not look at the labels of 1 messages: broken; nothing was changed (--force does it nevertheless)", "[]", "[1 2]"},
		{"the second fails", lettered{total: 3, labels: all, change: map[int]error{2: broken}}, []string{first, second, third}, "broken (message 2 of 3)", "[drop 1 drop 2]", "[1 2 3]"},
		{"the queue cannot be listed", lettered{total: 3, labels: all, heldError: broken}, []string{first}, "broken", "[]", "[]"},
		{"one is no id", lettered{total: 3, labels: all}, []string{first, "A1"}, `holdqueue: "A1" is not a queue id, which has 6 to 32 letters and digits`, "[]", "[]"},
	} {
		got := ""
		if err := (&Queue{mta: &tt.m}).Drop(t.Context(), tt.ids, false); err != nil {
			got = err.Error()
		}
		if did, asked := fmt.Sprint(tt.m.did), fmt.Sprint(tt.m.asked); got != tt.err || did != tt.did || asked != tt.asked {
			t.Errorf("%s: %s; did %s, asked %s; want %s; %s, %s", tt.why, got, did, asked, tt.err, tt.did, tt.asked)
		}
	}
	released := &lettered{total: 1, labels: all}
	if err := (&Queue{mta: released}).Release(t.Context(), []string{first}, false); err != nil || fmt.Sprint(released.did) != "[release 1]" {
		t.Errorf("%v, %s", err, released.did)
	}
	for n, ok := range map[int]bool{5: false, 6: true, 32: true, 33: false} {
		if err := CheckID(strings.Repeat("a", n)); (err == nil) != ok {
			t.Errorf("an id of %d: %v", n, err)
		}
	}
}

// TestPostfixCommands checks how Postfix's programs are called, with and without a configuration directory.
func TestPostfixCommands(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct{ dir, c string }{{"", ""}, {"/etc/x", "-c /etc/x "}} {
		calls := fakes(t, map[string]string{
			"postqueue": listing, "postsuper": "", "postconf": "echo ' mx.here.example '", "postcat": labels,
		})
		q, err := Open(Options{MTA: "postfix", ConfigDir: tt.dir})
		if err != nil {
			t.Fatal(err)
		}
		if l, err := q.List(t.Context()); err != nil || len(l.Messages) != 3 || l.Messages[2].Reason != policy.ReasonIndirect || len(l.Unseen) != 1 {
			t.Errorf("%+v, %v", l, err)
		}
		if err := q.mta.release(t.Context(), "A00000001"); err != nil {
			t.Error(err)
		}
		if err := q.mta.drop(t.Context(), "A00000002"); err != nil {
			t.Error(err)
		}
		want := strings.ReplaceAll("postqueue C-j\npostconf C-h myhostname\npostcat C-h -q 4dOurs00000001\npostcat C-h -q 4dOther0000001\npostcat C-h -q 4dNewer0000001\n"+
			"postsuper C-H A00000001 hold\npostqueue C-i A00000001\npostsuper C-d A00000002 hold\n", "C-", tt.c+"-")
		if got := calls(); got != want {
			t.Errorf("%q: these commands:\n%s\nwant\n%s", tt.dir, got, want)
		}
	}
	fakes(t, map[string]string{"postconf": "exit 1", "postcat": "exit 1", "postsuper": "echo no >&2; exit 1", "postqueue": "exit 1"})
	p := &postfix{}
	if ours, reason, err := p.label(t.Context(), &Message{QueueID: "A00000001"}); ours || reason != "" || err == nil || !strings.Contains(err.Error(), "postconf: exit status 1") {
		t.Errorf("the name is not known: %v, %s, %v", ours, reason, err)
	}
	p.self = "mx.here.example"
	if ours, reason, err := p.label(t.Context(), &Message{QueueID: "A00000001"}); ours || reason != "" || err == nil || !strings.Contains(err.Error(), "postcat: exit status 1") {
		t.Errorf("the message cannot be read: %v, %s, %v", ours, reason, err)
	}
	for _, act := range []func(context.Context, string) error{p.release, p.drop} {
		if err := act(t.Context(), "A00000001"); err == nil || err.Error() != "holdqueue: postsuper: exit status 1: no" {
			t.Errorf("%v", err)
		}
	}
	fakes(t, map[string]string{"postsuper": "", "postqueue": "exit 1"})
	if err := p.release(t.Context(), "A00000001"); err != nil {
		t.Errorf("released, and postqueue -i fails: %v", err)
	}
}

// TestRoot checks what is said if another user wants to see or to change the queue.
func TestRoot(t *testing.T) {
	calls := fakes(t, map[string]string{"postsuper": "", "postqueue": listing, "postcat": labels, "sendmail": ""})
	user = func() int { return 1000 }
	t.Cleanup(func() { user = os.Geteuid })
	p, s := &postfix{self: "mx.here.example"}, &sendmail{}
	if ours, reason, err := p.label(t.Context(), &Message{QueueID: "4dNewer0000001"}); ours || reason != "" || !errors.Is(err, errRoot) {
		t.Errorf("%v, %s, %v", ours, reason, err)
	}
	for want, act := range map[string]func(context.Context, string) error{"holdqueue: postsuper: only root may do this": p.drop, "holdqueue: sendmail: only root may do this": s.release} {
		if err := act(t.Context(), "4dNewer0000001"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if calls() != "" {
		t.Errorf("these commands: %s", calls())
	}
}

// TestRun checks how programs are found and run, and what is said if they cannot be.
func TestRun(t *testing.T) {
	fakes(t, map[string]string{"postqueue": "echo \"$1 in $LC_ALL\"; head -c 100000 /dev/zero | tr '\\0' x"})
	var lines []string
	if err := run(t.Context(), func(line []byte) error { lines = append(lines, string(line)); return nil }, "postqueue", "-j"); err != nil ||
		len(lines) != 2 || lines[0] != "-j in C" || len(lines[1]) != 100_000 {
		t.Errorf("%v, %.100q", err, lines)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(filepath.Join(dir, "postqueue"), []byte("\x00"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), ignore, "postqueue"); err == nil || !strings.HasPrefix(err.Error(), "holdqueue: postqueue: ") || !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("a file that is no program: %v", err)
	}
	if err := run(t.Context(), ignore, "no-such-program"); err == nil || !strings.HasPrefix(err.Error(), "holdqueue: there is no program no-such-program") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"chroot", "useradd"} { // of Debian, not in the PATH of a user
		if _, err := os.Stat("/usr/sbin/" + name); err != nil {
			continue
		}
		if path, err := program(name); path != "/usr/sbin/"+name || err != nil {
			t.Errorf("%s, %v", path, err)
		}
	}
}

// TestEntry reads lines of postqueue -j.
func TestEntry(t *testing.T) {
	const hold = `{"queue_name":"hold","queue_id":"A00000001","arrival_time":1764400000,"message_size":7,`
	for line, want := range map[string]string{
		"":      "{ 0001-01-01 00:00:00 +0000 UTC 0  [] 0     } false <nil>",
		"  \t ": "{ 0001-01-01 00:00:00 +0000 UTC 0  [] 0     } false <nil>",
		`{"queue_name":"active","queue_id":"A00000001"}`:                            "{ 0001-01-01 00:00:00 +0000 UTC 0  [] 0     } false <nil>",
		hold + `"sender":"MAILER-DAEMON"}`:                                          "{A00000001 2025-11-29 07:06:40 +0000 UTC 7  [] 0     } true <nil>",
		hold + `"sender":"a@b","recipients":[{"address":"c@d"},{"address":"e@f"}]}`: "{A00000001 2025-11-29 07:06:40 +0000 UTC 7 a@b [c@d e@f] 2     } true <nil>",
		"x": "{ 0001-01-01 00:00:00 +0000 UTC 0  [] 0     } false its output is not the JSON of Postfix 3.1 and later: invalid character 'x' looking for beginning of value",
	} {
		m, held, err := parseEntry([]byte(line))
		if got := fmt.Sprint(m, held, err); got != want {
			t.Errorf("%q:\n%s, want\n%s", line, got, want)
		}
	}
}

// TestTable compares the text for people.
func TestTable(t *testing.T) {
	l := &List{
		Total: 7, Unseen: []string{"one\x1b", "two"},
		Messages: []Message{
			{QueueID: "A00000001", Arrived: time.Unix(arrival, 0), Size: 5, Sender: "a@b", Recipients: []string{"c@d"}, RecipientCount: 1, HeldBy: Us, Reason: policy.ReasonRamp, MTAReason: "x", AuthorDomain: "e.example"},
			{QueueID: "A00000002", Arrived: time.Unix(arrival+3600, 0), Size: 123456, Recipients: []string{"c@d", "\x1b"}, RecipientCount: 12, HeldBy: Other, MTAReason: "by \x1bhand"},
			{QueueID: "A00000003", Arrived: time.Unix(arrival+9999, 0), HeldBy: Unknown},
		},
	}
	const want = "queue id   age  octets  held by   reason         author domain  sender  recipients\n" +
		"A00000001  2h   5       sekimori  ramp           e.example      <a@b>   c@d\n" +
		"A00000002  1h   123456  other     \"by \\x1bhand\"  -              <>      c@d and 11 more\n" +
		"A00000003  -    0       unknown   -              -              <>      -\n" +
		"... and 4 more\nCould not look at \"one\\x1b\".\nCould not look at two.\n"
	var b strings.Builder
	if err := l.Text(&b, time.Unix(arrival+7200, 0)); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := (&List{}).Text(&b, time.Unix(arrival, 0)); err != nil || b.String() != "No message is on hold.\n" {
		t.Errorf("%v\n%s", err, b.String())
	}
	now := time.Unix(arrival+9999, 0)
	const file = `# HELP sekimori_hold_queue_messages Messages that the MTA holds, by who put them on hold and why.
# TYPE sekimori_hold_queue_messages gauge
sekimori_hold_queue_messages{held_by="other",reason=""} 1
sekimori_hold_queue_messages{held_by="sekimori",reason=""} 0
sekimori_hold_queue_messages{held_by="sekimori",reason="ramp"} 1
sekimori_hold_queue_messages{held_by="unknown",reason=""} 5
# HELP sekimori_hold_queue_oldest_timestamp_seconds When the oldest message on hold arrived.
# TYPE sekimori_hold_queue_oldest_timestamp_seconds gauge
sekimori_hold_queue_oldest_timestamp_seconds{held_by="sekimori"} 1764400000
sekimori_hold_queue_oldest_timestamp_seconds{held_by="other"} 1764403600
sekimori_hold_queue_oldest_timestamp_seconds{held_by="unknown"} 1764409999
# HELP sekimori_hold_queue_checked_timestamp_seconds When the hold queue was looked at.
# TYPE sekimori_hold_queue_checked_timestamp_seconds gauge
sekimori_hold_queue_checked_timestamp_seconds 1764409999
`
	if got := metrics(l, now); got != file {
		t.Errorf("metrics:\n%s", got)
	}
	b.Reset()
	if err := (&List{Total: 1}).Text(&b, now); err != nil || !strings.HasSuffix(b.String(), "\n... and 1 more\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
	crowd := &List{Total: maxReasons + 2, Messages: []Message{{HeldBy: Us, Reason: "r27"}}}
	for i := range maxReasons + 1 { // three groups are there already
		crowd.Messages = append(crowd.Messages, Message{HeldBy: Us, Reason: policy.Reason(fmt.Sprintf("r%02d", i))})
	}
	for line, want := range map[string]bool{`reason="r27"} 2`: true, `reason="r28"} 1`: false, `reason="other"} 3`: true} {
		if strings.Contains(metrics(crowd, now), line) != want {
			t.Errorf("%s: %v", line, !want)
		}
	}
}

// TestSendmailCommands checks how Sendmail is called, and what is read of its list.
func TestSendmailCommands(t *testing.T) {
	needRoot(t)
	calls := fakes(t, map[string]string{"sendmail": "case $1 in -bp) cat <<'END'\n" + quarantineListing + "END\n;; esac"})
	q, err := Open(Options{MTA: "sendmail"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := q.List(t.Context())
	if err != nil || l.MTA != "sendmail" || len(l.Messages) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, m := range l.Messages {
		if want := map[string]HeldBy{"5ATFVWxk012345": Us, "5ATFVWxk012346": Other}[m.QueueID]; m.HeldBy != want {
			t.Errorf("%+v", m)
		}
	}
	if err := q.Release(t.Context(), []string{"5ATFVWxk012345"}, false); err != nil {
		t.Error(err)
	}
	if got := calls(); got != "sendmail -bp -qQ\nsendmail -bp -qQ\nsendmail -qQ -qI5ATFVWxk012345 -Q\n" {
		t.Errorf("these commands:\n%s", got)
	}
	dir := t.TempDir()
	fakes(t, map[string]string{"sendmail": "cat <<'END'\n" + strings.ReplaceAll(quarantineListing, "/var/spool/mqueue", dir) + "END\n"})
	control := filepath.Join(dir, "hf5ATFVWxk012345")
	if err := os.WriteFile(control, []byte("V8\nqx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := q.Drop(t.Context(), []string{"5ATFVWxk012345"}, false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(control); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the message is still there: %v", err)
	}
	fakes(t, map[string]string{"sendmail": "cat <<'END'\n" + quarantineListing + "END\necho broken >&2; exit 1"})
	if l, err := q.List(t.Context()); l != nil || err == nil || err.Error() != "holdqueue: sendmail: exit status 1: broken" {
		t.Errorf("%+v, %v", l, err)
	}
	if err := q.mta.release(t.Context(), "5ATFVWxk012345"); err == nil {
		t.Error("sendmail failed, and the message is released")
	}
}

// TestMailqLines reads lists of Sendmail's queue in several forms.
func TestMailqLines(t *testing.T) {
	const one = "5ATFVWxk012345 412 Sun Nov 29 15:31 <a@b>\n"
	for text, want := range map[string]string{
		one: "5ATFVWxk012345 412 2026-11-29T15:31 a@b [] 0 '' in ''",
		"5ATFVWxk012345-*X?! - Mon Nov 30 15:31 a@b\n":                    "5ATFVWxk012345 0 2026-11-30T15:31 a@b [] 0 '' in ''",
		"5ATFVWxk012345 1 Tue Dec  1 15:31 <>\n":                          "5ATFVWxk012345 1 2025-12-01T15:31  [] 0 '' in ''",
		"5ATFVWxk012345 1 Mon Nov 30 16:00 <>\n":                          "5ATFVWxk012345 1 2026-11-30T16:00  [] 0 '' in ''",
		"5ATFVWxk012345 1 Mon Nov 30 16:01 <>\n":                          "5ATFVWxk012345 1 2025-11-30T16:01  [] 0 '' in ''",
		"5ATFVWxk012345 1 Xxx Yyy 30 16:01 <>\n":                          "5ATFVWxk012345 1 2026-11-29T16:00  [] 0 '' in ''",
		"\t\t/q/1 (1 request)\n" + one:                                    "5ATFVWxk012345 412 2026-11-29T15:31 a@b [] 0 '' in '/q/1'",
		"\t/q/1 (2 requests, only 1 printed)\n" + one:                     "5ATFVWxk012345 412 2026-11-29T15:31 a@b [] 0 '' in '/q/1'",
		"\t\tq (1 request)\n" + one:                                       "5ATFVWxk012345 412 2026-11-29T15:31 a@b [] 0 '' in ''",
		one + "\tQUARANTINE: x y\n\t\t\t<c@d>\n\n\t\t\t e@f\n\t\t<g@h>\n": "5ATFVWxk012345 412 2026-11-29T15:31 a@b [c@d] 1 'x y' in ''",
		"A0001 412 Sun Nov 29 15:31 <a@b>\n":                              "",
		"\t\t\t<c@d>\nQUARANTINE: x\n":                                    "",
	} {
		messages, dirs := readMailq(text)
		var got []string
		for _, m := range messages {
			got = append(got, fmt.Sprintf("%s %d %s %s %s %d '%s' in '%s'", m.QueueID, m.Size, m.Arrived.Format("2006-01-02T15:04"), m.Sender, m.Recipients, m.RecipientCount, m.MTAReason, dirs[m.QueueID]))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%q:\n%q, want\n%q", text, got, want)
		}
	}
	for reason, want := range map[string]string{
		"ramp 7G3K0A2B": "true ramp 7G3K0A2B", "ramp": "false  ", "ramp 7G3K0A2": "false  ", "ramp 7G3K0A2BB": "false  ", "Ramp 7G3K0A2B": "false  ", " ramp 7G3K0A2B": "false  ", "": "false  ",
	} {
		m := Message{MTAReason: reason}
		ours, why, err := (&sendmail{}).label(t.Context(), &m)
		if got := fmt.Sprint(ours, " ", why, " ", m.ID); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", reason, got, err, want)
		}
	}
}

// TestDropPlaces checks where the files of a Sendmail queue are looked for, and what is said if one cannot be removed.
func TestDropPlaces(t *testing.T) {
	const id = "5ATFVWxk012345"
	for _, tt := range []struct {
		why   string
		files []string // a directory if it ends with a slash, a file in it, or the control file
		left  string
		err   string // with DIR for the directory
	}{
		{"beside each other", []string{"hf" + id, "df" + id, "df5ATFVWxk012346"}, "df5ATFVWxk012346", ""},
		{"in directories", []string{"qf/hf" + id, "df/df" + id, "hf5ATFVWxk012346"}, "df hf5ATFVWxk012346 qf", ""},
		{"both places: the first", []string{"qf/hf" + id, "hf" + id}, "hf" + id + " qf", ""},
		{"no body", []string{"hf" + id}, "", ""},
		{"no control file", []string{"df" + id}, "df" + id, "holdqueue: there is no file hf" + id + " in DIR"},
		{"a quarantine that is not near the beginning", []string{"hf" + id + "+"}, "hf" + id, "holdqueue: DIR/hf" + id + " is not the control file of a quarantined message"},
		{"an empty control file", []string{"hf" + id + "="}, "hf" + id, "holdqueue: EOF"},
		{"a body that is a directory", []string{"hf" + id, "df" + id + "/x"}, "df" + id, "holdqueue: remove DIR/df" + id + ": directory not empty"},
	} {
		dir := t.TempDir()
		for _, name := range tt.files {
			name, empty := strings.CutSuffix(name, "=")
			text := "V8\nqx\n"
			if empty {
				text = ""
			}
			if long, ok := strings.CutSuffix(name, "+"); ok {
				name, text = long, strings.Repeat("x", 64<<10)+"\nqx\n"
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		if err := (&sendmail{dirs: map[string]string{id: dir}}).drop(t.Context(), id); err != nil {
			got = err.Error()
		}
		var left []string
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			left = append(left, e.Name())
		}
		if got != strings.ReplaceAll(tt.err, "DIR", dir) || strings.Join(left, " ") != tt.left {
			t.Errorf("%s: %q, left %q", tt.why, got, left)
		}
	}
	dir := t.TempDir()
	control := filepath.Join(dir, "hf"+id)
	if err := os.WriteFile(control, []byte("V8\nqx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(control)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH); err != nil { //nolint:gosec // a descriptor fits
		t.Fatal(err)
	}
	if err := (&sendmail{dirs: map[string]string{id: dir}}).drop(t.Context(), id); !errors.Is(err, syscall.EWOULDBLOCK) || !strings.Contains(err.Error(), control+" is in use by sendmail") {
		t.Errorf("a message that Sendmail works on: %v", err)
	}
	if _, err := os.Stat(control); err != nil {
		t.Error(err)
	}
	if err := (&sendmail{}).drop(t.Context(), id); err == nil || err.Error() != "holdqueue: sendmail does not say in which directory "+id+" is" {
		t.Error(err)
	}
}

// FuzzQueue checks that, whatever the MTA's programs print, no limit on messages and recipients is
// exceeded.
func FuzzQueue(f *testing.F) {
	f.Add([]byte(quarantineListing))
	f.Add([]byte(`{"queue_name":"hold","queue_id":"A","recipients":[{"address":"x"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, held, err := parseEntry(raw)
		if err == nil && held && (len(m.Recipients) > maxRecipients || m.RecipientCount < len(m.Recipients)) {
			t.Errorf("%+v", m)
		}
		messages, dirs := readMailq(string(raw))
		for _, m := range messages {
			if CheckID(m.QueueID) != nil || len(m.Recipients) > maxRecipients || strings.ContainsAny(dirs[m.QueueID], "\n") {
				t.Errorf("%+v", m)
			}
		}
		readLabel(raw, "mx.here.example")
	})
}
