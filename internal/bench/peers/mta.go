package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/postfix"
)

// mainCF is the configuration of a Postfix that asks the given milters about mail from any client
// for mx.example, and then drops the mail. The log goes to a file.
const mainCF = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[2]s
maillog_file = %[1]s/maillog
maillog_file_prefixes = %[1]s
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mx.load.example
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = mx.example
relay_recipient_maps =
relay_transport = discard:
message_size_limit = 52428800
enable_long_queue_ids = yes
in_flow_delay = 0
smtpd_peername_lookup = no
smtpd_upstream_proxy_protocol = haproxy
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_event_limit_exceptions = static:all
smtpd_milters = %[3]s
milter_protocol = 6
milter_default_action = tempfail
`

const masterCF = `
%s inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// mta is a private Postfix in front of the milters of a station.
type mta struct {
	target load.Target
	run    *postfix.Instance
}

// startMTA starts Postfix at a place with the given milters, which are in milterload's notation.
func startMTA(ctx context.Context, p place, milters []string) (*mta, error) {
	address := p.listen(smtpPort)
	dir := filepath.Join(p.dir, "postfix")
	if err := postfix.LayOut(dir, filepath.Join(dir, "mail")); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(mainCF, dir, postfix.Daemons, strings.Join(milters, ", ")), "master.cf": fmt.Sprintf(masterCF, address),
	} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	m := &mta{}
	var err error
	if m.target, err = load.ParseTarget(ctx, address, false); err != nil {
		return nil, err
	}
	if m.run, err = postfix.Start(filepath.Join(dir, "etc")); err != nil {
		return nil, err
	}
	if err := m.ready(ctx, address); err != nil {
		m.stop()
		log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
		return nil, fmt.Errorf("postfix does not answer: %w\n%s", err, log)
	}
	return m, nil
}

// ready waits until Postfix listens.
func (m *mta) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (m *mta) stop() { m.run.Stop() }
