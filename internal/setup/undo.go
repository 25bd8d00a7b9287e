package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sekimori/internal/config"
)

// record says what Apply changed. It is kept beside the copies of the files.
type record struct {
	MTA      string   `json:"mta"`
	Instance string   `json:"instance,omitempty"` // Plan.Instance
	Stages   []stages `json:"stages"`
	dir      string
}

type stages struct {
	Files []kept     `json:"files"`
	Runs  [][]string `json:"runs"`
	// ByHand says that the commands are left to the operator.
	ByHand bool `json:"by_hand,omitempty"`
}

// kept is a file as it was, and what was changed in it.
type kept struct {
	Path string `json:"path"`
	Copy string `json:"copy"` // the name of the copy in the directory of the record; "" if there was no file
	Hunk hunk   `json:"hunk"`
}

// hunk is the lines of a file that were replaced. Everything before and after them is the same.
type hunk struct {
	Before string `json:"before"` // the last line that is the same; "" at the beginning of the file
	Old    string `json:"old"`
	New    string `json:"new"`
}

const recordName = "record.json"

// diff returns what differs between two texts.
func diff(before, after string) hunk {
	a, b := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	head := 0
	for head < len(a) && a[head] == b[head] { // the last of b has no line end, so it equals only the last of a
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	h := hunk{Old: strings.Join(a[head:len(a)-tail], ""), New: strings.Join(b[head:len(b)-tail], "")}
	if head > 0 {
		h.Before = a[head-1]
	}
	return h
}

// undo returns the text without the change. The rest of the text may have changed meanwhile. It
// reports false if the changed lines are not in the text exactly once.
func (h hunk) undo(text string) (string, bool) {
	find := h.New
	if text == find {
		return h.Old, true
	}
	at, ok := only(text, find)
	if !ok {
		find = h.Before + h.New
		at, ok = only(text, find)
	}
	end := at + len(find)
	if !ok || at > 0 && text[at-1] != '\n' || end < len(text) && text[end-1] != '\n' { // not whole lines
		return "", false
	}
	return text[:end-len(h.New)] + h.Old + text[end:], true
}

// only returns where a text has a part, and whether there is no second place. Places that overlap are
// two: a copy of our lines may begin within them.
func only(text, part string) (int, bool) {
	at := strings.Index(text, part)
	return at, at >= 0 && at == strings.LastIndex(text, part)
}

// keep makes a copy of every file that the plan changes, and a record of the changes.
func (h Host) keep(plan Plan) (r record, err error) {
	r = record{MTA: plan.MTA, Instance: plan.Instance}
	if err := os.MkdirAll(h.State, 0o700); err != nil {
		return r, fmt.Errorf("setup: %w", err)
	}
	if r.dir, err = h.newDir(plan.MTA); err != nil {
		return r, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(r.dir)
		}
	}()
	n := 0
	for _, stage := range []Stage{plan.Daemon, plan.Mail} {
		s := stages{Runs: stage.Runs, ByHand: stage.ByHand}
		for _, c := range stage.Changes {
			k := kept{Path: c.Path, Hunk: diff(string(c.Before), string(c.After))}
			if c.Before != nil {
				n++
				k.Copy = strconv.Itoa(n) + "-" + filepath.Base(c.Path)
				if err := os.WriteFile(filepath.Join(r.dir, k.Copy), c.Before, 0o600); err != nil {
					return r, fmt.Errorf("setup: %w", err)
				}
			}
			s.Files = append(s.Files, k)
		}
		r.Stages = append(r.Stages, s)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return r, fmt.Errorf("setup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, recordName), append(text, '\n'), 0o600); err != nil {
		return r, fmt.Errorf("setup: %w", err)
	}
	return r, nil
}

// newDir makes the next directory for a record. The names count upwards, so that the last one is
// the newest.
func (h Host) newDir(mta string) (string, error) {
	found, err := h.records(mta)
	if err != nil {
		return "", err
	}
	next := 1
	if len(found) > 0 {
		next = number(found[len(found)-1]) + 1
	}
	dir := filepath.Join(h.State, fmt.Sprintf("%s-%d", mta, next))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("setup: %w", err)
	}
	return dir, nil
}

func number(dir string) int {
	n, err := strconv.Atoi(dir[strings.LastIndexByte(dir, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// records returns the directories of the records for an MTA, the oldest first.
func (h Host) records(mta string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(h.State, mta+"-*"))
	if err != nil {
		return nil, fmt.Errorf("setup: %w", err)
	}
	slices.SortFunc(found, func(a, b string) int { return number(a) - number(b) })
	return found, nil
}

// Undo takes the last Apply for an MTA back. instance is Plan.Instance of that Apply. Undo changes
// nothing if a file no longer has the lines that Apply wrote.
func (h Host) Undo(ctx context.Context, mta, instance string, run bool, out io.Writer) error {
	found, err := h.records(mta)
	if err != nil {
		return err
	}
	others := ""
	for _, dir := range slices.Backward(found) {
		r, err := readRecord(dir, mta)
		if err != nil {
			return err
		}
		if r.Instance == instance {
			return h.revert(ctx, r, run, out)
		}
		others = "; it has one for another instance: sekimori setup postfix --undo"
		if r.Instance != "" {
			others += " --config-dir " + r.Instance
		}
	}
	return fmt.Errorf("setup: %s has no record of a change for %s, so there is nothing to undo%s", h.State, mta, others)
}

// readRecord reads the record in a directory.
func readRecord(dir, mta string) (record, error) {
	text, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return record{}, fmt.Errorf("setup: %w", err)
	}
	r := record{}
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("setup: %s: %w", filepath.Join(dir, recordName), err)
	}
	if r.MTA != mta {
		return record{}, fmt.Errorf("setup: %s is not about %s", dir, mta)
	}
	r.dir = dir
	return r, nil
}

// back says how a file is put back: it gets the text, or is removed if "gone" is true.
type back struct {
	path string
	text []byte
	gone bool
}

// revert takes the changes of a record back, those of the MTA first, and removes the record. A
// command that fails does not stop it, because the files matter more: for example, the daemon may no
// longer run.
func (h Host) revert(ctx context.Context, r record, run bool, out io.Writer) error {
	slices.Reverse(r.Stages)
	var todo [][]back
	var failed []error
	for _, s := range r.Stages {
		files, err := s.back(r.dir)
		if err != nil {
			return err
		}
		todo = append(todo, files)
	}
	for i, files := range todo {
		for _, f := range files {
			var err error
			if f.gone {
				err = os.Remove(f.path)
				if dir := filepath.Dir(f.path); strings.HasSuffix(dir, ".d") {
					_ = os.Remove(dir) // fails if the directory has other drop-ins
				}
			} else {
				err = config.ReplaceFile(f.path, f.text)
			}
			if err != nil {
				return fmt.Errorf("setup: %w", err)
			}
			fmt.Fprintf(out, "put back %s\n", f.path)
		}
		for _, argv := range r.Stages[i].Runs {
			if len(files) == 0 {
				continue
			}
			if !run || r.Stages[i].ByHand {
				fmt.Fprintf(out, "run now: %s\n", strings.Join(argv, " "))
				continue
			}
			if err := h.run(ctx, argv); err != nil {
				failed = append(failed, fmt.Errorf("setup: every file is as it was, but a command failed; run it when its program runs: %w", err))
				continue
			}
			fmt.Fprintf(out, "ran      %s\n", strings.Join(argv, " "))
		}
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return errors.Join(failed...)
}

// back says how the files of a stage are put back. Files that were not changed, or were put back
// already, are left out.
func (s stages) back(dir string) ([]back, error) {
	var out []back
	for _, k := range s.Files {
		now, err := os.ReadFile(k.Path)
		if errors.Is(err, os.ErrNotExist) && k.Copy == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("setup: %w", err)
		}
		b := back{path: k.Path, gone: k.Copy == ""}
		if b.gone && string(now) != k.Hunk.New {
			return nil, fmt.Errorf("setup: %s was changed since; remove it by hand", k.Path)
		}
		if !b.gone {
			before, err := os.ReadFile(filepath.Join(dir, k.Copy))
			if err != nil {
				return nil, fmt.Errorf("setup: %w", err)
			}
			if bytes.Equal(before, now) {
				continue
			}
			text, ok := k.Hunk.undo(string(now))
			if !ok {
				return nil, fmt.Errorf("setup: %s was changed since, and nothing was undone; if that was another \"sekimori setup --apply\", "+
					"undo that one first; the file as it was before is %s", k.Path, filepath.Join(dir, k.Copy))
			}
			b.text = []byte(text)
		}
		out = append(out, b)
	}
	return out, nil
}
