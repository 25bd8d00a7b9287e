package collect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// batch is a batch with so many rows.
func batch(rows int) report.Batch {
	t := newTable()
	now := time.Now()
	for i := range rows {
		o, _ := report.Observe(decision("shop.example", fmt.Sprintf("2001:db8::%x", i), now).Evaluation, decision("", "::1", now).Verdict, report.Options{})
		o.Row.AuthDKIM = []report.DKIMResult{{Domain: "x.example", Selector: "\xff\x00;", Result: "fail", Human: "body changed"}}
		t.add(&o, now, &settings)
	}
	b, _ := t.take(now, &settings)
	return b
}

func openSpool(t *testing.T, dir string, size int64) *Spool {
	t.Helper()
	s, err := OpenSpool(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openSpool(t, dir, 1<<20)
	first, second := batch(3), batch(5)
	for _, b := range []report.Batch{first, second} {
		if err := s.Put(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenSpool(dir, 1<<20); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon opens the spool: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0000000000000000.batch.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir, 1<<20)
	if s.Len() != 2 || s.Octets() == 0 {
		t.Errorf("%d files, %d octets after a restart", s.Len(), s.Octets())
	}
	for _, want := range []report.Batch{first, second} {
		got, name, err := s.Oldest()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got %+v, want %+v", err, got, want)
		}
		if err := s.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, name, err := s.Oldest(); name != "" || err != nil || s.Octets() != 0 {
		t.Errorf("%q, %v, %d octets in an empty spool", name, err, s.Octets())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.batch*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// A file after a restart must not take the number of an older one.
	if err := s.Put(first); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "0000000000000002.batch"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestSpoolIsBounded checks the size of the spool, at the limit and beyond.
func TestSpoolIsBounded(t *testing.T) {
	b := batch(100)
	n := int64(len(encode(&b)))
	s := openSpool(t, t.TempDir(), 2*n)
	for i := range 2 {
		if err := s.Put(b); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := s.Put(b); !errors.Is(err, errFull) || !s.Full() || s.Octets() != 2*n {
		t.Errorf("%v, full %t, %d octets", err, s.Full(), s.Octets())
	}
	_, name, _ := s.Oldest()
	if err := s.Remove(name); err != nil || s.Full() {
		t.Errorf("%v, full %t", err, s.Full())
	}
	if err := s.Put(b); err != nil {
		t.Error(err)
	}
}

// TestTorn: a file that is cut off, or has a changed octet, is set aside, and those after it are read.
func TestTorn(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":          func(b []byte) []byte { return b[:len(b)/2] },
		"empty":            func([]byte) []byte { return nil },
		"an octet changed": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"another version":  func(b []byte) []byte { b[len(magic)-1]++; return b },
	} {
		dir := t.TempDir()
		s := openSpool(t, dir, 1<<20)
		for range 2 {
			if err := s.Put(batch(2)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "0000000000000000.batch")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Oldest(); !errors.Is(err, errTorn) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path + tornEnd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, got, err := s.Oldest(); err != nil || got != "0000000000000001.batch" {
			t.Errorf("%s: then %q, %v", name, got, err)
		}
	}
}

// TestSpoolOfOthers: what is not a batch is left alone. Damaged files take room.
func TestSpoolOfOthers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0000000000000003.batch.torn", "notes.batch", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "0000000000000009.batch"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s := openSpool(t, dir, 1<<20); s.Len() != 0 || s.Octets() != 10 || s.Limit() != 1<<20 {
		t.Errorf("%d batches, %d octets of %d", s.Len(), s.Octets(), s.Limit())
	}
	if _, err := OpenSpool(filepath.Join(dir, "notes", "spool"), 1<<20); err == nil || !strings.Contains(err.Error(), "collect: store.spool.dir: mkdir") {
		t.Errorf("below a file: %v", err)
	}
}

// TestSpoolWriteFails: a batch that cannot be written is not in the spool, which then counts as full.
func TestSpoolWriteFails(t *testing.T) {
	mkdir := func(path string) error { return os.Mkdir(path, 0o700) }
	for name, block := range map[string]func(path string) error{
		"0000000000000000.batch" + newEnd:       mkdir,
		"0000000000000000.batch":                mkdir,
		"0000000000000000.batch" + newEnd + " ": func(path string) error { return os.Symlink("/dev/full", strings.TrimSpace(path)) },
	} {
		dir := t.TempDir()
		s := openSpool(t, dir, 1<<20)
		inWay := filepath.Join(dir, name)
		if err := block(inWay); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(batch(1)); err == nil || errors.Is(err, errFull) || !s.Full() || s.Len() != 0 || s.Octets() != 0 {
			t.Errorf("%s: %v, full %t, %d batches, %d octets", name, err, s.Full(), s.Len(), s.Octets())
		}
		_ = os.Remove(inWay)
		if err := s.Put(batch(1)); err != nil || s.Full() || s.Len() != 1 {
			t.Errorf("%s, then: %v, full %t, %d batches", name, err, s.Full(), s.Len())
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*"+newEnd)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestDrain: while the store takes them, no time passes between the batches of the spool.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		spool := openSpool(t, dir, 1<<20)
		put := func(batches int) {
			for range batches {
				if err := spool.Put(batch(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(3)
		m := &memory{}
		c := start(t, m, spool, time.Hour)
		begin := time.Now()
		for _, sum := range []int64{3, 4} {
			synctest.Wait()
			if m.sum() != sum || spool.Len() != 0 || time.Since(begin) != 0 {
				t.Errorf("%d messages, want %d, and %d batches left", m.sum(), sum, spool.Len())
			}
			put(1)
		}
		stop(c, time.Second)
		_ = spool.Close()
	})
}

// TestSpoolInFlight: the store goes away, comes back, and is slow. Nothing is lost or counted twice,
// and the order is kept.
func TestSpoolInFlight(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errDown}
		spool := openSpool(t, dir, 1<<20)
		c := start(t, m, spool, 30*time.Second)
		sent := int64(0)
		send := func(seconds int) {
			for range seconds {
				c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
				time.Sleep(time.Second)
				sent++
			}
		}
		send(95)
		if n := c.Counts(); spool.Len() != 3 || n.Spooled.Load() != 3 || n.Stored.Load() != 0 {
			t.Errorf("%d files, %d rows in the spool, %d in the store", spool.Len(), n.Spooled.Load(), n.Stored.Load())
		}
		m.set(nil, 0)
		send(65) // longer than lastPause, and two more flushes
		if spool.Len() != 0 || c.Counts().Stored.Load() < 4 {
			t.Errorf("%d files left, %d rows stored", spool.Len(), c.Counts().Stored.Load())
		}
		m.set(nil, time.Minute) // slower than addTimeout
		spooled := c.Counts().Spooled.Load()
		send(100)
		if c.Counts().Spooled.Load() == spooled {
			t.Error("the writer waits for a slow store, although the spool has room")
		}
		m.set(nil, 0)
		send(300)
		stop(c, 10*time.Second)
		if got := m.sum(); got != sent || c.Counts().Lost() != 0 {
			t.Errorf("%d messages in the store, %d sent, %d lost, %d files", got, sent, c.Counts().Lost(), spool.Len())
		}
		_ = spool.Close()
	})
}

// TestRestartWithSpool: what a daemon leaves in the spool, the next one stores. The database was never
// there for the first.
func TestRestartWithSpool(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		spool := openSpool(t, dir, 1<<20)
		c := start(t, nil, spool, 30*time.Second)
		for range 10 {
			c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		}
		stop(c, time.Second)
		if spool.Len() != 1 || c.Counts().Lost() != 0 {
			t.Errorf("%d files, %d lost", spool.Len(), c.Counts().Lost())
		}
		_ = spool.Close()
		m := &memory{}
		spool = openSpool(t, dir, 1<<20)
		c = start(t, m, spool, 30*time.Second)
		time.Sleep(time.Second)
		stop(c, time.Second)
		if m.sum() != 10 || spool.Len() != 0 {
			t.Errorf("%d messages, %d files", m.sum(), spool.Len())
		}
		_ = spool.Close()
	})
}

// TestSpoolFails: with neither store nor spool, rows wait in memory, and go out when the disk is
// back.
func TestSpoolFails(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errDown}
		spool := openSpool(t, dir, 100) // no batch fits
		c := start(t, m, spool, 30*time.Second)
		for range 200 {
			c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
			time.Sleep(time.Second)
		}
		if n := c.Counts(); n.Lost() != 0 || n.Pending.Load() != 2 || !spool.Full() {
			t.Errorf("%d lost, %d pending, full %t", n.Lost(), n.Pending.Load(), spool.Full())
		}
		m.set(nil, 0)
		time.Sleep(2 * time.Minute)
		if m.sum() != 200 {
			t.Errorf("%d messages", m.sum())
		}
		m.set(errDown, 0)
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		stop(c, time.Second)
		if n := c.Counts().LostSpool.Load(); n != 1 {
			t.Errorf("%d lost", n)
		}
		_ = spool.Close()
	})
}

// TestFlood: a forger with endless names fills the table to its limit. Then his rows are reduced, and
// lost; known rows go on counting, and the report says how many are lost.
func TestFlood(t *testing.T) {
	table, now := newTable(), time.Now()
	const used, flood = maxTableOctets - 10<<20, 40_000 // the table is nearly full, so that the test is quick
	table.octets = used
	known, _ := report.Observe(decision("shop.example", "192.0.2.1", now).Evaluation, decision("", "::1", now).Verdict, report.Options{})
	table.add(&known, now, &settings)
	lost := 0
	for i := range flood {
		o := known
		o.Row.HeaderFrom = dns.Name(fmt.Sprintf("x%d.%s.shop.example", i, strings.Repeat("a", 60)))
		if ok, _ := table.add(&o, now, &settings); !ok {
			lost++
		}
	}
	if ok, _ := table.add(&known, now, &settings); !ok {
		t.Error("a known row is lost")
	}
	if table.octets > maxTableOctets || lost == 0 {
		t.Errorf("%d octets, %d lost", table.octets, lost)
	}
	// Rows that differ only in what Reduced drops become one.
	before := table.rows
	for i := range 1000 {
		o := known
		o.Row.EnvelopeFrom = dns.Name(fmt.Sprintf("e%d.example", i))
		o.Row.HeaderFrom = "x1." + dns.Name(strings.Repeat("a", 60)) + ".shop.example"
		table.add(&o, now, &settings)
	}
	if table.rows > before+1 {
		t.Errorf("%d more rows", table.rows-before)
	}
	var sum, told int64
	for {
		b, ok := table.take(now, &settings)
		if !ok {
			break
		}
		if n := rowsOf(b); n > flushRows {
			t.Errorf("a batch of %d rows", n)
		}
		sum += messagesOf(b)
		for _, tally := range b.Tallies {
			told += tally.Lost
		}
	}
	if sum+told != flood+1000+2 || table.octets != used || table.rows != 0 || len(table.groups)+len(table.newest) != 0 {
		t.Errorf("%d counted, %d lost; the table is left with %d octets, %d rows", sum, told, table.octets, table.rows)
	}
}

// TestManyPolicies: a domain that changes its record all the time has few groups.
func TestManyPolicies(t *testing.T) {
	table, now := newTable(), time.Now()
	for i := range 100 {
		o, _ := report.Observe(decision("shop.example", "192.0.2.1", now).Evaluation, decision("", "::1", now).Verdict, report.Options{})
		o.Policy.FO = fmt.Sprint(i)
		o.Policy.P = dmarc.PolicyReject
		table.add(&o, now, &settings)
	}
	b, _ := table.take(now, &settings)
	if len(b.Tallies) != maxIdentities || messagesOf(b) != 100 {
		t.Errorf("%d policies, %d messages", len(b.Tallies), messagesOf(b))
	}
}

// TestSightings: a domain is told to the store once a day, and the memory for that is bounded.
func TestSightings(t *testing.T) {
	table, now := newTable(), time.Now()
	for i := range maxSightings + 10 {
		table.sight(report.Sighting{Domain: dns.Name(fmt.Sprintf("d%d.example", i)), Day: 1, Kind: report.SeenFail})
	}
	b, ok := table.take(now, &settings)
	if !ok || len(b.Seen) != maxSightings {
		t.Errorf("%d sightings", len(b.Seen))
	}
	table.sight(report.Sighting{Domain: "d1.example", Day: 1, Kind: report.SeenFail})
	if _, ok := table.take(now, &settings); ok {
		t.Error("a sighting is told twice a day")
	}
	table.sight(report.Sighting{Domain: "d1.example", Day: 2, Kind: report.SeenFail})
	if b, _ := table.take(now, &settings); len(b.Seen) != 1 {
		t.Error("a sighting is not told on the next day")
	}
}

// FuzzDecode: a file of the spool never makes trouble, and what decode reads is what was encoded.
func FuzzDecode(f *testing.F) {
	for _, rows := range []int{0, 1, 3} {
		b := batch(rows)
		f.Add(encode(&b))
	}
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decode(data)
		if err == nil && !bytes.Equal(encode(&b), data) {
			// The digest makes this all but impossible, so a fuzzer finds only its own batches.
			t.Errorf("%q is read, but would be written otherwise", data)
		}
		sealed := seal(append([]byte(magic), data...)) // the same as the content of a file with a good digest
		if b, err := decode(sealed); err == nil {
			if again, err := decode(encode(&b)); err != nil || !reflect.DeepEqual(again, b) {
				t.Errorf("%q: %v", data, err)
			}
		}
	})
}
