package main

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sekimori/internal/app"
)

// systemd is the supervisor of a daemon that systemd started. For one that
// systemd did not start nothing happens.
type systemd struct{}

// Tell implements app.Supervisor.
func (systemd) Tell(s app.State) error {
	text := string(s)
	if s == app.StateReloading {
		text += "\n" + daemon.SdNotifyMonotonicUsec() // sd_notify(3) asks for it
	}
	_, err := daemon.SdNotify(false, text)
	return err
}

// Watchdog implements app.Supervisor.
func (systemd) Watchdog() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }
