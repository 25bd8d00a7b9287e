package app

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// systemd is told how the daemon is. Without systemd nothing happens.

func notifyReady(log *slog.Logger)    { notify(log, daemon.SdNotifyReady) }
func notifyStopping(log *slog.Logger) { notify(log, daemon.SdNotifyStopping) }

// notifyReloading is followed by notifyReady, whatever came of the reload.
func notifyReloading(log *slog.Logger) {
	notify(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
}

func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd notification", "state", state, "error", err)
	}
}

// watchdog tells systemd again and again that the daemon lives, where the unit
// asks for it.
type watchdog struct {
	log  *slog.Logger
	stop chan struct{}
	done chan struct{}
}

func newWatchdog(log *slog.Logger) *watchdog {
	w := &watchdog{log: log, stop: make(chan struct{}), done: make(chan struct{})}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd watchdog", "error", err)
	}
	go w.feed(interval / 2) // systemd's advice: twice in each interval
	return w
}

func (w *watchdog) feed(every time.Duration) {
	defer close(w.done)
	if every <= 0 {
		<-w.stop
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			notify(w.log, daemon.SdNotifyWatchdog)
		case <-w.stop:
			return
		}
	}
}

// close ends the feeding; it comes after the drain, during which the watchdog
// still expects to hear from us.
func (w *watchdog) close() {
	close(w.stop)
	<-w.done
}
