package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"sekimori/internal/dns"
)

const (
	// snapshotVersion is the version of the file's format.
	snapshotVersion = 1
	// maxAnswers bounds the answers of a snapshot that are held in memory: ten
	// for each of 100,000 messages, some 300 MB. Further answers are used but not
	// kept.
	maxAnswers = 1_000_000
	// maxSnapshotLine bounds a line of the file, in octets. An answer has at most
	// 64 KiB on the wire.
	maxSnapshotLine = 1 << 20
	// askTimeout bounds a question, also when the message that asked it no longer
	// waits. It is enough for three servers that are each asked twice, for
	// dns.timeout each time.
	askTimeout = 15 * time.Second
	// syncInterval is the time between two syncs of the file to the disk. A crash
	// loses the answers since the last one.
	syncInterval = time.Second
)

// Snapshot is a file of DNS answers, and a resolver that answers from the file.
// What the file does not have, it asks for and appends. The file has a header
// and then an answer in each line, all of them JSON. Temporary failures are kept
// as answers, so that a second run gives the same result; RetryFailures asks for
// them again. An incomplete last line, which an interrupted run leaves, is
// dropped.
type Snapshot struct {
	next   dns.Resolver
	base   context.Context // the context of every question
	end    context.CancelFunc
	asking sync.WaitGroup

	mu      sync.Mutex
	known   map[question]*snapshotLine
	calls   map[question]*call // questions under way
	file    *os.File
	synced  time.Time
	use     Use
	failure error // why a write failed; further answers are not kept
}

// Use is how much DNS a run needed.
type Use struct {
	// FromSnapshot counts the questions that the snapshot answered.
	FromSnapshot int64 `json:"from_snapshot"`
	// Asked counts the questions that went to the network.
	Asked int64 `json:"asked"`
	// Kept counts the answers appended to the snapshot.
	Kept int64 `json:"kept"`
	// Failures counts the failures, those from the snapshot included.
	Failures int64 `json:"failures"`
}

type question struct {
	name dns.Name
	typ  dns.Type
}

// snapshotHeader is the first line of the file.
type snapshotHeader struct {
	Version int       `json:"sekimori_dns_snapshot"`
	Created time.Time `json:"created"`
}

// snapshotLine is an answer or a failure.
type snapshotLine struct {
	Name      octets           `json:"name"`
	Type      dns.Type         `json:"type"`
	Status    dns.Status       `json:"status,omitzero"`
	Canonical octets           `json:"canonical,omitzero"`
	Records   []snapshotRecord `json:"records,omitempty"`
	TTL       int64            `json:"ttl,omitempty"` // in seconds, when the answer came
	AD        bool             `json:"ad,omitempty"`
	Error     string           `json:"error,omitempty"` // a dns.ErrorKind
}

type snapshotRecord struct {
	Addr       string `json:"addr,omitempty"`
	Host       octets `json:"host,omitzero"`
	Preference uint16 `json:"preference,omitempty"`
	Text       octets `json:"text,omitzero"`
}

// octets is any text in JSON: a string, or {"base64": "..."} if the text is not
// UTF-8.
type octets string

// MarshalJSON implements json.Marshaler.
func (o octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(map[string][]byte{"base64": []byte(o)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *octets) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte("{")) {
		var encoded struct {
			Base64 []byte `json:"base64"`
		}
		err := json.Unmarshal(raw, &encoded)
		*o = octets(encoded.Base64)
		return err
	}
	return json.Unmarshal(raw, (*string)(o))
}

// OpenSnapshot opens or creates the file at path. The Snapshot asks next for what
// the file does not have. Only one process at a time can have the file open.
func OpenSnapshot(path string, next dns.Resolver) (*Snapshot, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("replay: DNS snapshot: %w", err)
	}
	s := &Snapshot{next: next, file: file, known: map[question]*snapshotLine{}, calls: map[question]*call{}, synced: time.Now()}
	s.base, s.end = context.WithCancel(context.Background())
	if err := s.load(); err != nil {
		s.end()
		file.Close()
		return nil, fmt.Errorf("replay: DNS snapshot %s: %w", path, err)
	}
	return s, nil
}

// load reads the file and leaves it at the end of its last whole line.
func (s *Snapshot) load() error {
	if err := syscall.Flock(int(s.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		return fmt.Errorf("another run has it open: %w", err)
	}
	in := bufio.NewReaderSize(s.file, maxSnapshotLine)
	good := int64(0)
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // the rest is a line that an interrupted run left incomplete
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := s.read(line, number); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		good += int64(len(line))
	}
	if good == 0 {
		header, err := json.Marshal(snapshotHeader{Version: snapshotVersion, Created: time.Now().UTC()})
		if err != nil {
			return err
		}
		if err := s.startNew(append(header, '\n')); err != nil {
			return err
		}
		return nil
	}
	if err := s.file.Truncate(good); err != nil {
		return err
	}
	_, err := s.file.Seek(good, io.SeekStart)
	return err
}

// startNew writes the header. It refuses a file that holds anything but the
// beginning of a header.
func (s *Snapshot) startNew(header []byte) error {
	had := make([]byte, 256)
	n, err := s.file.ReadAt(had, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.HasPrefix(header, had[:n]) && !bytes.HasPrefix(had[:n], []byte(`{"sekimori_dns_snapshot":`)) {
		return errNotSnapshot
	}
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(header, 0); err != nil {
		return err
	}
	_, err = s.file.Seek(0, io.SeekEnd)
	return err
}

var errNotSnapshot = errors.New("the file is not a DNS snapshot; it is left as it is")

func (s *Snapshot) read(line []byte, number int) error {
	if number == 1 {
		var h snapshotHeader
		if err := json.Unmarshal(line, &h); err != nil || h.Version == 0 {
			return errNotSnapshot
		}
		if h.Version != snapshotVersion {
			return fmt.Errorf("version %d; this program knows version %d", h.Version, snapshotVersion)
		}
		return nil
	}
	var l snapshotLine
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if _, err := l.answer(); err != nil && l.Error == "" {
		return err
	}
	if len(s.known) < maxAnswers {
		s.known[question{dns.Name(l.Name), l.Type}] = &l // the last one counts
	}
	return nil
}

// RetryFailures forgets the failures that the snapshot holds, so that this run
// asks those questions again. The new answers are appended and count from then
// on.
func (s *Snapshot) RetryFailures() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(_ question, l *snapshotLine) bool { return l.Error != "" })
}

// call is a question under way.
type call struct {
	done   chan struct{}
	answer dns.Answer
	err    error
}

// Lookup implements dns.Resolver. If the message that asked a question gives up,
// the question goes on, so that the next run has its answer.
func (s *Snapshot) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	q := question{name, typ}
	s.mu.Lock()
	if l := s.known[q]; l != nil {
		s.use.FromSnapshot++
		if l.Error != "" {
			s.use.Failures++
		}
		s.mu.Unlock()
		return l.answer()
	}
	c := s.calls[q]
	if c == nil {
		c = &call{done: make(chan struct{})}
		s.calls[q] = c
		s.asking.Go(func() { s.ask(q, c) })
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return dns.Answer{}, dns.OutOfTime(s, ctx.Err(), name, typ)
	}
}

// Peek implements [dns.Resolver]. It returns an answer that the snapshot holds; a
// failure that the snapshot holds is left to Lookup.
func (s *Snapshot) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.known[question{name, typ}]
	if l == nil || l.Error != "" {
		return dns.Answer{}, false
	}
	answer, err := l.answer()
	if err != nil {
		return dns.Answer{}, false
	}
	s.use.FromSnapshot++
	return answer, true
}

// Expect implements [dns.Resolver]. It asks nothing ahead, because the answer
// would not be kept.
func (s *Snapshot) Expect(context.Context, dns.Name, dns.Type) bool { return false }

// Queued implements [dns.Resolver].
func (s *Snapshot) Queued() bool { return s.next.Queued() }

// ask sends a question to the network and keeps the answer.
func (s *Snapshot) ask(q question, c *call) {
	ctx, cancel := context.WithTimeout(s.base, askTimeout)
	defer cancel()
	defer close(c.done)
	c.answer, c.err = s.next.Lookup(ctx, q.name, q.typ)
	ended := s.base.Err() != nil
	l := newSnapshotLine(q, c.answer, c.err)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, q)
	s.use.Asked++
	if c.err != nil {
		s.use.Failures++
	}
	if l != nil && (c.err == nil || !ended) {
		s.keep(q, l)
	}
}

// keep keeps an answer in memory and in the file. The caller holds the lock, so
// that lines are not mixed.
func (s *Snapshot) keep(q question, l *snapshotLine) {
	if s.failure != nil || len(s.known) >= maxAnswers {
		return
	}
	raw, err := json.Marshal(l)
	if err != nil || len(raw) >= maxSnapshotLine {
		return
	}
	s.known[q] = l
	s.use.Kept++
	if _, err := s.file.Write(append(raw, '\n')); err != nil {
		s.failure = err
		return
	}
	if now := time.Now(); now.Sub(s.synced) >= syncInterval {
		s.synced, s.failure = now, s.file.Sync()
	}
}

func newSnapshotLine(q question, answer dns.Answer, err error) *snapshotLine {
	l := &snapshotLine{Name: octets(q.name), Type: q.typ}
	if err != nil {
		var failed *dns.Error
		if !errors.As(err, &failed) || failed.AskerGaveUp() {
			return nil
		}
		l.Error = failed.Kind.String()
		return l
	}
	l.Status, l.Canonical, l.TTL, l.AD = answer.Status, octets(answer.Canonical), int64(answer.TTL/time.Second), answer.Authenticated
	for _, r := range answer.Records {
		kept := snapshotRecord{Host: octets(r.Host), Preference: r.Preference, Text: octets(r.Text)}
		if r.Addr.IsValid() {
			kept.Addr = r.Addr.String()
		}
		l.Records = append(l.Records, kept)
	}
	return l
}

// Close waits for the questions under way, syncs the file and returns how much
// DNS the run needed. If the run was interrupted, Close gives up the questions
// instead. An error says why the snapshot is not complete.
func (s *Snapshot) Close(interrupted bool) (Use, error) {
	if interrupted {
		s.end()
	}
	s.asking.Wait()
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.Join(s.failure, s.file.Sync(), s.file.Close())
	if err != nil {
		err = fmt.Errorf("replay: DNS snapshot is not complete: %w", err)
	}
	return s.use, err
}
