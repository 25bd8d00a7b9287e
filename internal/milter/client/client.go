// Package client speaks the MTA's side of the milter protocol as Postfix does. It follows
// Postfix's milter8.c and recorded sessions of Postfix 3.7: the offer, the macros before every
// event, the ABORT after every message, and the treatment of header fields. It is for tests,
// demonstrations and load tools.
package client

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/milter/wire"
)

const (
	// DefaultTimeout is Postfix's milter_command_timeout, for one read or write.
	DefaultTimeout = 30 * time.Second
	// maxFrame is the length of the longest frame that the client accepts from a milter.
	maxFrame = 1 << 20
	// bodyChunk is the largest part of a body (MILTER_CHUNK_SIZE).
	bodyChunk = 65535
)

// ErrMalformed is the error for a frame that Postfix would refuse. Postfix would then apply its
// milter_default_action to the message.
var ErrMalformed = errors.New("client: malformed frame from the milter")

// Client is one connection to a milter. It is not safe for concurrent use.
type Client struct {
	// Timeout is the longest time that one read or write may take.
	Timeout time.Duration

	nc         net.Conn
	br         *bufio.Reader
	bw         *bufio.Writer // nil unless Buffer was called
	negotiated Offer
	wanted     map[byte][]string // for each command, the macros to send before it
	macros     map[string]string
	progress   int
}

// Dial connects to a milter. The caller calls Negotiate next.
func Dial(network, address string) (*Client, error) {
	nc, err := net.DialTimeout(network, address, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return New(nc), nil
}

// New returns a Client on a connection.
func New(nc net.Conn) *Client {
	return &Client{Timeout: DefaultTimeout, nc: nc, br: bufio.NewReader(nc), wanted: defaultMacros(), macros: map[string]string{}}
}

// Offer is what the MTA offers in the negotiation, or what the milter asks for in its answer:
// the protocol version, the action flags (SMFIF_*) and the protocol flags (SMFIP_*).
type Offer struct {
	Version, Actions, Protocol uint32
}

// PostfixOffer returns the offer of Postfix 3.7.
func PostfixOffer() Offer { return Offer{Version: 6, Actions: 0x1ff, Protocol: 0x1fffff} }

// Protocol flags (SMFIP_*) that this client obeys.
const (
	noConnect    = 1 << 0
	noHelo       = 1 << 1
	noMail       = 1 << 2
	noRcpt       = 1 << 3
	noBody       = 1 << 4
	noHeaders    = 1 << 5
	noEOH        = 1 << 6
	nrHeader     = 1 << 7
	noData       = 1 << 9
	nrConnect    = 1 << 12
	nrHelo       = 1 << 13
	nrMail       = 1 << 14
	nrRcpt       = 1 << 15
	nrData       = 1 << 16
	nrEOH        = 1 << 18
	nrBody       = 1 << 19
	leadingSpace = 1 << 20
)

// Negotiate sends the offer and returns the answer of the milter. Like Postfix, it refuses an
// answer that asks for something that was not offered.
func (c *Client) Negotiate(o Offer) (Offer, error) {
	data := binary.BigEndian.AppendUint32(nil, o.Version)
	data = binary.BigEndian.AppendUint32(data, o.Actions)
	data = binary.BigEndian.AppendUint32(data, o.Protocol)
	if err := c.writeFrame('O', data); err != nil {
		return Offer{}, err
	}
	cmd, data, err := c.readFrame()
	if err != nil {
		return Offer{}, err
	}
	if cmd != 'O' || len(data) < 12 {
		return Offer{}, fmt.Errorf("%w: answer %q to the negotiation", ErrMalformed, cmd)
	}
	c.negotiated = Offer{
		Version:  binary.BigEndian.Uint32(data),
		Actions:  binary.BigEndian.Uint32(data[4:]),
		Protocol: binary.BigEndian.Uint32(data[8:]),
	}
	n := c.negotiated
	if n.Version > o.Version || n.Actions&^o.Actions != 0 || n.Protocol&^o.Protocol != 0 {
		return n, fmt.Errorf("%w: asked for %+v, offered was %+v", ErrMalformed, n, o)
	}
	return n, c.readSymList(data[12:])
}

// readSymList reads the macros that the milter asks for at each stage.
func (c *Client) readSymList(data []byte) error {
	for len(data) > 0 {
		end := 4
		for end < len(data) && data[end] != 0 {
			end++
		}
		if end >= len(data) {
			return fmt.Errorf("%w: macro list", ErrMalformed)
		}
		names := strings.Fields(string(data[4:end]))
		switch binary.BigEndian.Uint32(data) {
		case 0:
			c.wanted['C'] = names
		case 1:
			c.wanted['H'] = names
		case 2:
			c.wanted['M'] = names
		case 3:
			c.wanted['R'] = names
		case 4:
			c.wanted['T'] = names
		case 5:
			c.wanted['B'], c.wanted['E'] = names, names
		case 6:
			c.wanted['L'], c.wanted['N'] = names, names
		}
		data = data[end+1:]
	}
	return nil
}

// defaultMacros returns the macros that Postfix sends at each stage if the milter asks for none:
// the defaults of the parameters milter_*_macros.
func defaultMacros() map[byte][]string {
	id := []string{"i"}
	return map[byte][]string{
		'C': {"j", "{daemon_name}", "{daemon_addr}", "v", "_"},
		'H': {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"},
		'M': {"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}"},
		'R': {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		'T': id, 'L': id, 'N': id, 'B': id, 'E': id,
	}
}

// SetMacro gives a macro a value. The client sends the macro at those stages for which the
// milter asked for it. An empty value removes the macro.
func (c *Client) SetMacro(name, value string) {
	if value == "" {
		delete(c.macros, name)
		return
	}
	c.macros[name] = value
}

// SendMacro sends a macro for the event cmd, whether or not the milter asked for it. Postfix never
// does that. It is for a program that wants to tell the milter that it is not an MTA.
func (c *Client) SendMacro(cmd byte, name, value string) error {
	return c.writeFrame('D', append([]byte{cmd}, cStrings(name, []string{value})...))
}

// Connect sends CONNECT. The zero addr stands for an unknown client (family 'U').
func (c *Client) Connect(hostname string, addr netip.AddrPort) (Action, error) {
	data := append([]byte(hostname), 0)
	switch {
	case !addr.IsValid():
		data = append(data, byte(wire.FamilyUnknown))
	case addr.Addr().Is4():
		data = append(data, byte(wire.FamilyIPv4))
	default:
		data = append(data, byte(wire.FamilyIPv6))
	}
	if addr.IsValid() {
		data = binary.BigEndian.AppendUint16(data, addr.Port())
		data = append(data, addr.Addr().String()+"\x00"...)
		prefix := ""
		if addr.Addr().Is6() {
			prefix = "IPv6:"
		}
		c.SetMacro("{client_addr}", prefix+addr.Addr().String())
		c.SetMacro("{client_port}", strconv.Itoa(int(addr.Port())))
	}
	return c.event('C', data, noConnect, nrConnect)
}

// Helo sends HELO.
func (c *Client) Helo(name string) (Action, error) {
	return c.event('H', append([]byte(name), 0), noHelo, nrHelo)
}

// Mail sends MAIL. The milter gets the argument "from" unchanged, as a real Postfix passes on the
// address that its SMTP client wrote, with or without angle brackets.
func (c *Client) Mail(from string, args ...string) (Action, error) {
	c.SetMacro("{mail_addr}", strings.Trim(from, "<>"))
	return c.event('M', cStrings(from, args), noMail, nrMail)
}

// Rcpt sends RCPT. The milter gets the argument "to" unchanged.
func (c *Client) Rcpt(to string, args ...string) (Action, error) {
	c.SetMacro("{rcpt_addr}", strings.Trim(to, "<>"))
	return c.event('R', cStrings(to, args), noRcpt, nrRcpt)
}

// Data sends DATA.
func (c *Client) Data() (Action, error) { return c.event('T', nil, noData, nrData) }

// Header sends a field. value is the text after the colon, with folds as CRLF. Like Postfix,
// the client sends folds as LF, cuts the value at a NUL and after 60,000 octets, and removes
// one leading space unless the milter asked to keep it.
func (c *Client) Header(name, value string) (Action, error) {
	value, _, _ = strings.Cut(strings.ReplaceAll(value, "\r\n", "\n"), "\x00")
	value = value[:min(len(value), maxHeader)]
	if c.negotiated.Protocol&leadingSpace == 0 {
		value = strings.TrimPrefix(value, " ")
	}
	return c.event('L', cStrings(name, []string{value}), noHeaders, nrHeader)
}

// EndOfHeader sends the end of the header.
func (c *Client) EndOfHeader() (Action, error) { return c.event('N', nil, noEOH, nrEOH) }

// Body sends a part of the body, at most 65,535 octets.
func (c *Client) Body(chunk []byte) (Action, error) {
	if len(chunk) > bodyChunk {
		return Action{}, fmt.Errorf("client: body chunk of %d octets", len(chunk))
	}
	return c.event('B', chunk, noBody, nrBody)
}

// EndOfMessage sends the end of the body. It returns the milter's final answer and its edits.
func (c *Client) EndOfMessage() (Action, []Modification, error) {
	if err := c.send('E', nil); err != nil {
		return Action{}, nil, err
	}
	var mods []Modification
	for {
		cmd, data, err := c.readFrame()
		if err != nil {
			return Action{}, mods, err
		}
		if m, ok, err := parseModification(cmd, data); err != nil {
			return Action{}, mods, err
		} else if ok {
			mods = append(mods, m)
			continue
		}
		action, err := parseAction(cmd, data)
		return action, mods, err
	}
}

// Abort sends ABORT, as Postfix does after every message.
func (c *Client) Abort() error { return c.writeFrame('A', nil) }

// Quit sends QUIT and closes the connection.
func (c *Client) Quit() error {
	return errors.Join(c.writeFrame('Q', nil), c.Flush(), c.nc.Close())
}

// Close closes the connection without QUIT.
func (c *Client) Close() error { return c.nc.Close() }

// Progress returns the number of progress notices that the milter has sent.
func (c *Client) Progress() int { return c.progress }

// event sends an event with its macros and reads the answer. skip is the protocol flag by which a
// milter says that it does not want the event. silent is the protocol flag by which a milter says
// that it will not answer the event. If the milter set one of these flags, event returns Continue.
func (c *Client) event(cmd byte, data []byte, skip, silent uint32) (Action, error) {
	if c.negotiated.Protocol&skip != 0 {
		return Action{Kind: Continue}, nil
	}
	if err := c.send(cmd, data); err != nil {
		return Action{}, err
	}
	if c.negotiated.Protocol&silent != 0 {
		return Action{Kind: Continue}, nil
	}
	cmd, data, err := c.readFrame()
	if err != nil {
		return Action{}, err
	}
	return parseAction(cmd, data)
}

// send writes the macros for cmd, and then cmd.
func (c *Client) send(cmd byte, data []byte) error {
	macros := []byte{cmd}
	for _, name := range c.wanted[cmd] {
		if v, ok := c.macros[name]; ok {
			macros = append(macros, cStrings(name, []string{v})...)
		}
	}
	if len(macros) > 1 {
		if err := c.writeFrame('D', macros); err != nil {
			return err
		}
	}
	return c.writeFrame(cmd, data)
}

// cStrings returns the strings with a NUL after each.
func cStrings(first string, rest []string) []byte {
	out := append([]byte(first), 0)
	for _, s := range rest {
		out = append(append(out, s...), 0)
	}
	return out
}

func (c *Client) writeFrame(cmd byte, data []byte) error {
	if c.bw != nil {
		head := [5]byte{4: cmd}
		binary.BigEndian.PutUint32(head[:], uint32(len(data)+1))
		_, _ = c.bw.Write(head[:]) // if this write fails, the next Write returns its error
		_, err := c.bw.Write(data)
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 5+len(data)), uint32(len(data)+1))
	frame = append(append(frame, cmd), data...)
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(frame)
	return err
}

// readFrame returns the next frame that is not a progress notice. Each progress notice is
// counted, and restarts the timeout.
func (c *Client) readFrame() (cmd byte, data []byte, err error) {
	if err := c.Flush(); err != nil {
		return 0, nil, err
	}
	for {
		if err := c.nc.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
			return 0, nil, err
		}
		var head [4]byte
		if _, err := io.ReadFull(c.br, head[:]); err != nil {
			return 0, nil, err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > maxFrame {
			return 0, nil, fmt.Errorf("%w: length %d", ErrMalformed, n)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(c.br, data); err != nil {
			return 0, nil, err
		}
		if data[0] != 'p' {
			return data[0], data[1:], nil
		}
		c.progress++
	}
}
