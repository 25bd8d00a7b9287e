package setup

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sekimori/internal/testkit/loopback"
	"sekimori/internal/testkit/mta"
)

func TestThisHost(t *testing.T) {
	h := ThisHost()
	self, err := os.Executable()
	if err != nil || h.Self != self || h.State != "/etc/sekimori/setup" || h.Booted != "/run/systemd/system" ||
		strings.Join(h.UnitDirs, " ") != "/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system" {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestUnits: the first sekimori.socket counts, and in each directory of drop-ins a file of a more
// important directory hides those of the same name.
func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string // in the directories 0 to 2; "/" at the end makes a directory
		dirs  []string
		want  string
		fails bool
	}{
		{name: "nothing"},
		{name: "drop-ins alone", files: []string{"0/sekimori.socket.d/a.conf"}},
		{name: "the first", files: []string{"1/sekimori.socket", "2/sekimori.socket"}, want: "1/sekimori.socket"},
		{name: "drop-ins in the order of their names", files: []string{"2/sekimori.socket", "0/sekimori.socket.d/c.conf", "1/sekimori.socket.d/b.conf",
			"2/sekimori.socket.d/a.conf", "2/sekimori.socket.d/c.conf", "2/sekimori.socket.d/b.conf", "0/sekimori.socket.d/a.txt"},
			want: "2/sekimori.socket 2/sekimori.socket.d/a.conf 1/sekimori.socket.d/b.conf 0/sekimori.socket.d/c.conf"},
		{name: "a unit that cannot be read", files: []string{"0/sekimori.socket/", "1/sekimori.socket"}, fails: true},
		{name: "a drop-in that cannot be read", files: []string{"0/sekimori.socket", "1/sekimori.socket.d/a.conf/"}, fails: true},
		{name: "a directory with a bad name", files: []string{"0/sekimori.socket"}, dirs: []string{"["}, fails: true},
	} {
		root := t.TempDir()
		h := Host{UnitDirs: append([]string{filepath.Join(root, "0"), filepath.Join(root, "1"), filepath.Join(root, "2")}, tt.dirs...)}
		for _, file := range tt.files {
			if strings.HasSuffix(file, "/") {
				if err := os.MkdirAll(filepath.Join(root, file), 0o755); err != nil {
					t.Fatal(err)
				}
				continue
			}
			write(t, filepath.Join(root, file), "text of "+file, 0o644)
		}
		units, err := h.units()
		if (err != nil) != tt.fails {
			t.Errorf("%s: error %v", tt.name, err)
		}
		var got []string
		for _, u := range units {
			file := strings.TrimPrefix(u.Path, root+"/")
			if string(u.Text) != "text of "+file {
				t.Errorf("%s: %s has %q", tt.name, file, u.Text)
			}
			got = append(got, file)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestReadDaemon reads the configuration, the units, and whether systemd runs.
func TestReadDaemon(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sekimori.yaml")
	h := Host{UnitDirs: []string{filepath.Join(dir, "units"), dir}, Booted: filepath.Join(dir, "booted")}
	if _, err := h.ReadDaemon(context.Background(), file, false); err == nil {
		t.Error("no configuration, and no error")
	}
	write(t, file, "mode: neither\n", 0o600)
	if _, err := h.ReadDaemon(context.Background(), file, false); err == nil {
		t.Error("no valid configuration, and no error")
	}
	text := "listen: [\"systemd:milter\"]\nmode: monitor\n"
	write(t, file, text, 0o600)
	write(t, filepath.Join(dir, "sekimori.socket"), socketText, 0o600)
	for _, booted := range []bool{false, true} {
		if booted {
			write(t, h.Booted, "", 0o600)
		}
		d, err := h.ReadDaemon(context.Background(), file, false)
		if err != nil || d.Path != file || string(d.Text) != text || d.Systemd != booted || d.Taken != nil || d.KeepTrusted ||
			d.DropIns != filepath.Join(dir, "units", "sekimori.socket.d") || len(d.Units) != 1 || string(d.Units[0].Text) != socketText {
			t.Errorf("%+v, %v", d, err)
		}
		if all, systemd := d.listeners(); !systemd || !slices.Equal(all, []Endpoint{{"unix", "/run/sekimori/milter.sock"}}) {
			t.Errorf("listens at %v, by systemd %v", all, systemd)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "units"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "units", "sekimori.socket"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReadDaemon(context.Background(), file, false); err == nil {
		t.Error("a unit that cannot be read, and no error")
	}
}

// postconf puts a program postconf into PATH that prints these parameters, whatever it is asked.
func postconf(t *testing.T, lines string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "out"), lines, 0o644)
	write(t, filepath.Join(dir, "postconf"), "#!/bin/sh\necho \"$*\" >>"+filepath.Join(dir, "asked")+"\ncat "+filepath.Join(dir, "out")+"\n", 0o755)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestReadPostfixFails asks a postconf whose answers do not fit this host.
func TestReadPostfixFails(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), "x = y\n", 0o644)
	owner := "config_directory = " + dir + "\nqueue_directory = " + dir + "\nmail_owner = "
	for _, tt := range []struct{ name, params, dir, want string }{
		{"no main.cf", "config_directory = /none\nmail_owner = root\n", "", "open /none/main.cf: no such file or directory"},
		{"no such owner", owner + "nobody-has-this-name\n", "", "setup: mail_owner: user: unknown user nobody-has-this-name"},
		{"the default instance", owner + "root\n", "", ""},
		{"another instance", owner + "root\nsmtpd_milters = { unbalanced\n", dir, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			postconf(t, tt.params)
			p, err := Host{}.ReadPostfix(context.Background(), tt.dir)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || p.Default != (tt.dir == "") || p.ConfigDir != dir || p.Group != "root" || p.Running || len(p.Silent) > 0 || string(p.Main) != "x = y\n" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	failing := t.TempDir()
	write(t, filepath.Join(failing, "postconf"), "#!/bin/sh\nexit 1\n", 0o755)
	t.Setenv("PATH", failing+":"+os.Getenv("PATH"))
	if _, err := (Host{}).ReadPostfix(context.Background(), ""); err == nil {
		t.Error("postconf failed, and there is no error")
	}
}

// TestSilent: a milter is silent if it has a TCP address of this host at which no program listens.
func TestSilent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go mta.Answer(ln)
	open, closed := ln.Addr().String(), loopback.Address(t)
	_, port, _ := net.SplitHostPort(closed)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // so that no address of another host is really asked
	for _, tt := range []struct {
		value string
		ctx   context.Context
		want  []string
	}{
		{"", context.Background(), nil},
		{"{ inet:" + closed, context.Background(), nil},
		{"inet:" + open + " { inet:" + closed + ", protocol=6 } inet:" + port + "@localhost unix:/none", context.Background(), []string{"inet:" + closed, "inet:" + port + "@localhost"}},
		{"inet:192.0.2.1:1 inet:[2001:db8::1]:1 inet:host.example:1 unix:[::1]:5 inet6:[::1]:1 inet:127.9.9.9:1", ctx, []string{"inet6:[::1]:1", "inet:127.9.9.9:1"}},
	} {
		if got := silent(tt.ctx, tt.value); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func TestReadSendmail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sendmail.mc")
	s, err := Host{}.ReadSendmail(file)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "--mc") || s.Path != "" {
		t.Errorf("%+v, %v", s, err)
	}
	write(t, file, "dnl\n", 0o644)
	if s, err := (Host{}).ReadSendmail(file); err != nil || s.Path != file || string(s.Text) != "dnl\n" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestReachable: a program on this host connects to a wildcard address by the loopback address.
func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"25": "127.0.0.1:25", ":25": "127.0.0.1:25", "*:25": "127.0.0.1:25", "LocalHost:25": "127.0.0.1:25", "0.0.0.0:25": "127.0.0.1:25",
		"[::]:25": "[::1]:25", "[2001:DB8::1]:25": "[2001:db8::1]:25", "192.0.2.1:25": "192.0.2.1:25", "MX.example:25": "mx.example:25",
	} {
		if got := reachable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestUnitLines: which lines of a unit count, and who may connect then.
func TestUnitLines(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "[] group  mode 0666 from "},
		{"ListenStream=/early\nSocketMode=0600\n", "[] group  mode 0666 from "},
		{"[Socket]\nListenStream=/a\nSocketMode=0660\nSocketGroup=g\nListenStream\nSocketMode\nSocketGroup\n", "[/a] group g mode 0660 from /u"},
		{"[Socket]\nSocketGroup = g \n;SocketMode=0600\n#SocketMode=0600\n", "[] group g mode 0666 from /u"},
		{"[Socket]\nListenStream=/a\n[Unit]\nSocketMode=0600\nListenStream=/b\n[Socket]\nListenStream=/c\nListenDatagram=/d\n", "[/a /c] group  mode 0666 from "},
		{"[Socket]\nListenStream=/a\nListenStream=\nListenStream=/b\nSocketMode=\nSocketUser=x\n", "[/b] group  mode  from "},
	} {
		s := readUnits([]Unit{{Path: "/u", Text: []byte(tt.text)}})
		if got := "[" + strings.Join(s.streams, " ") + "] group " + s.group + " mode " + s.mode + " from " + s.groupFrom; got != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
	for _, tt := range []struct {
		mode, group string
		want        bool
	}{{"", "g", false}, {"0666", "x", true}, {"0667", "x", true}, {"0665", "x", false}, {"0660", "g", true}, {"0660", "x", false}} {
		if got := (socketUnit{mode: tt.mode, group: "g"}).open(tt.group); got != tt.want {
			t.Errorf("mode %q, group %s: %v", tt.mode, tt.group, got)
		}
	}
}

// TestMayConnectAsGroup: a process of a group opens a socket if others may write it, or if it has that
// group and the group may write it.
func TestMayConnectAsGroup(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s")
	write(t, file, "", 0o600)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	own, other := groupsFor(t, info)
	for _, tt := range []struct {
		e     Endpoint
		mode  os.FileMode
		group string
		want  string
	}{
		{Endpoint{"tcp", "127.0.0.1:1"}, 0o600, "nobody-has-this-group", ""},
		{Endpoint{"unix", file}, 0o600, "", ""},
		{Endpoint{"unix", file}, 0o600, "nobody-has-this-group", "setup: group: unknown group nobody-has-this-group"},
		{Endpoint{"unix", filepath.Join(dir, "none")}, 0o600, own, "setup: stat " + filepath.Join(dir, "none") + ": no such file or directory"},
		{Endpoint{"unix", file}, 0o660, own, ""},
		{Endpoint{"unix", file}, 0o620, own, ""},
		{Endpoint{"unix", file}, 0o640, own, "(mode 640, group "},
		{Endpoint{"unix", file}, 0o660, other, "setup: group " + other + " may not open " + file + " (mode 660, group "},
		{Endpoint{"unix", file}, 0o606, own, "(mode 606, group "},
		{Endpoint{"unix", file}, 0o602, other, ""},
		{Endpoint{"unix", file}, 0o604, other, "(mode 604, group "},
	} {
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		err := mayConnect(tt.e, tt.group)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, mode %o, group %s: %v, want %q", tt.e, tt.mode, tt.group, err, tt.want)
		}
	}
}

// groupsFor returns the names of the group of a file and of another group.
func groupsFor(t *testing.T, info fs.FileInfo) (own, other string) {
	t.Helper()
	text, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Skip("no /etc/group here")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Skip("files have no group here")
	}
	gid := strconv.FormatUint(uint64(st.Gid), 10)
	for line := range strings.Lines(string(text)) {
		f := strings.Split(line, ":")
		switch {
		case len(f) < 3:
		case f[2] == gid:
			own = f[0]
		default:
			other = f[0]
		}
	}
	if own == "" || other == "" {
		t.Skip("this user's group has no name here")
	}
	return own, other
}
