package oracle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// null is how NULL stands in an answer; no text of ours is equal to it.
const null = "\x00NULL"

// statementTimeout is how long a statement may take before the system counts
// as hanging. It is shorter while a failing case is made smaller.
var statementTimeout = 60 * time.Second

// answer is what a system says to a statement: rows, or a SQLSTATE.
type answer struct {
	names    []string
	types    []uint32
	rows     [][]string
	tag      string
	code     string // SQLSTATE, "" if it succeeded
	message  string
	warnings []string // SQLSTATE and message of each warning
}

// system is a session with one of the two.
type system struct {
	name     string
	conn     *pgconn.PgConn
	warnings []string
}

func connect(name, dsn string) (*system, error) {
	s := &system{name: name}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			s.warnings = append(s.warnings, n.Code+" "+n.Message)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	s.conn, err = pgconn.ConnectConfig(ctx, cfg)
	return s, err
}

func (s *system) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.conn.Close(ctx)
}

// do runs a statement on the simple protocol. The error is one of the
// connection; what the system refuses is in the answer.
func (s *system) do(sql string) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	s.warnings = nil
	a := &answer{}
	all := s.conn.Exec(ctx, sql)
	for all.NextResult() {
		rr := all.ResultReader()
		a.names, a.types, a.rows = nil, nil, nil
		for rr.NextRow() {
			row := make([]string, len(rr.Values()))
			for i, v := range rr.Values() {
				if row[i] = string(v); v == nil {
					row[i] = null
				}
			}
			a.rows = append(a.rows, row)
		}
		for _, f := range rr.FieldDescriptions() {
			a.names, a.types = append(a.names, f.Name), append(a.types, f.DataTypeOID)
		}
		tag, err := rr.Close()
		if err != nil {
			break
		}
		a.tag = tag.String()
	}
	err := all.Close()
	a.warnings = s.warnings
	var e *pgconn.PgError
	switch {
	case err == nil:
		return a, nil
	case errors.As(err, &e) && !s.conn.IsClosed():
		a.code, a.message = e.Code, e.Message
		return a, nil
	}
	return nil, fmt.Errorf("%s: %w, at: %s", s.name, err, sql)
}

// must runs a statement that has to succeed.
func (s *system) must(sql string) error {
	a, err := s.do(sql)
	if err == nil && a.code != "" {
		err = fmt.Errorf("%s: %s %s, at: %s", s.name, a.code, a.message, sql)
	}
	return err
}
