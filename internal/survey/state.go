package survey

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"sekimori/internal/dns"
)

const (
	// stateVersion is the version of the file's format.
	stateVersion = 1
	// maxStateLine limits the length of a line of the file, in octets. An entry has a few hundred.
	maxStateLine = 64 << 10
	// syncInterval is the time between two syncs of the file to disk. A crash of the system, as opposed to
	// one of the program, loses the entries after the last one.
	syncInterval = time.Second
)

// State is the file of a survey: a header, and then one entry a line, in JSON. It is only appended to, so
// after a crash only the domains that were under way are looked at again.
type State struct {
	file   *os.File
	synced time.Time
}

// header is the first line of the file.
type header struct {
	Version int `json:"sekimori_survey"`
}

var errNotState = errors.New("the file is not that of a survey; it is left as it is")

// OpenState opens the file at path, or creates it. Only one process at a time can have it open.
func OpenState(path string) (*State, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("survey: %w", err)
	}
	s := &State{file: file, synced: time.Now()}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		file.Close()
		return nil, fmt.Errorf("survey: %s: another run has it open: %w", path, err)
	}
	return s, nil
}

// replay calls add with each entry of the file that is about one of the domains, and returns the domains
// that are left. Domains whose lookups failed are left too. Then the file is ready for keep.
func (s *State) replay(domains []dns.Name, add func(*Entry)) ([]dns.Name, error) {
	left := make(map[dns.Name]bool, len(domains))
	for _, d := range domains {
		left[d] = true
	}
	good, err := s.read(func(e *Entry) {
		if name := dns.Name(e.Domain); left[name] && len(e.Unknown) == 0 {
			delete(left, name)
			add(e)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("survey: %s: %w", s.file.Name(), err)
	}
	if err := s.begin(good); err != nil {
		return nil, fmt.Errorf("survey: %s: %w", s.file.Name(), err)
	}
	var todo []dns.Name
	for _, d := range domains {
		if left[d] {
			todo = append(todo, d)
		}
	}
	return todo, nil
}

// read calls f with each entry, and returns the length of the complete lines.
func (s *State) read(f func(*Entry)) (good int64, err error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(s.file, maxStateLine)
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			if number == 1 && !bytes.HasPrefix([]byte(headerPrefix), line[:min(len(line), len(headerPrefix))]) {
				return 0, errNotState
			}
			return good, nil // the text after the last line end was left by an interrupted run
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		if number == 1 {
			var h header
			switch err := json.Unmarshal(line, &h); {
			case err != nil || h.Version == 0:
				return 0, errNotState
			case h.Version != stateVersion:
				return 0, fmt.Errorf("version %d; this program knows version %d", h.Version, stateVersion)
			}
		} else {
			var e Entry
			if err := json.Unmarshal(line, &e); err != nil {
				return 0, fmt.Errorf("line %d: %w", number, err)
			}
			f(&e)
		}
		good += int64(len(line))
	}
}

// headerPrefix is the beginning of the header in every version.
const headerPrefix = `{"sekimori_survey":`

// begin cuts off an incomplete line, and writes the header of a new file.
func (s *State) begin(good int64) error {
	if err := s.file.Truncate(good); err != nil {
		return err
	}
	if _, err := s.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good > 0 {
		return nil
	}
	return s.write(header{Version: stateVersion})
}

// keep appends an entry.
func (s *State) keep(e *Entry) error {
	err := s.write(e)
	if now := time.Now(); err == nil && now.Sub(s.synced) >= syncInterval {
		s.synced, err = now, s.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("survey: %s: %w", s.file.Name(), err)
	}
	return nil
}

// write appends one line with one system call, so that a crash of the program cannot tear it unless the
// disk is full.
func (s *State) write(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(raw, '\n'))
	return err
}

// Close syncs and closes the file.
func (s *State) Close() error {
	if err := errors.Join(s.file.Sync(), s.file.Close()); err != nil {
		return fmt.Errorf("survey: %w", err)
	}
	return nil
}
