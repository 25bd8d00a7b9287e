package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"sekimori/internal/admin"
)

// adminEnv is the environment variable for the URL of the admin address. The list of processes
// shows a password in a flag, but not one in the environment.
const adminEnv = "SEKIMORI_ADMIN"

// adminFlags are the flags that tell a command how to reach the running daemon.
type adminFlags struct{ url, config string }

func (a *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.url, "admin", "", "URL of the daemon's admin address, such as http://127.0.0.1:8892; "+
		"else "+adminEnv+" in the environment, else the configuration's admin.listen")
	cmd.Flags().StringVar(&a.config, "config", defaultConfig, "configuration file")
}

// client returns a client for the admin address.
func (a *adminFlags) client(cmd *cobra.Command) (*admin.Client, error) {
	url := a.url
	if url == "" {
		url = os.Getenv(adminEnv)
	}
	if url == "" {
		cfg, err := loadOptional(a.config, cmd.Flags().Changed("config"))
		if err != nil {
			return nil, err
		}
		switch {
		case cfg.Admin.Listen == "":
			return nil, errors.New("admin.listen is empty, so that nothing can be asked; set it, or write --admin URL")
		case cfg.Admin.WebConfig != "":
			return nil, fmt.Errorf("admin.web_config protects the admin address; "+
				"write --admin https://NAME:PASSWORD@HOST:PORT, or put that into %s", adminEnv)
		}
		url = "http://" + reachable(cfg.Admin.Listen)
	}
	return admin.NewClient(url)
}

// reachable turns an address to listen on into an address to connect to: a wildcard address
// becomes the loopback address.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	addr, err := netip.ParseAddr(host)
	if host == "" || err == nil && addr.IsUnspecified() && addr.Is4() {
		host = "127.0.0.1"
	} else if err == nil && addr.IsUnspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
