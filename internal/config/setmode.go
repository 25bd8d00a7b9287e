package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"sekimori/internal/config/strict"
	"sekimori/internal/policy"
)

// modeLine matches a line with the key mode at the top level of a document. Its
// groups are the key with the colon, the value, and the rest of the line.
var modeLine = regexp.MustCompile(`^(mode[ \t]*:)[ \t]*("[^"]*"|'[^']*'|[^#\s]*)(.*)$`)

var errModeByHand = errors.New("the line cannot be written into this file as it stands; write it by hand")

// SetMode returns data with the mode changed, or with a mode line added at the
// end if there is none. All other octets stay the same. name is the file name
// for errors.
func SetMode(name string, data []byte, mode policy.Mode) ([]byte, error) {
	before, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	end := "\n"
	if bytes.Contains(data, []byte("\r\n")) {
		end = "\r\n"
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if at, _, _ := strict.Parse(name, data).Key("mode"); at > 0 && at <= len(lines) {
		m := modeLine.FindSubmatch(bytes.TrimRight(lines[at-1], "\r\n"))
		if m == nil {
			return nil, &Error{Name: name, Problems: []Problem{{Path: "mode", Line: at, Column: 1, Message: errModeByHand.Error()}}}
		}
		rest := lines[at-1][len(bytes.TrimRight(lines[at-1], "\r\n")):]
		lines[at-1] = fmt.Appendf(nil, "%s %s%s%s", m[1], mode, m[3], rest)
		data = bytes.Join(lines, nil)
	} else {
		data = bytes.Clone(data)
		if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
			data = append(data, end...)
		}
		data = append(data, "mode: "+string(mode)+end...)
	}
	// Safeguard for unusual files: the result must be a valid configuration
	// that differs from the old one only in the mode.
	after, err := parseConfig(name, data, true)
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w: %w", name, errModeByHand, err)
	}
	for _, c := range Diff(before, after) {
		if c.Path != "mode" {
			return nil, fmt.Errorf("config: %s: %w", name, errModeByHand)
		}
	}
	return data, nil
}

// WriteMode changes the mode in the file at path as SetMode does. It replaces
// the file in one step, so no program sees a partly written file. Owner and
// permissions stay the same.
func WriteMode(path string, mode policy.Mode) error {
	data, err := readFile(path, strict.MaxFile)
	if err != nil {
		return &Error{Name: path, Err: err}
	}
	changed, err := SetMode(path, data, mode)
	if err != nil || bytes.Equal(changed, data) {
		return err
	}
	return ReplaceFile(path, changed)
}

// ReplaceFile replaces the file at path, or makes it, in one step, so no
// program sees a partly written file. Owner and permissions stay the same. A
// symbolic link stays, and the file that it names is replaced.
func ReplaceFile(path string, data []byte) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = path, nil
	}
	if err == nil {
		err = replaceFile(real, data)
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

func replaceFile(path string, data []byte) (err error) {
	perm := fs.FileMode(0o644)
	info, err := os.Stat(path)
	if err == nil {
		if !info.Mode().IsRegular() { // a file in place of /dev/null would harm every other program
			return &fs.PathError{Op: "replace", Path: path, Err: errIrregular}
		}
		perm = info.Mode().Perm()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if info != nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
