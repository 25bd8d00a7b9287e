package doctor

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// ownAddress returns a function that reports whether an address is one of this host's.
func ownAddress() func(netip.Addr) bool {
	var own []netip.Addr
	addrs, _ := net.InterfaceAddrs() // after an error, an address of this host is compared like any other
	for _, a := range addrs {
		if n, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, n.Addr().Unmap())
		}
	}
	return func(a netip.Addr) bool { return slices.Contains(own, a.Unmap()) }
}

// dialTimeout is how long dial waits. The address is on this host, so the answer comes at once.
const dialTimeout = 2 * time.Second

func dial(network, address string) error {
	if network == "inet" {
		network = "tcp"
	}
	conn, err := net.DialTimeout(network, address, dialTimeout)
	if err != nil {
		return err
	}
	return conn.Close()
}

func sameFile(a, b string) bool {
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// maxTable bounds the size of a lookup table that is read, in octets.
const maxTable = 1 << 20

func readTable(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxTable))
}

// socketFile looks at the file of a unix socket. The processes of the MTA connect as the user
// mtaUser, or as root if mtaUser is "".
func socketFile(path, mtaUser string) SocketFile {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return SocketFile{Missing: true}
	case err != nil:
		return SocketFile{Err: err}
	case mtaUser == "":
		return SocketFile{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	u, err := user.Lookup(mtaUser)
	if !ok || err != nil {
		return SocketFile{Err: errors.Join(errors.New("whether the MTA's user may connect is not known"), err)}
	}
	groups, _ := u.GroupIds() // after an error, only the primary group counts
	gid := strconv.FormatUint(uint64(stat.Gid), 10)
	const ownerWrites, groupWrites, othersWrite = 0o200, 0o020, 0o002
	mode := info.Mode().Perm()
	switch {
	case strconv.FormatUint(uint64(stat.Uid), 10) == u.Uid && mode&ownerWrites != 0,
		(gid == u.Gid || slices.Contains(groups, gid)) && mode&groupWrites != 0,
		mode&othersWrite != 0:
		return SocketFile{}
	}
	name := gid
	if g, err := user.LookupGroupId(gid); err == nil {
		name = g.Name
	}
	return SocketFile{Denied: true, Mode: strconv.FormatUint(uint64(mode), 8), Group: name}
}
