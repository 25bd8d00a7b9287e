package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sekimori/internal/status"
	"sekimori/internal/topology"
)

// fixes has the line to change for each problem that the daemon notices.
var fixes = map[topology.Kind]string{
	topology.PrivateClients: "Postfix: smtpd_upstream_proxy_protocol or postscreen_upstream_proxy_protocol = haproxy; " +
		"containers: publish the port without source NAT (network_mode: host)",
	topology.AllTrusted:       "sekimori.yaml: trusted: {networks: [...]} (only the site's own networks)",
	topology.NothingEvaluated: "main.cf: smtpd_proxy_filter = (use content_filter, which runs after the milters)",
	topology.ForeignName:      "sekimori.yaml: remove authserv_id, or write the name of the MTA",
	topology.ClockOff:         "systemctl enable --now systemd-timesyncd (or chrony)",
	topology.FewDescriptors:   "systemctl edit sekimori: [Service] LimitNOFILE=65536",
	topology.SocketLost:       "sekimori reload",
	topology.LongMonitor:      "sekimori config set-mode enforce && sekimori reload",
}

// lacksWhy says what it means that an MTA does not offer a feature.
const lacksWhy = "the daemon cannot label, clean or hold mail as configured; the log says which MTA it is"

// CheckSeen returns what is wrong with what the running daemon has seen.
func CheckSeen(s *status.Status) []Finding {
	var found []Finding
	add := func(kind, what, why, fix string) { found = append(found, Finding{AreaDaemon, kind, what, why, fix}) }
	for _, word := range s.Topology {
		kind := topology.Kind(word)
		const newer = "this daemon is newer than this program; its log says more"
		add(word, "the daemon says: "+word, cmp.Or(topology.Advice[kind], newer), cmp.Or(fixes[kind], newer))
	}
	for _, lack := range slices.Sorted(maps.Keys(s.MTALacks)) {
		if n := s.MTALacks[lack]; n > 0 {
			add("mta_lacks", fmt.Sprintf("%d connections came from an MTA without %s", n, lack), lacksWhy,
				"main.cf: milter_protocol = 6; for another MTA see install.md")
		}
	}
	if s.NotReady != "" {
		add("not_ready", "the daemon is not ready: "+s.NotReady, "MTAs cannot reach it", "sekimori reload, then look at the log")
	}
	if !s.Config.LastReloadOK {
		add("reload_refused", "the newest configuration was refused, and the one before it is in effect", "your last change has no effect",
			"sekimori config check (shows line and column)")
	}
	for _, server := range s.DNS.Servers {
		if !server.Up {
			add("server_down", "the daemon gets no answers from the DNS server "+server.Name(),
				"messages wait for it, and if it is the only one they are deferred",
				"sekimori.yaml: dns: {servers: [...]} (without it), or start it")
		}
	}
	return found
}

// judgeMode returns a finding if the configuration file has said "monitor" for a long time.
func judgeMode(monitor bool, changed, now time.Time) []Finding {
	if !monitor || changed.IsZero() || now.Sub(changed) < topology.LongTime {
		return nil
	}
	return []Finding{{
		AreaDaemon, string(topology.LongMonitor),
		fmt.Sprintf("the configuration has had mode: monitor since %s", changed.Format(time.DateOnly)),
		topology.Advice[topology.LongMonitor], fixes[topology.LongMonitor],
	}}
}
