package app

import "time"

// tell tells the supervisor the state of the daemon, if there is a supervisor.
func (a *App) tell(s State) {
	if a.o.Supervisor == nil {
		return
	}
	if err := a.o.Supervisor.Tell(s); err != nil {
		a.log.Warn("systemd notification", "state", string(s), "error", err)
	}
}

// watchdog tells the supervisor at intervals that the daemon is alive, if the supervisor wants
// that.
type watchdog struct {
	tell func(State)
	stop chan struct{}
	done chan struct{}
}

func (a *App) newWatchdog() *watchdog {
	w := &watchdog{tell: a.tell, stop: make(chan struct{}), done: make(chan struct{})}
	var interval time.Duration
	if a.o.Supervisor != nil {
		var err error
		if interval, err = a.o.Supervisor.Watchdog(); err != nil {
			a.log.Warn("systemd watchdog", "error", err)
		}
	}
	go w.feed(interval / 2) // systemd advises to send StateAlive twice in each interval
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
			w.tell(StateAlive)
		case <-w.stop:
			return
		}
	}
}

// close ends the watchdog. Run calls it only after Stop, because the supervisor expects
// StateAlive also while the daemon waits for sessions in flight.
func (w *watchdog) close() {
	close(w.stop)
	<-w.done
}
