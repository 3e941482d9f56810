package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Codes in the place of a protocol version in the first packet.
const (
	cancelRequestCode = 80877102
	sslRequestCode    = 80877103
	gssRequestCode    = 80877104
)

const (
	oldestVersion  = pgproto3.ProtocolVersion30
	newestVersion  = pgproto3.ProtocolVersion32
	optionPrefix   = "_pq_." // of startup parameters that are protocol extensions
	cancelKeyBytes = 32      // from protocol 3.2 on
	oldKeyBytes    = 4
)

// greet goes from the first byte to the first ReadyForQuery. A cancel
// request is served and ends with an error that nobody hears.
func (c *conn) greet() error {
	c.in.expireIn(c.srv.cfg.AuthTimeout)
	params, err := c.startupPacket()
	if err != nil {
		return err
	}
	s := Startup{Params: params, RemoteAddr: c.nc.RemoteAddr().String(), Client: c}
	s.User, s.Database = params["user"], params["database"]
	delete(params, "user")
	delete(params, "database")
	if s.User == "" {
		return pgerr.New(pgerr.InvalidAuthorization, "no PostgreSQL user name specified in startup packet")
	}
	if s.Database == "" {
		s.Database = s.User
	}
	if r := params["replication"]; r != "" && r != "false" && r != "off" && r != "no" && r != "0" {
		return pgerr.Unsupported("a replication connection").
			WithHint("COPY (SUBSCRIBE TO …) TO STDOUT streams the changes of a view.")
	}
	c.be = pgproto3.NewBackend(c.in, io.Discard)
	c.be.SetMaxBodyLen(c.srv.cfg.MaxPreAuthBytes)
	if err := c.authenticate(s); err != nil {
		return err
	}
	return c.openSession(s)
}

// openSession admits the client, asks the engine for a session and tells the
// client all that it wants to know before its first query.
func (c *conn) openSession(s Startup) error {
	keyLen := oldKeyBytes
	if c.version >= newestVersion {
		keyLen = cancelKeyBytes
	}
	if err := c.srv.admit(c, keyLen); err != nil {
		return err
	}
	s.PID = c.pid
	c.log = c.log.With("pid", c.pid, "user", s.User, "database", s.Database)
	if err := c.out.send(&pgproto3.AuthenticationOk{}); err != nil {
		return err
	}
	c.begin()
	session, err := c.srv.cfg.Engine.Connect(c.ctx, s)
	c.end()
	if err != nil {
		return &fatalError{c.userError(err)}
	}
	c.session = session
	c.locate()
	for _, p := range session.Parameters() {
		c.ParameterStatus(p[0], p[1])
	}
	if err := c.out.send(&pgproto3.BackendKeyData{ProcessID: uint32(c.pid), SecretKey: c.key}); err != nil {
		return err
	}
	c.be.SetMaxBodyLen(c.srv.cfg.MaxMessageBytes)
	c.in.resume()
	return c.out.sendReady(session.TxStatus())
}

// startupPacket answers what comes before the startup packet and reads its
// parameters.
func (c *conn) startupPacket() (map[string]string, error) {
	for {
		packet, err := c.untypedPacket()
		if err != nil {
			return nil, err
		}
		code := binary.BigEndian.Uint32(packet)
		body := packet[4:]
		switch {
		case code == sslRequestCode, code == gssRequestCode:
			if err := c.refuseEncryption(); err != nil {
				return nil, err
			}
		case code == cancelRequestCode:
			if len(body) > 4 {
				c.srv.cancel(int32(binary.BigEndian.Uint32(body)), body[4:])
			}
			return nil, &socketError{io.EOF}
		case code>>16 == oldestVersion>>16:
			params, err := startupParams(body)
			if err != nil {
				return nil, err
			}
			return params, c.negotiate(code, params)
		default:
			return nil, &fatalError{pgerr.New(pgerr.FeatureNotSupported,
				"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", code>>16, code&0xffff)}
		}
	}
}

// untypedPacket reads a packet as they are before authentication: a length
// and a body, at least a code of four bytes.
func (c *conn) untypedPacket() ([]byte, error) {
	var head [4]byte
	if err := c.readFull(head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - 4
	if n < 4 || n > int64(c.srv.cfg.MaxPreAuthBytes) {
		return nil, violation("invalid length of startup packet")
	}
	packet := make([]byte, n)
	return packet, c.readFull(packet)
}

func (c *conn) readFull(p []byte) error {
	if _, err := io.ReadFull(c.in, p); err != nil {
		if c.srv.isClosing() {
			return &fatalError{errShutdown}
		}
		return &socketError{err} // too late, or gone
	}
	return nil
}

// refuseEncryption says that there is none; the client goes on in plain text
// or leaves. What it sent before it heard so is no part of a conversation.
func (c *conn) refuseEncryption() error {
	c.out.buf = append(c.out.buf, 'N')
	return c.out.flush()
}

// startupParams takes the parameters apart: name and value alternate, each
// ended by a zero byte, and an empty name ends them.
func startupParams(b []byte) (map[string]string, error) {
	params := map[string]string{}
	next := func() (string, bool) {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return "", false
		}
		s := string(b[:i])
		b = b[i+1:]
		return s, true
	}
	for {
		name, ok := next()
		if ok && name == "" && len(b) == 0 {
			return params, nil
		}
		value, ok2 := next()
		if !ok || !ok2 || name == "" {
			return nil, violation("invalid startup packet layout: expected terminator as last byte")
		}
		if err := checkUTF8(name + value); err != nil {
			return nil, err
		}
		params[name] = value
	}
}

// negotiate settles the protocol's version and takes its extensions, of
// which we know none, out of params.
func (c *conn) negotiate(version uint32, params map[string]string) error {
	c.version = min(version, newestVersion)
	var unknown []string
	for name := range params {
		if strings.HasPrefix(name, optionPrefix) {
			unknown = append(unknown, name)
			delete(params, name)
		}
	}
	if version <= newestVersion && len(unknown) == 0 {
		return nil
	}
	return c.out.send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: c.version, UnrecognizedOptions: unknown})
}

// authenticate decides whether the client is who it says. So far there is
// only trust, and only in this machine's own users; a method that asks the
// client for something sends its requests through out and reads the answers
// with receive, whose messages are short until the session is open.
func (c *conn) authenticate(s Startup) error {
	a, ok := c.nc.RemoteAddr().(*net.TCPAddr)
	if !ok || a.IP.IsLoopback() {
		return nil
	}
	return pgerr.New(pgerr.InvalidAuthorization, "connections from host \"%s\" are refused, user \"%s\", database \"%s\", no encryption", a.IP, s.User, s.Database).
		WithHint("Only connections from the server's own machine are let in; connect through a tunnel.")
}
