package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/topology"
)

// socket is one entry of the key listen, with its bound listeners.
type socket struct {
	config.Listener
	listeners []net.Listener
	file      fs.FileInfo // the file of a unix socket that this daemon made; nil for other sockets
	closed    atomic.Bool // the daemon itself closes the socket, so an error of its listeners is not a failure
}

// path returns the path of a unix socket's file.
func (s *socket) path() string {
	_, path, _ := strings.Cut(s.Address, ":")
	return path
}

// lost returns an error if MTAs can no longer find the socket, because its file is gone or
// another file has taken its place. It returns nil for a socket that has no file.
func (s *socket) lost() error {
	if s.file == nil {
		return nil
	}
	switch now, err := os.Lstat(s.path()); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the socket file %s is gone, so that no MTA can connect; reload to make it again", s.path())
	case err == nil && !os.SameFile(s.file, now):
		return fmt.Errorf("%s is no longer the socket that this daemon made; stop what took its place, then reload", s.path())
	}
	return nil // any other error of Lstat does not show that the file is gone
}

// step returns the step that Stop undoes to close the socket.
func (s *socket) step() step { return step{"listen " + s.Address, s.close} }

// close closes the listeners and removes the file of a unix socket, unless another file has
// taken its place.
func (s *socket) close() error {
	s.closed.Store(true)
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // if a Serve has returned, the listener is closed already
			errs = append(errs, err)
		}
	}
	if s.file != nil && s.lost() == nil {
		if err := os.Remove(s.path()); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// watchEvery is how often the daemon checks the files of its unix sockets.
const watchEvery = 5 * time.Second

// watchSockets logs unix sockets whose files are lost, until Stop begins. It also looks at how long
// the daemon has been in monitor mode.
func (a *App) watchSockets() {
	var logged []*socket
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			logged = a.logLost(logged)
			a.topology.Set(topology.SocketLost, len(logged) > 0)
			a.topology.Set(topology.LongMonitor, a.monitoring() >= topology.LongTime)
		case <-a.stopped:
			return
		}
	}
}

// monitoring returns how long the daemon has been in monitor mode, or 0 in mode enforce. A reload
// that keeps the mode makes no difference.
func (a *App) monitoring() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.monitorSince.IsZero() {
		return 0
	}
	return a.o.Now().Sub(a.monitorSince)
}

// logLost returns the unix sockets whose files are lost. It logs those that are not in logged.
func (a *App) logLost(logged []*socket) (lost []*socket) {
	a.mu.Lock()
	sockets := a.sockets
	a.mu.Unlock()
	for _, s := range sockets {
		err := s.lost()
		if err == nil {
			continue
		}
		lost = append(lost, s)
		if !slices.Contains(logged, s) {
			a.log.Error("socket lost", "listen", s.Address, "error", err)
		}
	}
	return lost
}

// openSockets binds those addresses of listen that are not bound yet or whose socket file is
// lost. It keeps the other sockets as they are.
func (a *App) openSockets(c *change, listen []config.Listener) error {
	bound := map[config.Listener]*socket{}
	for _, s := range a.sockets {
		bound[s.Listener] = s
	}
	for _, l := range listen {
		s := bound[l]
		if s == nil || s.lost() != nil {
			err := a.begin(&c.steps, "listen "+l.Address, func() (undo func() error, err error) {
				if s, err = a.open(l); err != nil {
					return nil, err
				}
				return s.close, nil
			})
			if err != nil {
				return err
			}
			c.opened = append(c.opened, s)
		}
		c.sockets = append(c.sockets, s)
	}
	return nil
}

// open binds the addresses of one entry of listen.
func (a *App) open(l config.Listener) (*socket, error) {
	listeners, err := sockets.Config{Address: l.Address, Mode: fs.FileMode(l.Mode), Group: string(l.Group), Sockets: a.o.Sockets}.Listen()
	if err != nil {
		return nil, err
	}
	s := &socket{Listener: l, listeners: listeners}
	if scheme, path, _ := strings.Cut(l.Address, ":"); scheme == "unix" || scheme == "local" {
		if s.file, err = os.Lstat(path); err != nil {
			return nil, errors.Join(fmt.Errorf("app: listen %s: %w", l.Address, err), s.close())
		}
		for _, one := range listeners {
			if u, ok := one.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false) // close removes the file, but only if it is still the file of this socket
			}
		}
	}
	return s, nil
}

// serve accepts connections from s in the background. If a listener fails although the daemon
// did not close it, Run ends.
func (a *App) serve(s *socket) {
	for _, l := range s.listeners {
		go func() {
			err := a.server.Serve(l)
			if s.closed.Load() {
				return
			}
			select {
			case a.served <- fmt.Errorf("app: %w", err):
			default: // Run needs only the first error
			}
		}()
	}
}
