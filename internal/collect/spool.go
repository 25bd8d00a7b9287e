package collect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sekimori/internal/report"
)

const (
	batchEnd = ".batch" // a complete file
	newEnd   = ".new"   // a file that is being written; what is left of one after a crash is removed
	tornEnd  = ".torn"  // a file that could not be read
)

// maxSpoolFile is the size of the largest file that is read, in octets. A batch has at most flushRows
// rows and maxSightings sightings.
const maxSpoolFile = 64 << 20

var (
	errFull = errors.New("collect: the spool is full")
	errTorn = errors.New("collect: a file of the spool is damaged")
)

// Spool is the spool of DMARC reports.
type Spool = Files[report.Batch]

// Codec says how a batch becomes the content of a file. Decode refuses everything that Encode did not
// write, also a file that was cut off.
type Codec[B any] struct {
	Encode func(*B) []byte
	Decode func([]byte) (B, error)
}

// Files keeps batches as files while the store fails. The files are read in the order in which they
// were written.
type Files[B any] struct {
	dir   string
	size  int64 // largest size of all files together
	codec Codec[B]
	added chan struct{}

	mu     sync.Mutex
	names  []string // complete files, the oldest first
	octets map[string]int64
	used   int64 // of all files, also the torn ones
	next   uint64
	full   bool
	lock   *os.File
}

// OpenSpool opens the spool of DMARC reports. See [OpenFiles].
func OpenSpool(dir string, size int64) (*Spool, error) {
	return OpenFiles(dir, size, Codec[report.Batch]{encode, decode})
}

// OpenFiles opens the spool in dir, which it makes if it does not exist. A second daemon cannot open
// it. size is the largest size of all its files together, in octets.
func OpenFiles[B any](dir string, size int64, codec Codec[B]) (*Files[B], error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("collect: store.spool.dir: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("collect: store.spool.dir %s: %w; does another daemon use it?", dir, err)
	}
	s := &Files[B]{dir: dir, size: size, codec: codec, added: make(chan struct{}, 1), octets: map[string]int64{}, lock: lock}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("collect: store.spool.dir: %w", err), lock.Close())
	}
	s.wake()
	return s, nil
}

// read finds the files of an earlier run.
func (s *Files[B]) read() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		name := e.Name()
		switch number, complete := strings.CutSuffix(name, batchEnd); {
		case strings.HasSuffix(name, newEnd):
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
		case complete:
			n, err := strconv.ParseUint(number, 16, 64)
			if err != nil {
				continue // not a file of ours
			}
			s.names = append(s.names, name)
			s.octets[name] = info.Size()
			s.used += info.Size()
			s.next = max(s.next, n+1)
		case strings.HasSuffix(name, tornEnd):
			s.used += info.Size()
		}
	}
	slices.Sort(s.names) // the numbers have a fixed width
	return nil
}

// Put writes a batch. When it returns nil, the batch survives a crash of the host. The error is errFull
// if there is no room.
func (s *Files[B]) Put(b B) error {
	data := s.codec.Encode(&b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full = s.used+int64(len(data)) > s.size; s.full {
		return errFull
	}
	name := fmt.Sprintf("%016x%s", s.next, batchEnd)
	if err := s.write(name, data); err != nil {
		s.full = true // most likely the disk is full
		return err
	}
	s.next++
	s.names = append(s.names, name)
	s.octets[name] = int64(len(data))
	s.used += int64(len(data))
	s.wake()
	return nil
}

// write makes a file that is either complete or not there.
func (s *Files[B]) write(name string, data []byte) (err error) {
	temporary := filepath.Join(s.dir, name+newEnd)
	defer func() {
		if err != nil {
			_ = os.Remove(temporary) // the error of the write says more
		}
	}()
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// syncDir makes the names in a directory survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Oldest reads the oldest batch, and returns the name of its file. The name is "" if the spool is empty.
// A file that is damaged is set aside; the error is then errTorn.
func (s *Files[B]) Oldest() (b B, name string, err error) {
	s.mu.Lock()
	if len(s.names) > 0 {
		name = s.names[0]
	}
	s.mu.Unlock()
	if name == "" {
		return b, "", nil
	}
	data, err := s.load(name)
	if err != nil {
		return b, name, err
	}
	if b, err = s.codec.Decode(data); err != nil {
		return b, name, errors.Join(fmt.Errorf("%w: %s", errTorn, name), s.setAside(name))
	}
	return b, name, nil
}

func (s *Files[B]) load(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSpoolFile))
	return data, errors.Join(err, f.Close())
}

// setAside renames a damaged file, so that somebody can look at it. It still takes room.
func (s *Files[B]) setAside(name string) error {
	err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, name+tornEnd))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(name)
	return err
}

// Remove removes a file whose batch is in the store.
func (s *Files[B]) Remove(name string) error {
	err := os.Remove(filepath.Join(s.dir, name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, os.ErrNotExist) {
		s.used -= s.octets[name]
		s.full = false
		s.forget(name)
		return nil
	}
	return err
}

// forget removes the name from the list. The caller holds mu.
func (s *Files[B]) forget(name string) {
	delete(s.octets, name)
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
}

func (s *Files[B]) wake() {
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// Added receives a value after something was added.
func (s *Files[B]) Added() <-chan struct{} { return s.added }

// Len returns the number of batches in the spool.
func (s *Files[B]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

// Octets returns the size of all files, also of damaged ones.
func (s *Files[B]) Octets() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Full reports whether the last batch could not be written.
func (s *Files[B]) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

// Close lets another daemon open the spool.
func (s *Files[B]) Close() error { return s.lock.Close() }

// Limit returns the largest size of all files together.
func (s *Files[B]) Limit() int64 { return s.size }
