// Package consent says which recipients agreed that verdicts are enforced. It
// first looks into a file of exceptions. If the file does not list the
// recipient, it asks a server in the socketmap protocol of Postfix. If the
// server does not know the recipient, the default applies.
//
// If a lookup fails, the recipient counts as opted out. The secrecy of
// communications may protect the recipient, and then the only safe answer is
// not to enforce the verdict. Addresses are compared as a whole, and without
// regard to case, even in the local part. Hardly any site distinguishes Taro@
// from taro@, and a difference in case must not make us miss a recipient who
// opted out.
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

// The sources of an answer, for Options.Count.
const (
	SourceAddress   = "address" // the recipient is not an address that can be looked up
	SourceFile      = "file"
	SourceCache     = "cache"
	SourceSocketmap = "socketmap"
	SourceDefault   = "default"
)

// ResultFailed is the result that Options.Count gets for a failed lookup, for
// which the answer is policy.Out. The other results are the classes.
const ResultFailed = "failed"

// MapName is the name of the file of exceptions in the metrics.
const MapName = "recipients"

// Options configure a Directory.
type Options struct {
	Default policy.Class // the class of recipients who are not listed in the file and not known to the socketmap
	// File is the path of the file of exceptions, or "". The recipients that it
	// lists have the class that is not the default.
	File string
	// Socketmap is the address of the socketmap, "unix:/path:NAME" or
	// "inet:host:port:NAME", or "".
	Socketmap string
	Timeout   time.Duration // time after which a lookup fails
	CacheTTL  time.Duration // how long an answer of the socketmap is kept; 0 for not at all

	Logger *slog.Logger // for failures of the socketmap; may be nil
	// Count is called for every answer. source is one of the Source constants,
	// and result is the class or ResultFailed. Loaded is called each time the
	// file was read; err says why that failed, or is nil. Count and Loaded may
	// be nil.
	Count  func(source, result string)
	Loaded func(at time.Time, err error)
	// OnPanic is called if a lookup panics. The lookup then counts as failed.
	// OnPanic may be nil.
	OnPanic func(recovered any)
}

// Directory says which class a recipient has. Its methods may be called from
// many goroutines at once. Close must be called when it is no longer used.
type Directory struct {
	o    Options
	list atomic.Pointer[list]
	ask  *socketmap // nil if no socketmap is configured
	seen *cache
}

// New returns a Directory. It returns an error if the file cannot be read. It
// does not connect to the socketmap yet; the first lookup that needs the
// socketmap does so.
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
		return nil, err // no connection is open yet
	}
	return d, nil
}

// Reload reads the file again. If that fails, the list that was read before
// stays in use. The error names the file, and the line if one is wrong.
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

// Known returns the class of a recipient without asking the socketmap. ok is
// false if that is not possible. `typed` is the argument of RCPT. `rewritten`
// is the address into which the MTA rewrote `typed`, or "" if the MTA does not
// give it. If `rewritten` contains "@" and is a valid address, it is used
// instead of `typed`.
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

// Lookup returns the class of a recipient like Known, and asks the socketmap if
// necessary. It does not wait after ctx has ended or Options.Timeout has
// passed.
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

// Close closes the connections to the socketmap. Later lookups that need the
// socketmap fail.
func (d *Directory) Close() {
	if d.ask != nil {
		d.ask.close()
	}
}

// answer calls Options.Count and returns c.
func (d *Directory) answer(source string, c policy.Class) policy.Class {
	d.count(source, string(c))
	return c
}

func (d *Directory) count(source, result string) {
	if d.o.Count != nil {
		d.o.Count(source, result)
	}
}

// other returns the opposite class of c.
func other(c policy.Class) policy.Class {
	if c == policy.In {
		return policy.Out
	}
	return policy.In
}

// recipient is an address in the normal form in which addresses are compared.
type recipient struct {
	// key is the address without quotes, in lower case, with the domain in
	// A-labels: user@example.jp. If the local part is empty, it is @example.jp;
	// if there is no domain, it is user.
	key    string
	domain string // "@example.jp", or "" if the address has no domain
}

// parse returns the recipient, or false if the address is not valid. It uses
// `rewritten` if that contains "@" and is valid, otherwise `typed`. If the
// client typed a route, user%there@here or an address without a domain, only
// `rewritten` says where the mail goes. For local mail, Sendmail rewrites the
// address to a local part alone; then parse uses `typed`.
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
		s = s[:len(s)-len(inner)] + `""` + inner // MTAs accept an address with an empty local part; mailaddr needs quotes for it
	}
	p, _ := mailaddr.ParsePath(s)
	if p.Local == "" && p.Domain == "" { // a null path, or text that is not a path
		return recipient{}, false
	}
	domain := string(p.Domain)
	if domain == "" {
		domain = strings.ToLower(p.DomainRaw) // the domain is an address literal, or there is none
	}
	r := recipient{key: strings.ToLower(p.Local)}
	if domain != "" {
		r.domain = "@" + domain
		r.key += r.domain
	}
	return r, true
}

// withoutControls replaces control characters and octets that are not UTF-8 by
// U+FFFD. An address must not contain them, but MTAs accept them. For example,
// Postfix delivers mail for user+\x01@ to the user, and such an address must
// not fail and count as opted out. NUL and tab are kept and lead to an error.
// (At a NUL, the text that the MTA sends us ends.)
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r != 0 && r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
