package app

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor tells systemd how the daemon is. Without systemd it does nothing.
type supervisor struct {
	log  *slog.Logger
	stop chan struct{}
	done chan struct{}
}

// newSupervisor begins to feed the watchdog where the unit asks for it.
func newSupervisor(log *slog.Logger) *supervisor {
	s := &supervisor{log: log, stop: make(chan struct{}), done: make(chan struct{})}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd watchdog", "error", err)
	}
	go s.feed(interval / 2) // systemd's advice: twice in each interval
	return s
}

func (s *supervisor) feed(every time.Duration) {
	defer close(s.done)
	if every <= 0 {
		<-s.stop
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.notify(daemon.SdNotifyWatchdog)
		case <-s.stop:
			return
		}
	}
}

func (s *supervisor) ready()    { s.notify(daemon.SdNotifyReady) }
func (s *supervisor) stopping() { s.notify(daemon.SdNotifyStopping) }

// close ends the feeding; it comes after the drain, during which the watchdog
// still expects to hear from us.
func (s *supervisor) close() {
	close(s.stop)
	<-s.done
}

func (s *supervisor) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd notification", "state", state, "error", err)
	}
}
