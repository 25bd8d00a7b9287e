// Package consent says which recipients agreed that verdicts are acted on. It
// looks into a file of exceptions first, then asks a socketmap (the protocol of
// Postfix), and else takes a default.
//
// A lookup that fails counts as opted out: if the secrecy of communications
// protects a recipient, doing nothing is the only safe answer. Addresses are
// compared whole and without case, in the local part too. No MTA in use tells
// Taro@ from taro@, and a difference in case must not make us miss a recipient
// who opted out.
package consent

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"sekimori/internal/mailaddr"
	"sekimori/internal/policy"
)

// These say where an answer came from, for Options.Count.
const (
	SourceAddress   = "address" // the recipient is not an address that can be looked up
	SourceFile      = "file"
	SourceCache     = "cache"
	SourceSocketmap = "socketmap"
	SourceDefault   = "default"
)

// ResultFailed is the result of a failed lookup, which answers policy.Out. The
// other results are the classes.
const ResultFailed = "failed"

// MapName names the file in the metrics.
const MapName = "recipients"

// Options configure a Directory.
type Options struct {
	Default policy.Class // the class of recipients that neither the file nor the socketmap knows
	// File is the path of the exceptions: recipients listed there have the
	// other class. "" is no file.
	File string
	// Socketmap is "unix:/path:NAME" or "inet:host:port:NAME"; "" is no
	// socketmap.
	Socketmap string
	Timeout   time.Duration // of one lookup
	CacheTTL  time.Duration // how long an answer of the socketmap is kept; 0 keeps none

	Logger *slog.Logger // logs failures; nil logs nothing
	// Count is called for every answer, with its source and the class or
	// ResultFailed. Loaded is called whenever the file was read. Both may be
	// nil.
	Count  func(source, result string)
	Loaded func(at time.Time, err error)
	// OnPanic is called if a bug ends a lookup, which then fails. It may be
	// nil.
	OnPanic func(recovered any)
}

// Directory says which class a recipient has. Its methods may be called from
// many goroutines at once. Close ends it.
type Directory struct {
	o    Options
	list atomic.Pointer[list]
	ask  *socketmap // nil if no socketmap is configured
	seen *cache
}

// New returns a Directory. It fails if the file cannot be read. It connects to
// the socketmap only when the first recipient is asked for.
func New(o Options) (*Directory, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	seen, err := newCache(o.CacheTTL)
	if err != nil {
		return nil, err
	}
	d := &Directory{o: o, seen: seen}
	if o.Socketmap != "" {
		target, err := ParseSocketmap(o.Socketmap)
		if err != nil {
			return nil, err
		}
		d.ask = newSocketmap(target, o.Timeout, o.Logger)
	}
	if err := d.Reload(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Reload reads the file again. If that fails, the earlier list stays in use;
// the error names the file and the line.
func (d *Directory) Reload() error {
	if d.o.File == "" {
		return nil
	}
	l, err := loadFile(d.o.File)
	if err == nil {
		d.list.Store(l)
	}
	if d.o.Loaded != nil {
		d.o.Loaded(time.Now(), err)
	}
	return err
}

// Known returns the class of a recipient if the socketmap need not be asked.
// typed is the argument of RCPT. rewritten is the address that the MTA made of
// it, or "" if the MTA does not tell; it is preferred if it has a domain.
func (d *Directory) Known(typed, rewritten string) (c policy.Class, ok bool) {
	r, ok := parse(typed, rewritten)
	if !ok {
		d.count(SourceAddress, ResultFailed)
		return policy.Out, true
	}
	if d.list.Load().has(r) {
		return d.answer(SourceFile, other(d.o.Default)), true
	}
	if d.ask == nil {
		return d.answer(SourceDefault, d.o.Default), true
	}
	if c, ok = d.seen.get(r.key); ok {
		return d.answer(SourceCache, c), true
	}
	return "", false
}

// Lookup returns the class of a recipient, and asks the socketmap if Known does
// not know it. It returns when ctx ends or Options.Timeout has passed.
func (d *Directory) Lookup(ctx context.Context, typed, rewritten string) (c policy.Class) {
	defer func() {
		if p := recover(); p != nil {
			if d.o.OnPanic != nil {
				d.o.OnPanic(p)
			}
			d.count(SourceSocketmap, ResultFailed)
			c = policy.Out
		}
	}()
	if c, ok := d.Known(typed, rewritten); ok {
		return c
	}
	r, _ := parse(typed, rewritten)
	c, found, err := d.ask.lookup(ctx, r.key)
	switch {
	case err != nil:
		d.count(SourceSocketmap, ResultFailed)
		return policy.Out
	case !found:
		d.seen.put(r.key, d.o.Default)
		return d.answer(SourceDefault, d.o.Default)
	}
	d.seen.put(r.key, c)
	return d.answer(SourceSocketmap, c)
}

// Close closes the connections to the socketmap. Later lookups fail.
func (d *Directory) Close() {
	if d.ask != nil {
		d.ask.close()
	}
}

// answer counts an answer and returns it.
func (d *Directory) answer(source string, c policy.Class) policy.Class {
	d.count(source, string(c))
	return c
}

func (d *Directory) count(source, result string) {
	if d.o.Count != nil {
		d.o.Count(source, result)
	}
}

// other returns the class that is not c.
func other(c policy.Class) policy.Class {
	if c == policy.In {
		return policy.Out
	}
	return policy.In
}

// recipient is an address in the form in which it is compared.
type recipient struct {
	// key is in lower case, with the domain in A-labels and without quotes:
	// user@example.jp, or @example.jp without a local part.
	key    string
	domain string // "@example.jp", "" for a local part alone
}

// parse returns the recipient by the better of two forms. If the client typed a
// route, user%there@here or an address without a domain, the MTA's form tells
// where the mail goes. For local mail Sendmail's form is only a local part, and
// then the typed form says more.
func parse(typed, rewritten string) (recipient, bool) {
	if strings.Contains(rewritten, "@") {
		if r, ok := parseAddress(rewritten); ok {
			return r, true
		}
	}
	return parseAddress(typed)
}

func parseAddress(s string) (recipient, bool) {
	s = withoutControls(s)
	if inner := strings.TrimPrefix(s, "<"); strings.HasPrefix(inner, "@") && !strings.Contains(inner, ":") {
		s = s[:len(s)-len(inner)] + `""` + inner // MTAs accept an empty local part, which we read as ""@domain
	}
	p, err := mailaddr.ParsePath(s)
	if err != nil || p.Null || p.Local == "" && p.Domain == "" {
		return recipient{}, false
	}
	domain := string(p.Domain)
	if domain == "" {
		domain = strings.ToLower(p.DomainRaw) // an address literal, or no domain
	}
	r := recipient{key: strings.ToLower(p.Local)}
	if domain != "" {
		r.domain = "@" + domain
		r.key += r.domain
	}
	return r, true
}

// withoutControls replaces control characters and octets that are not UTF-8 by
// U+FFFD. No address may have them, but MTAs let them pass: Postfix delivers
// mail for user+\x01@ to the user, and the user must not count as opted out
// because of it. A NUL stays and leads to an error, because the MTA's text ends
// at it.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r != 0 && r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
