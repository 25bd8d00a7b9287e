package app

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"sekimori/internal/config"
)

// DaemonUser is the user as whom the unit of the packages runs the daemon.
const DaemonUser = "sekimori"

// account is a user by its numbers.
type account struct {
	name   string
	uid    uint32
	groups []uint32
}

// Access lists the files and directories of a configuration that the daemon's user may not read or
// write by their permissions. A person who checks the configuration as root would not notice. file is
// the configuration itself. Access returns nothing if this process does not run as root, or if the host
// has no such user, because then the daemon runs as somebody else.
func Access(cfg *config.Config, file string) []string {
	if os.Geteuid() != 0 {
		return nil
	}
	who, err := lookUp(DaemonUser)
	if err != nil {
		return nil
	}
	return who.advice(cfg, file)
}

func lookUp(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, err
	}
	out := account{name: name, uid: uint32(uid)}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, err
	}
	for _, id := range ids {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return account{}, err
		}
		out.groups = append(out.groups, uint32(gid))
	}
	return out, nil
}

const (
	mayRead   fs.FileMode = 4
	mayWrite  fs.FileMode = 2
	maySearch fs.FileMode = 1
)

func (a account) advice(cfg *config.Config, file string) []string {
	var out []string
	for _, f := range append(files(cfg), struct{ key, path string }{"the configuration", file}) {
		if f.path == "" || a.may(f.path, mayRead) {
			continue
		}
		out = append(out, fmt.Sprintf("%s: the user %s may not read %s; if the daemon runs as this user: chgrp %s %s && chmod 640 %s, "+
			"and let the user into the directories above it", f.key, a.name, f.path, a.name, f.path, f.path))
	}
	if !cfg.Store.Embedded() {
		return out
	}
	if dir := filepath.Dir(cfg.Store.Path()); !a.may(dir, mayWrite|maySearch) {
		out = append(out, fmt.Sprintf("store.url: the user %s may not write in %s; if the daemon runs as this user: chown %s %s", a.name, dir, a.name, dir))
	}
	return out
}

// may reports whether the permissions of path, and of the directories above it, give a what it needs.
// If a path is missing, its permissions do not matter, and may reports true. Access control lists are
// not looked at.
func (a account) may(path string, need fs.FileMode) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return true
	}
	for {
		info, err := os.Stat(path)
		if err != nil {
			return true
		}
		if !a.has(info, need) {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path, need = parent, maySearch
	}
}

// has reports whether the permissions of one file give a what it needs.
func (a account) has(info fs.FileInfo, need fs.FileMode) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	bits := info.Mode().Perm()
	switch {
	case owner.Uid == a.uid:
		bits >>= 6
	case slices.Contains(a.groups, owner.Gid):
		bits >>= 3
	}
	return bits&need == need
}
