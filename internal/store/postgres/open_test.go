package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/loopback"
)

func TestOpen(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for name, test := range map[string]func(*testing.T, *cluster.Cluster){
		"AtOnce": testOpenAtOnce, "Newer": testNewerSchema, "Foreign": testForeignDatabase, "Password": testPassword, "TLS": testTLS, "ReadOnly": testReadOnly,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// testOpenAtOnce starts daemons on an empty database at the same moment.
func testOpenAtOnce(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	var wg sync.WaitGroup
	secrets := make([]string, 5)
	for i := range secrets {
		s := open1(t, rawURL)
		wg.Go(func() {
			secret, err := s.Secret(t.Context())
			if err != nil {
				t.Error(err)
			}
			secrets[i] = string(secret)
			if err := s.Add(t.Context(), storetest.Noon(), storetest.Batch(fmt.Sprint(i), storetest.Tally(storetest.Policy("shop.example"), storetest.Day(0),
				storetest.Rows(0, 10)))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, x := range secrets {
		if x != secrets[0] || len(x) != secretOctets {
			t.Errorf("the daemons have the secrets %x", secrets)
		}
	}
	if n := messages(t, open1(t, rawURL)); n != 50 {
		t.Errorf("%d messages, want 50", n)
	}
}

// testNewerSchema opens a database that a newer program has changed.
func testNewerSchema(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	if err := open1(t, rawURL).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.SQL(t, cluster.Name(rawURL), "UPDATE sekimori.meta SET value = '777' WHERE name = 'schema'")
	s := open1(t, rawURL)
	for range 2 {
		_, err := s.Jobs(t.Context(), report.Filter{})
		if err == nil || !strings.Contains(err.Error(), "the database has version 777 of the schema, and this program knows versions up to "+strconv.Itoa(version)) {
			t.Errorf("error %v", err)
		}
	}
	if got := c.SQL(t, cluster.Name(rawURL), "SELECT value FROM sekimori.meta WHERE name = 'schema'"); got != "777" {
		t.Errorf("the version is %s now", got)
	}
}

// testForeignDatabase opens databases that are not prepared as the documentation says.
func testForeignDatabase(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	c.SQL(t, cluster.Name(rawURL), "CREATE SCHEMA sekimori AUTHORIZATION sekimori; CREATE TABLE sekimori.meta (name text, value text);"+
		"GRANT ALL ON sekimori.meta TO sekimori")
	if err := open1(t, rawURL).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "is not ours") {
		t.Errorf("a foreign table: %v", err)
	}
	rawURL = c.Database(t)
	c.SQL(t, "postgres", "ALTER DATABASE "+cluster.Name(rawURL)+" OWNER TO postgres")
	s := open1(t, rawURL)
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "must be able to create the schema") {
		t.Errorf("no right to create a schema: %v", err)
	}
	// An administrator may make the schema and keep the database.
	c.SQL(t, cluster.Name(rawURL), "CREATE SCHEMA sekimori AUTHORIZATION sekimori")
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("a schema that was there: %v", err)
	}
}

// testPassword looks for the password in errors.
func testPassword(t *testing.T, c *cluster.Cluster) {
	const secret = "s3cret-0f-the-test"
	good := c.Database(t)
	nobody := "postgres://sekimori@" + loopback.Address(t) + "/x?sslmode=disable"
	for _, rawURL := range []string{good, nobody, strings.Replace(good, "sekimori@", "stranger@", 1), strings.Replace(good, "/test", "/none", 1),
		strings.Replace(good, "disable", "verify-full", 1)} {
		s, err := Open(t.Context(), rawURL, secret)
		if err != nil {
			t.Errorf("%s: %v", rawURL, err)
			continue
		}
		err = s.Add(t.Context(), storetest.Noon(), report.Batch{ID: "a"})
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: error %v", rawURL, err)
		}
		s.Close()
	}
	for _, rawURL := range []string{
		"postgres://sekimori:" + secret + "@127.0.0.1/x", "postgres://sekimori@127.0.0.1/x?password=" + secret, "postgres://127.0.0.1/x?sslpassword=" + secret,
		"postgres://sekimori:" + secret + "@127.0.0.1/x?sslmode=what", "postgres://sekimori:" + secret + "%zz@127.0.0.1/x", "sqlite:" + secret,
		"postgres://sekimori@127.0.0.1/x?sslmode=" + secret[:3], "host=127.0.0.1 password=" + secret,
	} {
		s, err := Open(t.Context(), rawURL, "")
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", rawURL)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

// testTLS checks that the server's name is verified, and that the unix socket works.
func testTLS(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	query := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CA()}}.Encode()
	for _, x := range []struct {
		url  string
		good bool
	}{
		{strings.Replace(rawURL, "sslmode=disable", query, 1), true},
		{strings.Replace(rawURL, "sslmode=disable", "sslmode=require", 1), true},
		{strings.Replace(rawURL, "sslmode=disable", "sslmode=verify-full", 1), false}, // the system does not know the certificate
		{c.Socket(cluster.Name(rawURL)), true},
	} {
		err := open1(t, x.url).Ready(t.Context())
		if (err == nil) != x.good {
			t.Errorf("%s: %v", x.url, err)
		}
	}
}

// testReadOnly demotes the server, as a failover does with the one that was the primary.
func testReadOnly(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	s := open1(t, rawURL)
	b := storetest.Batch("a", storetest.Tally(storetest.Policy("shop.example"), storetest.Day(0), storetest.Rows(0, 10)))
	set := func(value string) {
		c.SQL(t, "postgres", "ALTER DATABASE "+cluster.Name(rawURL)+" SET default_transaction_read_only = "+value)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	set("on")
	s.pool.Reset()
	if err := s.Add(t.Context(), storetest.Noon(), b); code(err) != readOnly {
		t.Fatalf("error %v", err)
	}
	set("off") // connections that were made before stay as they are
	if err := s.Add(t.Context(), storetest.Noon(), b); err != nil {
		t.Errorf("after the failover: %v", err)
	}
	if n := messages(t, s); n != 10 {
		t.Errorf("%d messages", n)
	}
}

// messages returns how many messages all jobs and all rows have.
func messages(t *testing.T, s *Store) (n int64) {
	t.Helper()
	all, err := s.Jobs(t.Context(), report.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range all {
		var rows, sum int64
		for r, err := range s.Rows(t.Context(), j.ID) {
			if err != nil {
				t.Fatal(err)
			}
			rows++
			sum += r.Count
		}
		if rows != j.Rows || sum != j.Messages {
			t.Errorf("the job of %s says %d rows and %d messages, and has %d and %d", j.Policy.Domain, j.Rows, j.Messages, rows, sum)
		}
		n += sum
	}
	return n
}

// until calls f until it succeeds.
func until(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
