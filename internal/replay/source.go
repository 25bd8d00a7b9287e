package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Message is one stored message.
type Message struct {
	Number int    // the first message of the source has number 1
	Name   string // the name of the file with this message; "" in an mbox
	Offset int64  // offset of the separator of the message in an mbox, in octets
	// Sender is the envelope sender in the separator, or "" if there is no separator. For a message in
	// a file of its own, Sender is known only after openMessage.
	Sender string
	// lines has the message if it is in an mbox. They must be read before the next call of
	// Source.Next. For a message in a file of its own, lines is nil, and openMessage opens the file.
	lines lines
}

// Source is a collection of messages.
type Source interface {
	// Next returns io.EOF after the last message.
	Next() (*Message, error)
	// Progress returns how much of the source was read, and how much there is in all. The unit
	// depends on the source.
	Progress() (done, total int64)
	Close() error
}

// Open opens an mbox, a file with one message, a Maildir (a directory with cur or new), or a
// directory of .eml files, including those in subdirectories. Every file may be compressed with
// gzip.
func Open(path string) (Source, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("replay: %w", err)
	case info.IsDir():
		return openDir(path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("replay: %s is neither a file nor a directory", path)
	}
	file, err := openStored(path, bufio.NewReaderSize(nil, lineBuffer))
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	start, err := file.peek(len(separator))
	if err != nil {
		_ = file.Close() // an error of Close does not matter after reading
		return nil, fmt.Errorf("replay: %s: %w", path, err)
	}
	if len(start) > 0 && strings.TrimLeft(string(start), "\r\n") != "" && !bytes.Equal(start, separator) {
		_ = file.Close() // an error of Close does not matter after reading
		return &files{paths: []string{path}}, nil
	}
	box, err := openMbox(file, info.Size())
	if err != nil {
		_ = file.Close() // an error of Close does not matter after reading
		return nil, err
	}
	return box, nil
}

// openDir lists the files of a Maildir or of a directory of .eml files.
func openDir(path string) (Source, error) {
	var paths []string
	maildir := false
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		maildir = true
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				paths = append(paths, filepath.Join(path, sub, e.Name()))
			}
		}
	}
	if maildir {
		// The name of a file begins with the time of delivery, so the messages are sorted by that
		// time.
		slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
		return &files{paths: paths}, nil
	}
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isMessageName(p) {
			paths = append(paths, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("replay: %s has neither cur nor new, as a Maildir has, and no .eml or .eml.gz files", path)
	}
	return &files{paths: paths}, nil
}

// isMessageName reports whether a file in a directory is read as a message, according to its name.
func isMessageName(path string) bool {
	name := strings.ToLower(filepath.Base(path))
	return strings.HasSuffix(name, ".eml") || strings.HasSuffix(name, ".eml.gz")
}

// files is a source with one message in each file.
type files struct {
	paths []string
	next  int
}

// Next implements Source. It opens no file, so that the workers can open several at the same time.
func (f *files) Next() (*Message, error) {
	if f.next == len(f.paths) {
		return nil, io.EOF
	}
	f.next++
	return &Message{Number: f.next, Name: f.paths[f.next-1]}, nil
}

// openMessage opens the file of a message that is not in an mbox. buffer is used to read the file.
func openMessage(m *Message, buffer *bufio.Reader) (*stored, error) {
	info, err := os.Lstat(m.Name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // opening a pipe could block
		return nil, errors.New("not a regular file")
	}
	file, err := openStored(m.Name, buffer)
	if err != nil {
		return nil, err
	}
	if m.Sender, err = takeSeparator(file); err != nil {
		_ = file.Close() // an error of Close does not matter after reading
		return nil, err
	}
	return file, nil
}

// Progress implements Source.
func (f *files) Progress() (done, total int64) { return int64(f.next), int64(len(f.paths)) }

// Close implements Source.
func (f *files) Close() error { return nil }
