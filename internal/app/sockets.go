package app

import (
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"

	"sekimori/internal/config"
	"sekimori/internal/milter/sockets"
)

// socket is one entry of the key listen, bound.
type socket struct {
	config.Listener
	listeners []net.Listener
	closed    atomic.Bool // by us
}

func (s *socket) close() {
	s.closed.Store(true)
	for _, l := range s.listeners {
		_ = l.Close() // Serve may have closed it
	}
}

// openSockets binds the addresses of listen that are not bound yet and takes
// over the others.
func (a *App) openSockets(c *change, listen []config.Listener) error {
	bound := map[config.Listener]*socket{}
	for _, s := range a.sockets {
		bound[s.Listener] = s
	}
	for _, l := range listen {
		s := bound[l]
		if s == nil {
			listeners, err := sockets.Config{Address: l.Address, Mode: fs.FileMode(l.Mode), Group: string(l.Group), Sockets: a.systemd}.Listen()
			if err != nil {
				return err
			}
			s = &socket{Listener: l, listeners: listeners}
			c.opened = append(c.opened, s)
		}
		c.sockets = append(c.sockets, s)
	}
	return nil
}

// serve takes connections from s in the background. A listener that fails
// while it is wanted ends the daemon.
func (a *App) serve(s *socket) {
	for _, l := range s.listeners {
		go func() {
			err := a.server.Serve(l)
			if s.closed.Load() {
				return
			}
			select {
			case a.served <- fmt.Errorf("app: %w", err):
			default: // one is enough
			}
		}()
	}
}
