package main

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sekimori/internal/app"
)

// systemd is the app.Supervisor that reports to systemd. If systemd did not start the process,
// its methods do nothing.
type systemd struct{}

// Tell implements app.Supervisor.
func (systemd) Tell(s app.State) error {
	text := string(s)
	if s == app.StateReloading {
		text += "\n" + daemon.SdNotifyMonotonicUsec() // sd_notify(3) requires this with RELOADING=1
	}
	_, err := daemon.SdNotify(false, text)
	return err
}

// Watchdog implements app.Supervisor.
func (systemd) Watchdog() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }
