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
	"sync/atomic"
	"syscall"
	"time"

	"sekimori/internal/dns"
)

const (
	// snapshotVersion is the version of the file format.
	snapshotVersion = 1
	// maxAnswers limits how many answers of a snapshot are kept in memory. It is enough for ten
	// answers for each of 100,000 messages, which take about 300 MB. Further answers are used, but
	// not kept.
	maxAnswers = 1_000_000
	// maxSnapshotLine limits the length of a line of the file, in octets. An answer has at most 64
	// KiB as a DNS message.
	maxSnapshotLine = 1 << 20
	// askTimeout limits the time of a question. A question goes on even if the message that asked
	// it no longer waits. The time is enough to ask three servers twice each, with dns.timeout for
	// each try.
	askTimeout = 15 * time.Second
	// syncInterval is the time between two syncs of the file to disk. A crash of the system loses
	// the answers after the last sync.
	syncInterval = time.Second
)

// errClosed says that a question came after Close.
var errClosed = errors.New("replay: DNS snapshot is closed")

// Snapshot is a file of DNS answers, and a resolver that answers from the file. If the file does
// not have an answer, the Snapshot asks another resolver and appends the answer to the file. All
// lines of the file are JSON: the first is a header, and each of the others is an answer. Temporary
// failures are stored like answers, so a second run gives the same result. After RetryFailures, the
// questions that failed are asked again. An interrupted run may leave an incomplete line at the
// end. The next run removes it.
type Snapshot struct {
	next   dns.Resolver
	base   context.Context // the context with which every question is asked
	end    context.CancelFunc
	asking sync.WaitGroup

	// fromKnown and failedKnown count how often a result in the map known was used, and how often
	// it was a failure. Close adds them to Use.FromSnapshot and Use.Failures. They are atomic
	// because they are counted under the read lock.
	fromKnown, failedKnown atomic.Int64

	mu      sync.RWMutex // every message reads many answers, and few are added
	known   map[question]*result
	calls   map[question]*call // the questions that are not answered yet
	closed  bool               // Close was called; nothing is asked any more
	file    *os.File
	synced  time.Time
	use     Use
	failure error // why the file could not be written; after that, no answer is kept
}

// result is what a lookup returns. It does not change.
type result struct {
	answer dns.Answer
	err    error
}

// Use says how many DNS questions a run had.
type Use struct {
	// FromSnapshot counts the questions that the snapshot answered.
	FromSnapshot int64 `json:"from_snapshot"`
	// Asked counts the questions that were sent to the network.
	Asked int64 `json:"asked"`
	// Kept counts the answers appended to the snapshot.
	Kept int64 `json:"kept"`
	// Failures counts the questions that failed, also if the failure was in the snapshot.
	Failures int64 `json:"failures"`
}

type question struct {
	name dns.Name
	typ  dns.Type
}

// OpenSnapshot opens the file at path, or creates it. The Snapshot asks the resolver next for
// answers that are not in the file. Only one process at a time can have the file open.
func OpenSnapshot(path string, next dns.Resolver) (*Snapshot, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("replay: DNS snapshot: %w", err)
	}
	s := &Snapshot{next: next, file: file, known: map[question]*result{}, calls: map[question]*call{}, synced: time.Now()}
	s.base, s.end = context.WithCancel(context.Background())
	if err := s.load(); err != nil {
		s.end()
		file.Close()
		return nil, fmt.Errorf("replay: DNS snapshot %s: %w", path, err)
	}
	return s, nil
}

// load reads the file. New lines will be written after its last complete line.
func (s *Snapshot) load() error {
	if err := syscall.Flock(int(s.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		return fmt.Errorf("another run has it open: %w", err)
	}
	in := bufio.NewReaderSize(s.file, maxSnapshotLine)
	good := int64(0)
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // the text after the last line end was left incomplete by an interrupted run
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
		return s.startNew(append(header, '\n'))
	}
	if err := s.file.Truncate(good); err != nil {
		return err
	}
	_, err := s.file.Seek(good, io.SeekStart)
	return err
}

// startNew writes the header. It refuses a file that already has other text than the beginning of a
// header.
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
	answer, err := l.answer()
	if err != nil && l.Error == "" {
		return err
	}
	if len(s.known) < maxAnswers {
		s.known[question{dns.Name(l.Name), l.Type}] = &result{answer, err} // if the file has several answers to a question, the last one counts
	}
	return nil
}

// RetryFailures forgets the failures in the snapshot, so this run asks those questions again. The
// new answers are appended to the file and replace the failures.
func (s *Snapshot) RetryFailures() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(_ question, r *result) bool { return r.err != nil })
}

// recall returns what the snapshot has about a question, or nil.
func (s *Snapshot) recall(q question) *result {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[q]
}

// used counts the use of a result and returns its parts.
func (s *Snapshot) used(r *result) (dns.Answer, error) {
	s.fromKnown.Add(1)
	if r.err != nil {
		s.failedKnown.Add(1)
	}
	return r.answer, r.err
}

// call is a question that is not answered yet.
type call struct {
	done   chan struct{}
	answer dns.Answer
	err    error
}

// Lookup implements dns.Resolver. If the message that asked a question gives up, the question
// continues, so that the next run has the answer.
func (s *Snapshot) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	q := question{name, typ}
	if r := s.recall(q); r != nil {
		return s.used(r)
	}
	s.mu.Lock()
	if r := s.known[q]; r != nil { // the answer came since recall
		s.mu.Unlock()
		return s.used(r)
	}
	c := s.calls[q]
	if c == nil && s.closed {
		// A check that looks ahead may still ask a question after its message has ended.
		s.mu.Unlock()
		return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ, Err: errClosed}
	}
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

// Peek implements [dns.Resolver]. It returns an answer that the snapshot has. If the snapshot has a
// failure, Peek reports false, and Lookup returns the failure.
func (s *Snapshot) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	r := s.recall(question{name, typ})
	if r == nil || r.err != nil {
		return dns.Answer{}, false
	}
	answer, _ := s.used(r)
	return answer, true
}

// Expect implements [dns.Resolver]. It does not ask the question, because the answer would not be
// kept.
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

// keep keeps an answer in memory and in the file. The caller holds s.mu, so two lines are never
// mixed.
func (s *Snapshot) keep(q question, l *snapshotLine) {
	if s.failure != nil || len(s.known) >= maxAnswers {
		return
	}
	raw, err := json.Marshal(l)
	if err != nil || len(raw) >= maxSnapshotLine {
		return
	}
	answer, failure := l.answer()
	s.known[q] = &result{answer, failure}
	if _, err := s.file.Write(append(raw, '\n')); err != nil {
		s.failure = err
		return
	}
	s.use.Kept++
	if now := time.Now(); now.Sub(s.synced) >= syncInterval {
		s.synced, s.failure = now, s.file.Sync()
	}
}

// Close waits until all questions are answered, syncs the file and returns how many DNS questions
// the run had. If the run was interrupted, Close ends the questions instead of waiting. An error
// says why the snapshot is not complete.
func (s *Snapshot) Close(interrupted bool) (Use, error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if interrupted {
		s.end()
	}
	s.asking.Wait()
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.use.FromSnapshot += s.fromKnown.Load()
	s.use.Failures += s.failedKnown.Load()
	err := errors.Join(s.failure, s.file.Sync(), s.file.Close())
	if err != nil {
		err = fmt.Errorf("replay: DNS snapshot is not complete: %w", err)
	}
	return s.use, err
}
