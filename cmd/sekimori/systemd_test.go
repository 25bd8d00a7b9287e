package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/app"
)

// TestSystemd checks that the states of the daemon reach systemd's socket in the form of
// sd_notify(3), and that systemd's watchdog interval is read.
func TestSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := (systemd{}).Tell(app.StateReady); err != nil {
		t.Errorf("without systemd: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	for state, want := range map[app.State]string{
		app.StateReady: "READY=1", app.StateStopping: "STOPPING=1", app.StateAlive: "WATCHDOG=1", app.StateReloading: "RELOADING=1\nMONOTONIC_USEC=",
	} {
		if err := (systemd{}).Tell(state); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		n, err := conn.Read(buf)
		if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, want) || state != app.StateReloading && got != want {
			t.Errorf("%s: %q, want %q (%v)", state, got, want, err)
		}
	}
	t.Setenv("WATCHDOG_USEC", "30000000")
	if every, err := (systemd{}).Watchdog(); err != nil || every != 30*time.Second {
		t.Errorf("watchdog: %s, %v", every, err)
	}
}
