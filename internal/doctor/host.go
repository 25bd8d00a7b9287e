package doctor

import (
	"context"
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

	"sekimori/internal/milter/client"
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

// askTimeout is how long a milter has for its answer to the negotiation. It is on this host or near
// it, and answers at once. A daemon that is just starting behind a socket of systemd takes longest.
const askTimeout = 3 * time.Second

// asks returns a function that asks which program listens at an address. Each address is asked once,
// because several services of an MTA usually name the same one.
func asks(ctx context.Context) func(network, address string) error {
	known := map[string]error{}
	return func(network, address string) error {
		if network == "inet" {
			network = "tcp"
		}
		key := network + ":" + address
		err, asked := known[key]
		if !asked {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			err = client.Ask(ctx, network, address)
			known[key] = err
		}
		return err
	}
}

func sameFile(a, b string) bool {
	fa, _ := os.Stat(a) // after an error it is nil, which is the same as no file
	fb, _ := os.Stat(b)
	return os.SameFile(fa, fb)
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
	groups, _ := u.GroupIds()
	groups = append(groups, u.Gid) // after an error, only the primary group counts
	gid := strconv.FormatUint(uint64(stat.Gid), 10)
	const ownerWrites, groupWrites, othersWrite = 0o200, 0o020, 0o002
	mode := info.Mode().Perm()
	switch {
	case strconv.FormatUint(uint64(stat.Uid), 10) == u.Uid && mode&ownerWrites != 0,
		slices.Contains(groups, gid) && mode&groupWrites != 0,
		mode&othersWrite != 0:
		return SocketFile{}
	}
	name := gid
	if g, err := user.LookupGroupId(gid); err == nil {
		name = g.Name
	}
	return SocketFile{Denied: true, Mode: strconv.FormatUint(uint64(mode), 8), Group: name}
}
