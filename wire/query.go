package wire

import (
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// query answers a simple Query: its statements are one implicit transaction,
// which ends before the last one's CommandComplete.
func (c *conn) query(sql string) error {
	c.dropStatement("")
	c.dropPortal("")
	if c.session.TxStatus() == 'I' {
		c.closePortals() // they end with the transaction, which ends here
	}
	if err := c.runQuery(sql); err != nil {
		if err := c.fail(err); err != nil {
			return err
		}
	}
	if c.session.TxStatus() == 'I' {
		c.closePortals()
	}
	return c.out.sendReady(c.session.TxStatus())
}

func (c *conn) runQuery(sql string) error {
	if err := checkUTF8(sql); err != nil {
		return err
	}
	stmts, err := c.session.Parse(c.ctx, sql)
	if err != nil {
		return err
	}
	if len(stmts) == 0 {
		if err := c.session.Sync(c.ctx); err != nil {
			return err
		}
		return c.out.send(&pgproto3.EmptyQueryResponse{})
	}
	for i, s := range stmts {
		tag, err := c.runStatement(s)
		if err != nil {
			return err
		}
		if i == len(stmts)-1 {
			if err := c.session.Sync(c.ctx); err != nil {
				return err
			}
		}
		if err := c.out.sendComplete(tag); err != nil {
			return err
		}
	}
	return nil
}

// runStatement runs one statement of a simple query and sends its rows.
func (c *conn) runStatement(s Statement) (tag string, err error) {
	prep, err := c.session.Prepare(c.ctx, s, nil)
	if err != nil {
		return "", err
	}
	if len(prep.ParamTypes()) > 0 {
		return "", pgerr.New(pgerr.UndefinedParameter, "there is no parameter $1").
			WithHint("Parameters need the extended query protocol (PREPARE, or the client library's own way).")
	}
	res, err := c.session.Execute(c.ctx, prep, nil)
	if err != nil {
		return "", err
	}
	if res.Rows == nil {
		return c.runCopy(res)
	}
	p := portal{result: res}
	defer p.close()
	if err := c.out.send(rowDescription(res.Fields, nil)); err != nil {
		return "", err
	}
	n, _, err := c.sendRows(&p, 0)
	if err != nil {
		return "", err
	}
	return res.Rows.Tag(n), nil
}

// rowDescription tells the shape of a result; formats nil is text for all.
func rowDescription(fields []Field, formats []int16) *pgproto3.RowDescription {
	ds := make([]pgproto3.FieldDescription, len(fields))
	for i, f := range fields {
		ds[i] = pgproto3.FieldDescription{
			Name:                 []byte(cString(f.Name)),
			TableOID:             f.TableOID,
			TableAttributeNumber: uint16(f.Column),
			DataTypeOID:          f.Type.OID(),
			DataTypeSize:         f.Type.Size(),
			TypeModifier:         f.Type.Mod,
			Format:               formatOf(formats, i),
		}
	}
	return &pgproto3.RowDescription{Fields: ds}
}

// formatOf reads a list of format codes as the protocol has them: none is
// text for all, one stands for all.
func formatOf(formats []int16, i int) int16 {
	switch len(formats) {
	case 0:
		return pgproto3.TextFormat
	case 1:
		return formats[0]
	default:
		return formats[i]
	}
}
