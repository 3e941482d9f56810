package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// statement is a prepared statement. That of an empty query has no Prepared.
type statement struct {
	prepared Prepared
	bytes    int // of its text
}

func (s *statement) fields() []Field {
	if s.prepared == nil {
		return nil
	}
	return s.prepared.Fields()
}

// portal is a statement with parameters, and how far its rows were sent.
type portal struct {
	statement *statement
	params    []types.Datum
	formats   []int16

	result *Result // nil until the first Execute
	chunk  *types.Chunk
	row    int   // the next selected row of chunk
	copies int32 // how many times it is still to be sent, 0 if not begun
	done   bool
}

var errAborted = pgerr.New(pgerr.InFailedTransaction,
	"current transaction is aborted, commands ignored until end of transaction block")

func (c *conn) parse(m *pgproto3.Parse) error {
	if m.Name == "" {
		c.dropStatement("")
	} else if c.prepared[m.Name] != nil {
		return pgerr.New(pgerr.DuplicatePreparedStmt, "prepared statement \"%s\" already exists", m.Name)
	}
	if err := c.roomForStatement(len(m.Query)); err != nil {
		return err
	}
	if err := checkUTF8(m.Query); err != nil {
		return err
	}
	stmts, err := c.session.Parse(c.ctx, m.Query)
	if err != nil {
		return err
	}
	if len(stmts) > 1 {
		return pgerr.New(pgerr.SyntaxError, "cannot insert multiple commands into a prepared statement")
	}
	st := &statement{bytes: len(m.Query)}
	if len(stmts) == 1 {
		if st.prepared, err = c.session.Prepare(c.ctx, stmts[0], m.ParameterOIDs); err != nil {
			return err
		}
		if n := len(st.prepared.ParamTypes()); n > math.MaxUint16 {
			return pgerr.New(pgerr.ProgramLimitExceeded, "a statement can have at most %d parameters", math.MaxUint16)
		}
	}
	c.prepared[m.Name] = st
	c.preparedBytes += st.bytes
	return c.out.send(&pgproto3.ParseComplete{})
}

// roomForStatement bounds what a session may keep prepared.
func (c *conn) roomForStatement(n int) error {
	cfg := &c.srv.cfg
	if len(c.prepared) < cfg.MaxPreparedStatements && c.preparedBytes+n <= 4*cfg.MaxMessageBytes {
		return nil
	}
	return pgerr.New(pgerr.ConfigurationLimit, "too many prepared statements in this session").
		WithHint("A session keeps at most %d; DEALLOCATE some, or close them through the protocol.", cfg.MaxPreparedStatements)
}

func (c *conn) dropStatement(name string) {
	if st := c.prepared[name]; st != nil {
		c.preparedBytes -= st.bytes
		delete(c.prepared, name)
	}
}

func (c *conn) lookup(name string) (*statement, error) {
	st := c.prepared[name]
	switch {
	case st != nil:
		return st, nil
	case name == "":
		return nil, pgerr.New(pgerr.InvalidStatementName, "unnamed prepared statement does not exist")
	default:
		return nil, pgerr.New(pgerr.InvalidStatementName, "prepared statement \"%s\" does not exist", name)
	}
}

func (c *conn) bind(m *pgproto3.Bind) error {
	st, err := c.lookup(m.PreparedStatement)
	if err != nil {
		return err
	}
	if n := len(m.ParameterFormatCodes); n > 1 && n != len(m.Parameters) {
		return pgerr.New(pgerr.ProtocolViolation, "bind message has %d parameter formats but %d parameters", n, len(m.Parameters))
	}
	var want []types.Type
	if st.prepared != nil {
		want = st.prepared.ParamTypes()
	}
	if len(m.Parameters) != len(want) {
		return pgerr.New(pgerr.ProtocolViolation, "bind message supplies %d parameters, but prepared statement \"%s\" requires %d",
			len(m.Parameters), m.PreparedStatement, len(want))
	}
	if c.session.TxStatus() == 'E' && (len(want) > 0 || st.fields() != nil) {
		return errAborted
	}
	if n := len(m.ResultFormatCodes); n > 1 && n != len(st.fields()) {
		return pgerr.New(pgerr.ProtocolViolation, "bind message has %d result formats but query has %d columns", n, len(st.fields()))
	}
	if err := checkFormats(m.ResultFormatCodes); err != nil {
		return err
	}
	p := &portal{statement: st, formats: m.ResultFormatCodes}
	c.locate()
	if p.params, err = c.parameters(m, want); err != nil {
		return err
	}
	if m.DestinationPortal == "" {
		c.dropPortal("")
	} else if c.portals[m.DestinationPortal] != nil {
		return pgerr.New(pgerr.DuplicateCursor, "cursor \"%s\" already exists", m.DestinationPortal)
	}
	if len(c.portals) >= c.srv.cfg.MaxPortals {
		return pgerr.New(pgerr.ConfigurationLimit, "too many open portals in this session").
			WithHint("A session keeps at most %d; close some, or end the transaction.", c.srv.cfg.MaxPortals)
	}
	c.portals[m.DestinationPortal] = p
	return c.out.send(&pgproto3.BindComplete{})
}

func checkFormats(formats []int16) error {
	for _, f := range formats {
		if f != pgproto3.TextFormat && f != pgproto3.BinaryFormat {
			return pgerr.New(pgerr.InvalidParameterValue, "unsupported format code: %d", f)
		}
	}
	return nil
}

// parameters reads the values of a Bind. Its bytes are the codec's until the
// next message; the values share nothing with them.
func (c *conn) parameters(m *pgproto3.Bind, want []types.Type) ([]types.Datum, error) {
	if err := checkFormats(m.ParameterFormatCodes); err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, nil
	}
	params := make([]types.Datum, len(want))
	for i, t := range want {
		b := m.Parameters[i]
		if b == nil {
			params[i] = types.NullOf(t)
			continue
		}
		var err error
		if formatOf(m.ParameterFormatCodes, i) == pgproto3.BinaryFormat {
			params[i], err = types.ParseBinary(t, b)
		} else {
			params[i], err = parseText(t, b, c.loc)
		}
		if err != nil {
			return nil, parameterError(err, i)
		}
	}
	return params, nil
}

// parseText reads a value. Bytes that are no text are refused for all types,
// because error messages show what was not understood.
func parseText(t types.Type, b []byte, loc *time.Location) (types.Datum, error) {
	if err := types.CheckText(b); err != nil {
		return types.Datum{}, err
	}
	return types.ParseTextIn(t, string(b), loc)
}

// parameterError says which parameter an error is about, where nothing else
// is to be said.
func parameterError(err error, i int) error {
	e := *pgerr.From(err)
	if e.Detail == "" {
		e.Detail = fmt.Sprintf("This is about parameter $%d.", i+1)
	}
	return &e
}

func (c *conn) describe(m *pgproto3.Describe) error {
	var st *statement
	var formats []int16
	switch m.ObjectType {
	case 'S':
		var err error
		if st, err = c.lookup(m.Name); err != nil {
			return err
		}
		if c.session.TxStatus() == 'E' && st.fields() != nil {
			return errAborted
		}
		var oids []uint32
		if st.prepared != nil {
			for _, t := range st.prepared.ParamTypes() {
				oids = append(oids, t.OID())
			}
		}
		if err := c.out.send(&pgproto3.ParameterDescription{ParameterOIDs: oids}); err != nil {
			return err
		}
	case 'P':
		p := c.portals[m.Name]
		if p == nil {
			return pgerr.New(pgerr.InvalidCursorName, "portal \"%s\" does not exist", m.Name)
		}
		if c.session.TxStatus() == 'E' && p.statement.fields() != nil {
			return errAborted
		}
		st, formats = p.statement, p.formats
	default:
		return violation("invalid DESCRIBE message subtype %d", m.ObjectType)
	}
	if fields := st.fields(); fields != nil {
		return c.out.send(rowDescription(fields, formats))
	}
	return c.out.send(&pgproto3.NoData{})
}

func (c *conn) execute(m *pgproto3.Execute) error {
	p := c.portals[m.Portal]
	if p == nil {
		return pgerr.New(pgerr.InvalidCursorName, "portal \"%s\" does not exist", m.Portal)
	}
	if p.statement.prepared == nil {
		return c.out.send(&pgproto3.EmptyQueryResponse{})
	}
	before := c.session.TxStatus()
	if before == 'E' && p.statement.fields() != nil {
		return errAborted
	}
	if p.done && p.result.Rows == nil {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "portal \"%s\" cannot be run", m.Portal)
	}
	if err := c.runPortal(p, int32(m.MaxRows)); err != nil {
		p.close()
		delete(c.portals, m.Portal)
		return err
	}
	// A COMMIT or ROLLBACK ends all portals, its own too.
	if before != 'I' && c.session.TxStatus() == 'I' {
		c.closePortals()
	}
	return nil
}

// runPortal starts or continues a portal and sends at most maxRows rows, all
// if it is not positive.
func (c *conn) runPortal(p *portal, maxRows int32) error {
	if p.result == nil {
		res, err := c.session.Execute(c.ctx, p.statement.prepared, p.params)
		if err != nil {
			return err
		}
		p.result = res
	}
	if p.result.Rows == nil {
		p.done = true
		tag, err := c.runCopy(p.result)
		if err != nil {
			return err
		}
		return c.out.sendComplete(tag)
	}
	n, done, err := c.sendRows(p, int64(max(maxRows, 0)))
	if err != nil {
		return err
	}
	if !done {
		return c.out.send(&pgproto3.PortalSuspended{})
	}
	tag := p.result.Rows.Tag(n)
	p.close()
	return c.out.sendComplete(tag)
}

func (c *conn) close(m *pgproto3.Close) error {
	switch m.ObjectType {
	case 'S':
		c.dropStatement(m.Name)
	case 'P':
		c.dropPortal(m.Name)
	default:
		return violation("invalid CLOSE message subtype %d", m.ObjectType)
	}
	return c.out.send(&pgproto3.CloseComplete{})
}

// sync ends the implicit transaction and the skipping after an error.
func (c *conn) sync() error {
	c.skip = false
	if c.session.TxStatus() == 'I' {
		// The rows of open portals belong to the transaction that ends.
		c.closePortals()
	}
	if err := c.session.Sync(c.ctx); err != nil {
		if err := c.fail(err); err != nil {
			return err
		}
	}
	return c.out.sendReady(c.session.TxStatus())
}

// close gives the portal's rows back.
func (p *portal) close() {
	if p.result != nil && p.result.Rows != nil && !p.done {
		p.result.Rows.Close()
	}
	p.chunk, p.done = nil, true
}

func (c *conn) dropPortal(name string) {
	if p := c.portals[name]; p != nil {
		p.close()
		delete(c.portals, name)
	}
}

func (c *conn) closePortals() {
	for name := range c.portals {
		c.dropPortal(name)
	}
}
