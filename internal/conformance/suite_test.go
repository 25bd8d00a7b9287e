package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/suites"
)

// workers is the number of stations on which the test cases of a suite run in parallel. Some test
// cases mostly wait for silent DNS servers.
const workers = 6

// row is one test case of a suite.
type row struct {
	id   string
	zone json.RawMessage // in the format of the shared data (see suites.Zone)
	// excluded is the reason why the daemon cannot give the result that the suite expects, or "".
	// If it is not "", the function check requires what the daemon should do instead.
	excluded string
	check    func(*station) error
}

// suite is one published set of test cases.
type suite struct {
	name  string // name in the summary line
	total int    // number of test cases that the publisher states
	rows  []row
	// change edits the configuration of the daemons; it may be nil.
	change func(*config.Config)
	// after checks the logs of the stations when all test cases have run. It returns errors by the
	// id of the test case. It may be nil.
	after func(*testing.T, []*station) map[string]error
}

// run runs the test cases on several stations and logs the summary line of the suite.
func (s suite) run(t *testing.T) {
	t.Helper()
	if len(s.rows) != s.total {
		t.Errorf("%s has %d rows, want %d", s.name, len(s.rows), s.total)
	}
	todo := make(chan int)
	failures := make([]error, len(s.rows))
	var stations []*station
	var done sync.WaitGroup
	for range min(workers, len(s.rows)) {
		st := newStation(t, s.change)
		stations = append(stations, st)
		done.Go(func() {
			for i := range todo {
				failures[i] = s.rows[i].run(st)
			}
		})
	}
	for i := range s.rows {
		todo <- i
	}
	close(todo)
	done.Wait()
	if s.after != nil {
		logged := s.after(t, stations)
		for i, r := range s.rows {
			failures[i] = errors.Join(failures[i], logged[r.id])
		}
	}
	s.logResult(t, failures)
}

func (r row) run(st *station) error {
	st.zone = zone.New()
	if len(r.zone) > 0 {
		var err error
		if st.zone, err = suites.Zone(r.zone); err != nil {
			return err
		}
	}
	st.SetZone(st.zone)
	return r.check(st)
}

// logResult reports each failure to the test, and logs the summary line of the suite.
func (s suite) logResult(t *testing.T, failures []error) {
	t.Helper()
	passed := 0
	excluded := map[string][]string{}
	for i, r := range s.rows {
		if failures[i] != nil {
			t.Errorf("%s: %s: %v", s.name, r.id, failures[i])
		}
		switch {
		case r.excluded != "":
			excluded[r.excluded] = append(excluded[r.excluded], r.id)
		case failures[i] == nil:
			passed++
		}
	}
	suites.Log(t, s.name, passed, len(s.rows), reasons(excluded))
}

// reasons returns a text with the ids of the excluded test cases, grouped by the reason.
func reasons(excluded map[string][]string) string {
	count := 0
	var out []string
	for _, reason := range slices.Sorted(maps.Keys(excluded)) {
		count += len(excluded[reason])
		out = append(out, strings.Join(excluded[reason], ", ")+": "+reason)
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("excluded %d: %s", count, strings.Join(out, "; "))
}

// oneOf returns an error if the value "got" is not in the list "want".
func oneOf(what, got string, want []string) error {
	if slices.Contains(want, got) {
		return nil
	}
	return fmt.Errorf("%s %q, want %q", what, got, want)
}
