package indicators

import (
	"slices"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
)

// Known is what is in memory about a mark.
type Known struct {
	Domain             dns.Name
	Selector           string
	Location, Evidence string
	Answer             bimi.Answer
	Stale              bool      // the web server gave nothing the last time
	Next               time.Time // when it may be fetched again
}

// Known returns what is in memory, at most so many: the good marks first, and of them those that were asked
// for last.
func (i *Indicators) Known(most int) (all []Known) {
	c := i.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range []*lru{&c.good, &c.bad} {
		for el := l.list.Front(); el != nil && len(all) < most; el = el.Next() {
			e := el.Value.(*entry)
			all = append(all, Known{e.id.domain, e.id.selector, e.id.location, e.id.evidence, e.answer, e.stale, e.next})
		}
	}
	return all
}

// Ends returns when the first root ends, and the first certificate of a mark in memory that is still
// valid. A zero time means that there is none.
func (i *Indicators) Ends() (root, certificate time.Time) {
	for _, c := range i.o.Judge.Marks.Roots {
		root = earlier(root, c.NotAfter)
	}
	now := i.o.Now()
	i.cache.mu.Lock()
	defer i.cache.mu.Unlock()
	for el := i.cache.good.list.Front(); el != nil; el = el.Next() {
		if m := el.Value.(*entry).answer.Mark; m != nil && m.Certified && m.NotAfter.After(now) {
			certificate = earlier(certificate, m.NotAfter)
		}
	}
	return root, certificate
}

// earlier returns the earlier time. The zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// Root is a root to which mark certificates may lead.
type Root struct {
	Name string
	Ends time.Time
}

// Roots returns the roots, the one that ends first in front.
func (j *Judge) Roots() (all []Root) {
	for _, c := range j.Marks.Roots {
		name := c.Subject.CommonName
		if name == "" && len(c.Subject.Organization) > 0 {
			name = c.Subject.Organization[0]
		}
		all = append(all, Root{name, c.NotAfter})
	}
	slices.SortStableFunc(all, func(a, b Root) int { return a.Ends.Compare(b.Ends) })
	return all
}

// Roots returns the roots by which marks are judged.
func (i *Indicators) Roots() []Root { return i.o.Judge.Roots() }

// Size returns how many marks in memory may be shown, and of how many it is known that they may not.
func (i *Indicators) Size() (good, bad int) {
	i.cache.mu.Lock()
	defer i.cache.mu.Unlock()
	return i.cache.good.list.Len(), i.cache.bad.list.Len()
}

// Mark returns a mark in memory, or nil if it is not there or may not be shown.
func (i *Indicators) Mark(q bimi.Query) *bimi.Mark {
	i.cache.mu.Lock()
	defer i.cache.mu.Unlock()
	if el := i.cache.good.of[idOf(q)]; el != nil {
		return el.Value.(*entry).answer.Mark
	}
	return nil
}
