// Package consent says which recipients agreed that verdicts are acted on: by
// a file of exceptions, by a socketmap as Postfix speaks it, else by a
// default.
//
// A lookup that fails counts as opted out: where secrecy of communications
// protects a recipient, doing nothing is the only safe answer. Addresses are
// compared whole and without case, in the local part too: no MTA in use tells
// Taro@ from taro@, and an opted out recipient must not be missed for it.
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

// Where an answer came from, for Options.Count.
const (
	SourceAddress   = "address" // no address to look up
	SourceFile      = "file"
	SourceCache     = "cache"
	SourceSocketmap = "socketmap"
	SourceDefault   = "default"
)

// ResultFailed is counted for a failed lookup, which answers policy.Out; other
// results are the classes.
const ResultFailed = "failed"

// MapName names the file in metrics of maps.
const MapName = "recipients"

// Options are what the operator set.
type Options struct {
	Default policy.Class // of recipients nothing is known of
	// File is the path of the exceptions, which have the other class; "" is
	// none.
	File string
	// Socketmap is "unix:/path:NAME" or "inet:host:port:NAME"; "" is none.
	Socketmap string
	Timeout   time.Duration // of one lookup
	CacheTTL  time.Duration // an answer of the socketmap is kept; 0 keeps none

	Logger *slog.Logger // of failures; nil: none
	// Count is told of every answer: the source and the class or ResultFailed.
	// Loaded is told of every load of the file. Both may be nil.
	Count  func(source, result string)
	Loaded func(at time.Time, err error)
	// OnPanic is told of a bug during a lookup, which then fails. May be nil.
	OnPanic func(recovered any)
}

// Directory answers for recipients. Its methods may be called from many
// goroutines at once. Close ends it.
type Directory struct {
	o    Options
	list atomic.Pointer[list]
	ask  *socketmap // nil: there is none
	seen *cache
}

// New reads the file, which must be readable. The socketmap is connected to
// when it is first asked.
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

// Reload reads the file again. On an error, which names file and line, the
// list of before stays in use.
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

// Known returns the class of a recipient where nobody has to be asked. typed
// is the argument of RCPT; rewritten is the address the MTA made of it, which
// is preferred where it has a domain, "" if the MTA does not tell.
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

// Lookup asks the socketmap where Known does not know. It returns when ctx
// ends or Options.Timeout has passed.
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

// Close closes the connections to the socketmap. Lookups after it fail.
func (d *Directory) Close() {
	if d.ask != nil {
		d.ask.close()
	}
}

func (d *Directory) answer(source string, c policy.Class) policy.Class {
	d.count(source, string(c))
	return c
}

func (d *Directory) count(source, result string) {
	if d.o.Count != nil {
		d.o.Count(source, result)
	}
}

func other(c policy.Class) policy.Class {
	if c == policy.In {
		return policy.Out
	}
	return policy.In
}

// recipient is an address in the form in which it is compared.
type recipient struct {
	key    string // lower case, domain in A-labels, no quotes: user@example.jp, @example.jp without a local part
	domain string // "@example.jp", "" for a local part alone
}

// parse chooses between the two forms of an address. The MTA's own tells where
// the mail goes when the client typed a route, user%there@here or no domain.
// Sendmail's is a local part alone for local mail: then what was typed says
// more.
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
		s = s[:len(s)-len(inner)] + `""` + inner // MTAs take it: nobody in particular at the domain
	}
	p, err := mailaddr.ParsePath(s)
	if err != nil || p.Null || p.Local == "" && p.Domain == "" {
		return recipient{}, false
	}
	domain := string(p.Domain)
	if domain == "" {
		domain = strings.ToLower(p.DomainRaw) // a literal, or none
	}
	r := recipient{key: strings.ToLower(p.Local)}
	if domain != "" {
		r.domain = "@" + domain
		r.key += r.domain
	}
	return r, true
}

// withoutControls replaces what no address may have, but MTAs let pass, by U+FFFD:
// control characters, and octets that are not UTF-8. Postfix delivers mail for
// user+\x01@ to the user, and the user must not count as opted out for it. A NUL
// stays and is an error: what the MTA sends ends there.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r != 0 && r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
