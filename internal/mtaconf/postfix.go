// Package mtaconf reads the configuration of Postfix and of Sendmail, as far as it concerns milters.
// It changes nothing. It returns plain values, so the code that judges them needs no MTA.
package mtaconf

import (
	"path"
	"strings"
)

// Postfix is the configuration of an instance of Postfix.
type Postfix struct {
	Dir string // the configuration directory, or "" for the default one
	// Params has every parameter of main.cf and its value, also the parameters that have their
	// default. References to other parameters ($name) are replaced.
	Params map[string]string
	// Set has only the parameters that are in main.cf. The values are as they were written.
	Set      map[string]string
	Services []Service // the entries of master.cf, in their order
	// Warnings are what postconf said, such as that a parameter of main.cf is not used.
	Warnings []string
}

// Service is an entry of master.cf.
type Service struct {
	Name string // such as "smtp" or "127.0.0.1:10025"
	Type string // such as "inet", "unix" or "pass"
	// Chroot is the column "chroot" as it was written: "y", "n", or "-" for the default.
	Chroot string
	// MaxProc is the column "maxproc" as it was written: a number, or "-" for the default.
	MaxProc string
	Command string // the program, such as "smtpd"
	// Options has the parameters that the entry sets by "-o". References are replaced.
	Options map[string]string
}

// Label returns the name and type of s in the form that "postconf -P" uses, such as "smtp/inet".
func (s *Service) Label() string { return s.Name + "/" + s.Type }

// ParsePostfix reads the output of "postconf -x", "postconf -n", "postconf -M" and "postconf -Px".
// Lines that are not understood are ignored.
func ParsePostfix(params, set, services, options string) *Postfix {
	p := &Postfix{Params: assignments(params), Set: assignments(set)}
	for line := range strings.Lines(services) {
		if s, ok := parseService(line); ok {
			p.Services = append(p.Services, s)
		}
	}
	for name, value := range assignments(options) {
		at := strings.LastIndexByte(name, '/')
		if at < 0 {
			continue
		}
		for i := range p.Services {
			if s := &p.Services[i]; s.Label() == name[:at] {
				s.Options[name[at+1:]] = value
			}
		}
	}
	return p
}

// assignments reads lines of the form "name = value".
func assignments(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// columns is the number of columns of master.cf: service, type, private, unpriv, chroot, wakeup,
// maxproc and command.
const columns = 8

func parseService(line string) (Service, bool) {
	f := strings.Fields(line)
	if len(f) < columns || strings.HasPrefix(f[0], "#") {
		return Service{}, false
	}
	return Service{Name: f[0], Type: f[1], Chroot: f[4], MaxProc: f[6], Command: path.Base(f[7]), Options: map[string]string{}}, true
}

// Value returns the value of a parameter for a service. It is the value in the service's entry in
// master.cf, or else the value in main.cf, or else the default.
func (p *Postfix) Value(s *Service, name string) string {
	if s != nil {
		if v, ok := s.Options[name]; ok {
			return v
		}
	}
	return p.Params[name]
}

// SMTPD returns the services that run smtpd, in the order of master.cf.
func (p *Postfix) SMTPD() []*Service {
	var out []*Service
	for i := range p.Services {
		if p.Services[i].Command == "smtpd" {
			out = append(out, &p.Services[i])
		}
	}
	return out
}

// Service returns the service with this name and type, or nil.
func (p *Postfix) Service(name, kind string) *Service {
	for i := range p.Services {
		if s := &p.Services[i]; s.Name == name && s.Type == kind {
			return s
		}
	}
	return nil
}

// Chrooted reports whether the service runs in the queue directory as its root directory. If the
// column in master.cf is "-", Postfix decides by compatibility_level: the service is chrooted if the
// level is below 1.
func (p *Postfix) Chrooted(s *Service) bool {
	switch s.Chroot {
	case "y":
		return true
	case "n":
		return false
	}
	level := strings.TrimSpace(p.Params["compatibility_level"])
	return level == "" || level == "0" || strings.HasPrefix(level, "0.")
}

// File returns the path of the milter's unix socket as a process outside of Postfix has to write
// it. It returns "" for a milter that is reached by TCP. Postfix's processes work in the queue
// directory, so a relative path is below that directory even without chroot.
func (p *Postfix) File(s *Service, m Milter) string {
	switch {
	case m.Network != "unix":
		return ""
	case s != nil && p.Chrooted(s), !path.IsAbs(m.Address):
		return path.Join(p.Params["queue_directory"], m.Address)
	}
	return path.Clean(m.Address)
}
