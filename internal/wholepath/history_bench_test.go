package wholepath

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/cluster"
)

// sizeOfHistory returns how many decisions BenchmarkHistory keeps, and of how many messages they are made.
func sizeOfHistory() (decisions, messages int) {
	if testing.Short() {
		return 2_000, 500
	}
	return 1_000_000, 5_000
}

// judged returns decisions on the mail of milterload's corpus.
func judged(b *testing.B) (all []judge.Decision) {
	b.Helper()
	o := traffic.Default()
	_, o.Messages = sizeOfHistory()
	c, err := traffic.New(o)
	if err != nil {
		b.Fatal(err)
	}
	j := &judge.Judge{
		Verifier: msgauth.NewVerifier(c.Zone, msgauth.Options{}), Policy: policy.Default(),
		Label: label.Settings{Names: label.Names{AuthServID: "mx.here.example"}}, MaxFields: 1000, MaxHeaderBytes: 1 << 20,
	}
	for _, s := range c.Sessions {
		for _, m := range s.Messages {
			var header strings.Builder
			for _, f := range m.Header {
				fmt.Fprintf(&header, "%s:%s\r\n", f.Name, f.Value)
			}
			h, _ := message.Parse([]byte(header.String() + "\r\n"))
			stored := j.Open(b.Context(), judge.Message{
				Session: msgauth.Session{Client: s.Client, HELO: s.Name}, Envelope: msgauth.Envelope{MailFrom: m.Envelope.From, Recipients: m.Envelope.To}, Header: h, Whole: true,
			})
			stored.Write(m.Body)
			d := stored.Finish(b.Context())
			if d.Evaluation == nil {
				b.Fatal("a message was not evaluated")
			}
			all = append(all, d)
		}
	}
	return all
}

// BenchmarkHistory measures what memory.md §7 has figures for: the size of a decision on disk, and the time
// to find one by its id, and the newest of an author domain and day, also while a daemon writes.
//
// At full size a store is filled with its own batches, of which every sixteenth was packed anew: packing takes
// longer than adding. The others have the records of that one with IDs, clients and times of their own
// in their rows. So they take as much room and are found by the same keys, but no ID of theirs is looked for.
func BenchmarkHistory(b *testing.B) {
	mails := judged(b)
	var all filled
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "sekimori.db")
		db, err := sqlite.Open(b.Context(), path, sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		kept := benchmarkHistory(b, mails, &all, db, func() {})
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(kept), "octets/decision")
	})
	b.Run("postgres", func(b *testing.B) {
		c := cluster.Start(b, cluster.Options{})
		address := c.Database(b)
		s, err := postgres.Open(b.Context(), address, cluster.Password)
		if err != nil {
			b.Fatal(err)
		}
		at, err := url.Parse(address)
		if err != nil {
			b.Fatal(err)
		}
		// Autovacuum does the same within a minute, which a daemon that runs for a day has had.
		kept := benchmarkHistory(b, mails, &all, s, func() { c.SQL(b, strings.TrimPrefix(at.Path, "/"), "ANALYZE") })
		size, err := s.ExpireHistory(b.Context(), time.Now(), time.Hour*24*365, 1<<50)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size.Octets)/float64(kept), "octets/decision")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// atWork is how many decisions a second are kept while others are looked for.
const atWork = 1000

// journal makes the decisions that are kept: those of a day, one every 80 ms, each with IDs of its own and
// one of 10^6 clients.
type journal struct {
	mails  []judge.Decision
	random *rand.Rand
	at     atomic.Int64 // nanoseconds since 1970
}

func (j *journal) now() time.Time { return time.Unix(0, j.at.Load()).UTC() }

func (j *journal) text(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	out := make([]byte, n)
	for i := range out {
		out[i] = letters[j.random.IntN(len(letters))]
	}
	return string(out)
}

func (j *journal) next() *judge.Decision {
	d := j.mails[j.random.IntN(len(j.mails))]
	e := *d.Evaluation
	j.at.Add(int64(80 * time.Millisecond))
	e.Time, e.Envelope.QueueID, d.Verdict.ID = j.now(), j.text(14), j.text(8)
	e.Session.Client = netip.AddrFrom4([4]byte{198, byte(j.random.IntN(256)), byte(j.random.IntN(16)), byte(j.random.IntN(256))})
	d.Evaluation, d.Envelope, d.Session = &e, e.Envelope, e.Session
	return &d
}

const (
	copies    = 16    // batches that have the same packed records
	batchRows = 32768 // decisions of a batch
)

// filled is what a store is filled with: the batches, and the IDs and author domains that are looked for.
type filled struct {
	batches []history.Batch
	end     time.Time // of the last decision
	rows    int
	ids     []string
	authors []dns.Name
}

// fill packs what is to be kept, unless it has been packed, and adds it to a store.
func (f *filled) fill(b *testing.B, j *journal, s history.Store) {
	b.Helper()
	kept, _ := sizeOfHistory()
	began := time.Now()
	if f.rows == 0 {
		for n := 0; f.rows < kept; n++ {
			f.batches = append(f.batches, f.batch(b, j, n, min(batchRows, kept-f.rows)))
			f.rows += f.batches[n].Len()
		}
		f.end = j.now()
		b.Logf("packed %d decisions in %.1f s", f.rows, time.Since(began).Seconds())
	}
	j.at.Store(f.end.UnixNano())
	began = time.Now()
	for i := range f.batches {
		if err := s.AddHistory(b.Context(), j.now(), f.batches[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("added %.0f decisions/s", float64(f.rows)/time.Since(began).Seconds())
}

// batch returns the batch with a number.
func (f *filled) batch(b *testing.B, j *journal, number, size int) history.Batch {
	b.Helper()
	id := fmt.Sprint("batch ", number)
	if number%copies > 0 && size == batchRows {
		batch := history.Batch{ID: id, Host: "mx1.example"}
		for _, old := range f.batches[number-number%copies].Blocks {
			block := history.Block{Rows: slices.Clone(old.Rows), Data: old.Data}
			for i := range block.Rows {
				d, r := j.next(), &block.Rows[i]
				r.Time = j.now()
				for _, k := range []history.KeyIn{history.IDKey(d.Verdict.ID), history.QueueKey(d.Envelope.QueueID), history.ClientKey(d.Session.Client)} {
					r.Keys[k.Column] = k.Key
				}
			}
			batch.Blocks = append(batch.Blocks, block)
		}
		return batch
	}
	made := make([]archive.Made, size)
	for i := range made {
		d := j.next()
		made[i] = archive.Made{Decision: d, At: j.now()}
		if kept, _ := sizeOfHistory(); i%max(1, kept/copies/looked) == 0 && len(f.ids) < looked {
			f.ids, f.authors = append(f.ids, d.Verdict.ID), append(f.authors, d.Evaluation.From.AuthorDomain)
		}
	}
	batch, err := archive.Pack(id, "mx1.example", made)
	if err != nil {
		b.Fatal(err)
	}
	return batch
}

// looked is how many decisions are looked for by each kind of key.
const looked = 200

// benchmarkHistory returns how many decisions are in the store at the end. It calls full when the store is full.
func benchmarkHistory(b *testing.B, mails []judge.Decision, all *filled, s history.Store, full func()) (stored int64) {
	j := &journal{mails: mails, random: rand.New(rand.NewPCG(1, 1))}
	day := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	j.at.Store(day.UnixNano())
	all.fill(b, j, s)
	full()
	stored = int64(all.rows)
	ids, authors := all.ids, all.authors
	keeper := func() *archive.Keeper {
		k, err := archive.New(archive.Options{
			Store: func() history.Store { return s }, Every: time.Second, Host: "mx1.example", Now: j.now, Log: slog.New(slog.DiscardHandler),
		}, archive.Settings{What: history.All, Keep: 400 * 24 * time.Hour, Size: 1 << 50})
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	r, err := archive.NewReader(func() history.Store { return s })
	if err != nil {
		b.Fatal(err)
	}
	find := func(q recent.Query) time.Duration {
		began := time.Now()
		h := archive.QueryOf(q)
		h.Limit = q.Limit
		found, err := r.Find(b.Context(), h, q.Matches)
		if err != nil || len(found.Entries) == 0 {
			b.Fatalf("%+v: %d entries, %v", q, len(found.Entries), err)
		}
		return time.Since(began)
	}
	// block reads a row by its primary key. The other times say something on a busy machine beside this one.
	block := func(id string) time.Duration {
		hits, err := s.FindHistory(b.Context(), history.Query{Any: []history.KeyIn{history.IDKey(id)}, Limit: 1})
		if err != nil || len(hits) == 0 {
			b.Fatal(id, hits, err)
		}
		began := time.Now()
		if _, data, err := s.HistoryBlock(b.Context(), hits[0].Block); err != nil || data == nil {
			b.Fatal(id, err)
		}
		return time.Since(began)
	}
	took := map[string][]time.Duration{}
	look := func(when string) {
		for i := range ids {
			took["block"+when] = append(took["block"+when], block(ids[i]))
			took["id"+when] = append(took["id"+when], find(recent.Query{ID: ids[i], Limit: 20}))
			took["author"+when] = append(took["author"+when], find(recent.Query{Author: authors[i], From: day, Until: day.AddDate(0, 0, 1), Limit: 20}))
		}
	}
	for b.Loop() {
		look("")
		writer := keeper()
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(time.Second / 100)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				for range atWork / 100 {
					writer.Decided(j.next(), 0)
				}
			}
		}()
		look("-while-writing")
		close(stop)
		<-stopped
		writer.Stop(context.Background())
		stored += writer.Counts().Stored.Load()
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms/"+name)
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99/"+name)
	}
	return stored
}
