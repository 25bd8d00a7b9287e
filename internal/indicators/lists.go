package indicators

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/bimi/mark"
	"sekimori/internal/webfetch"
)

const (
	// maxLists is how many revocation lists are remembered. Only authorities below a mark root name them.
	maxLists = 64
	// maxListOctets is how many octets they have in all.
	maxListOctets = 32 << 20
	// maxListURLs is how many places of a certificate are tried.
	maxListURLs = 3
	// listAgain is how long no list is fetched from where none was.
	listAgain = 5 * time.Minute
	// listFresh is how long a list is used before a newer one is looked for, if it does not end earlier.
	listFresh = 6 * time.Hour
)

// Lists remembers revocation lists. It is safe for concurrent use.
type Lists struct {
	mu sync.Mutex
	of map[string]*known // by URL
}

// known is what is known of a revocation list.
type known struct {
	crl    *mark.CRL // nil if none was ever fetched
	size   int64
	next   time.Time     // when it is fetched again
	used   time.Time     // when it was last asked for
	flight chan struct{} // closed when the fetch ends that is under way; nil if there is none
}

// NewLists returns Lists that know none.
func NewLists() *Lists { return &Lists{of: map[string]*known{}} }

// get returns the lists that are needed, by URL, and when the next one of them comes. What cannot be had is
// left out. If a URL has a list that cannot be used, such as one that the CA did not sign, the next URL of the
// certificate is tried: lists come over plain HTTP.
func (l *Lists) get(ctx context.Context, needs []mark.Need, now time.Time, fetch Fetch) (lists map[string]*mark.CRL, next time.Time) {
	lists = map[string]*mark.CRL{}
	for _, n := range needs {
		for _, url := range n.URLs[:min(len(n.URLs), maxListURLs)] {
			serves := func(crl *mark.CRL) bool { return n.Serves(crl, now) == nil }
			crl := l.one(ctx, url, now, fetch, serves)
			if crl == nil {
				continue
			}
			lists[url] = crl // also if it cannot be used: the judgement says why
			if !serves(crl) {
				continue
			}
			if t := crl.NextUpdate(); next.IsZero() || t.Before(next) {
				next = t
			}
			break
		}
	}
	return lists, next
}

// one returns the list of a URL. Several that ask for it at the same time get that of one fetch.
// A list that cannot be used does not replace one that is remembered.
func (l *Lists) one(ctx context.Context, url string, now time.Time, fetch Fetch, serves func(*mark.CRL) bool) *mark.CRL {
	for {
		crl, flight, mine := l.look(url, now)
		switch {
		case flight == nil:
			return crl
		case mine:
			return l.renew(ctx, url, now, fetch, serves)
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return nil
		}
	}
}

// look returns the list if it need not be fetched. Otherwise it returns the channel that is closed at the end
// of the fetch, and reports whether the caller must do it.
func (l *Lists) look(url string, now time.Time) (crl *mark.CRL, flight chan struct{}, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.of[url]
	if k == nil {
		k = &known{}
		l.of[url] = k
	}
	k.used = now
	if now.Before(k.next) {
		return k.crl, nil, false
	}
	if k.flight == nil {
		k.flight, mine = make(chan struct{}), true
	}
	return nil, k.flight, mine
}

// renew fetches a list. If that fails, the one that is there stays.
func (l *Lists) renew(ctx context.Context, url string, now time.Time, fetch Fetch, serves func(*mark.CRL) bool) *mark.CRL {
	var crl, useless *mark.CRL
	var size int64
	defer func() { // also after a panic
		l.mu.Lock()
		defer l.mu.Unlock()
		k := l.of[url]
		close(k.flight)
		k.flight = nil
		k.next = now.Add(listAgain)
		defer l.shrink()
		if crl == nil {
			return
		}
		k.crl, k.size, k.next = crl, size, now.Add(listFresh)
		if t := crl.NextUpdate(); t.Before(k.next) {
			k.next = maxTime(t, now.Add(listAgain))
		}
	}()
	if text, err := fetch(ctx, webfetch.CRL, url); err == nil {
		if crl, err = mark.ParseCRL(text); err == nil && !serves(crl) {
			crl, useless = nil, crl
		}
		size = int64(len(text))
	}
	if crl == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if old := l.of[url].crl; old != nil {
			return old
		}
		return useless
	}
	return crl
}

// shrink forgets the lists that were not asked for the longest.
func (l *Lists) shrink() {
	for {
		var octets int64
		oldest := ""
		for url, k := range l.of {
			octets += k.size
			if k.flight == nil && (oldest == "" || k.used.Before(l.of[oldest].used)) {
				oldest = url
			}
		}
		if oldest == "" || len(l.of) <= maxLists && octets <= maxListOctets || len(l.of) == 1 {
			return
		}
		delete(l.of, oldest)
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
