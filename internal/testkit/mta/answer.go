package mta

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// Answer plays a milter that does nothing but negotiate. For every connection to ln it answers the
// negotiation, asks for the given macros at CONNECT, and then reads until the connection ends. With
// wire.Sign among the macros, programs take it for sekimori. It returns when ln is closed.
func Answer(ln net.Listener, macros ...string) {
	reply := binary.BigEndian.AppendUint32([]byte{'O'}, 6)
	reply = append(reply, make([]byte, 8)...) // no actions, no protocol flags
	if len(macros) > 0 {
		const stageConnect = 0
		reply = binary.BigEndian.AppendUint32(reply, stageConnect)
		reply = append(reply, strings.Join(macros, " ")+"\x00"...)
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = nc.Close() }()
			const offer = 4 + 1 + 12 // the length, the command, three numbers
			if _, err := io.ReadFull(nc, make([]byte, offer)); err != nil {
				return
			}
			if _, err := nc.Write(frame); err == nil {
				_, _ = io.Copy(io.Discard, nc)
			}
		}()
	}
}
