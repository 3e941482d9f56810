package engine

import (
	"context"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// isolation is a transaction's isolation level.
type isolation uint8

const (
	readCommitted isolation = iota
	repeatableRead
	serializable
)

var isolationNames = [...]string{"read committed", "repeatable read", "serializable"}

// parseIsolation reads a level's name; read uncommitted is read committed.
func parseIsolation(s string) (isolation, bool) {
	if strings.EqualFold(s, "read uncommitted") {
		return readCommitted, true
	}
	for i, n := range isolationNames {
		if strings.EqualFold(s, n) {
			return isolation(i), true
		}
	}
	return 0, false
}

// transaction is what is open in a session: a block between BEGIN and COMMIT,
// or implicitly the statements of one simple query or up to a Sync.
//
// Its writes are buffered as net changes and validated when it commits, the
// first committer wins (40001). READ COMMITTED statements see the newest
// committed state, those of the other levels the epoch that the first
// statement pinned; all of them see the block's own writes.
type transaction struct {
	explicit   bool
	failed     bool
	level      isolation
	readOnly   bool
	rollbacks  uint64 // of the database, when it began
	timeline   uint64 // on which it began
	statements int    // run so far, those about transactions not counted
	queries    int    // those of them that read or write
	now        types.Micros

	writes *writeBuffer // nil: none yet
	saves  []subtransaction
	pins   *Pins // what a level above READ COMMITTED reads

	// again runs the transaction's only statement anew after a conflict; it
	// gives the command tag. Nil: it can not be run again.
	again func(ctx context.Context) (tag string, err error)
	tag   string // what the client was told

	before settingValues // to come back to when it rolls back
}

// subtransaction is a SAVEPOINT within a block.
type subtransaction struct {
	name     string
	mark     int // in the write buffer's log
	settings settingValues
}

// maxSubtransactions bounds the savepoints of a block.
const maxSubtransactions = 10_000

// open gives the open transaction, an implicit one if there was none.
func (s *session) open() *transaction {
	if s.tx == nil {
		s.begin(false)
	}
	return s.tx
}

func (s *session) begin(explicit bool) {
	s.tx = &transaction{
		explicit: explicit, rollbacks: s.en.sessions.rollbacks.Load(), timeline: s.en.timeline.Load(), now: s.en.now(),
		before: s.settings.values, level: s.settings.isolation(), readOnly: s.settings.bool("default_transaction_read_only"),
	}
}

// write gives the transaction's write buffer, or refuses a write of the
// statement called what.
func (s *session) write(what string) (*writeBuffer, error) {
	tx := s.open()
	switch {
	case tx.readOnly:
		return nil, pgerr.New(pgerr.ReadOnlyTransaction, "cannot execute %s in a read-only transaction", what)
	case tx.level == serializable:
		return nil, pgerr.Unsupported("%s in a SERIALIZABLE transaction", what).
			WithHint("Use ISOLATION LEVEL REPEATABLE READ.")
	}
	if tx.writes == nil {
		tx.writes = newWriteBuffer(maxWriteBytes)
	}
	return tx.writes, s.settleCursors()
}

// grounded says whether the transaction still stands on the database that it
// began with.
func (s *session) grounded() error {
	if s.tx == nil || s.tx.rollbacks == s.en.sessions.rollbacks.Load() {
		return nil
	}
	if err := s.en.sessions.abort.Load(); err != nil {
		return err
	}
	return pgerr.New(pgerr.SerializationFailure, "could not serialize access: the database was rolled back")
}

// commit ends the open transaction: an error means that nothing of it was
// kept.
func (s *session) commit(ctx context.Context) error {
	err := s.grounded()
	if err == nil {
		err = s.submitWrites(ctx)
	}
	s.endTransaction(err == nil)
	return err
}

// maxRetries bounds how often a lone statement is run again after a conflict.
const maxRetries = 100

// submitWrites commits what the transaction wrote. A transaction of one
// statement that could be run again is, as long as it tells the client the
// same as before.
func (s *session) submitWrites(ctx context.Context) error {
	tx := s.tx
	var lane chan struct{}
	defer func() {
		if lane != nil {
			<-lane
		}
	}()
	for try := 0; ; try++ {
		if tx.writes == nil || tx.writes.empty() {
			return nil
		}
		c, err := tx.writes.commit()
		if err != nil {
			return err
		}
		e, err := s.en.submit(ctx, &request{commit: c, timeline: tx.timeline})
		if err == nil {
			s.low = max(s.low, e)
			return nil
		}
		if pgerr.CodeOf(err) != pgerr.SerializationFailure || tx.again == nil || try == maxRetries {
			return err
		}
		if lane == nil { // those that contend for a row take turns
			lane = s.en.sessions.lane(tx.writes)
			select {
			case lane <- struct{}{}:
			case <-ctx.Done():
				lane = nil
				return context.Cause(ctx)
			}
		}
		if err := s.grounded(); err != nil {
			return err
		}
		tx.writes, tx.timeline = newWriteBuffer(maxWriteBytes), s.en.timeline.Load()
		tag, aerr := tx.again(ctx)
		if aerr != nil {
			return aerr
		}
		if tag != tx.tag {
			return err
		}
	}
}

// endTransaction forgets the open transaction, whether it was committed or
// not.
func (s *session) endTransaction(committed bool) {
	tx := s.tx
	if tx == nil {
		return
	}
	s.tx = nil
	if tx.pins != nil {
		tx.pins.Release()
	}
	s.settings.end(committed, tx.before)
	s.report()
}

// transactionStatement runs BEGIN, COMMIT and ROLLBACK.
func (s *session) transactionStatement(ctx context.Context, n *sql.Transaction) (*wire.Result, error) {
	switch n.Kind {
	case "BEGIN":
		if s.tx != nil && s.tx.explicit {
			s.warn(pgerr.ActiveTransaction, "there is already a transaction in progress")
		} else if s.tx == nil {
			s.begin(true)
		} else {
			s.tx.explicit, s.tx.again = true, nil // what came before in the query string belongs to the block
		}
		return &wire.Result{Tag: "BEGIN"}, s.setModes(n.Modes)
	case "COMMIT":
		return s.finishBlock(ctx, n, true)
	}
	return s.finishBlock(ctx, n, false)
}

// finishBlock runs COMMIT and ROLLBACK. COMMIT of a failed block rolls back.
func (s *session) finishBlock(ctx context.Context, n *sql.Transaction, commit bool) (*wire.Result, error) {
	tx := s.tx
	if tx == nil || !tx.explicit {
		if n.Chain {
			return nil, pgerr.New(pgerr.NoActiveTransaction, "%s AND CHAIN can only be used in transaction blocks", n.Kind)
		}
		s.warn(pgerr.NoActiveTransaction, "there is no transaction in progress")
	}
	tag := n.Kind
	if tx != nil {
		if commit && !tx.failed {
			if err := s.commit(ctx); err != nil {
				return nil, err
			}
		} else {
			tag = "ROLLBACK"
			s.endTransaction(false)
		}
	}
	if n.Chain {
		level, readOnly := tx.level, tx.readOnly
		s.begin(true)
		s.tx.level, s.tx.readOnly = level, readOnly
	}
	return &wire.Result{Tag: tag}, nil
}

// setModes sets the open block's modes.
func (s *session) setModes(modes []string) error {
	tx := s.tx
	for _, m := range modes {
		name, isLevel := strings.CutPrefix(m, "ISOLATION LEVEL ")
		switch {
		case isLevel:
			level, _ := parseIsolation(name)
			if tx.queries > 0 && level != tx.level {
				return pgerr.New(pgerr.ActiveTransaction, "SET TRANSACTION ISOLATION LEVEL must be called before any query")
			}
			tx.level = level
		case m == "READ ONLY":
			tx.readOnly = true
		case m == "READ WRITE":
			if tx.readOnly && tx.queries > 0 {
				return pgerr.New(pgerr.ActiveTransaction, "transaction read-write mode must be set before any query")
			}
			tx.readOnly = false
		}
	}
	return nil
}

// savepoint is SAVEPOINT within a block: a subtransaction begins.
func (s *session) subtransaction(name string) error {
	tx := s.tx
	if len(tx.saves) >= maxSubtransactions {
		return pgerr.New(pgerr.ProgramLimitExceeded, "a transaction can have at most %d savepoints", maxSubtransactions)
	}
	sub := subtransaction{name: name, settings: s.settings.values}
	if tx.writes == nil {
		tx.writes = newWriteBuffer(maxWriteBytes)
	}
	sub.mark = tx.writes.mark()
	tx.saves = append(tx.saves, sub)
	return nil
}

// findSubtransaction gives the newest savepoint of that name, 3B001 if none.
func (tx *transaction) findSubtransaction(name string) (int, error) {
	for i := len(tx.saves) - 1; i >= 0; i-- {
		if tx.saves[i].name == name {
			return i, nil
		}
	}
	return 0, pgerr.New(pgerr.InvalidSavepoint, "savepoint \"%s\" does not exist", name)
}

// release is RELEASE SAVEPOINT within a block: what was done since belongs to
// what surrounds it.
func (tx *transaction) release(name string) error {
	i, err := tx.findSubtransaction(name)
	if err != nil {
		return err
	}
	tx.saves = tx.saves[:i]
	if i == 0 {
		tx.writes.forgetLog()
	}
	return nil
}

// rollbackTo is ROLLBACK TO SAVEPOINT within a block: what was done since is
// undone, the savepoint stays, and a failed block goes on.
func (s *session) rollbackTo(name string) error {
	i, err := s.tx.findSubtransaction(name)
	if err != nil {
		return err
	}
	if err := s.settleCursors(); err != nil {
		return err
	}
	sub := &s.tx.saves[i]
	s.tx.saves = s.tx.saves[:i+1]
	s.tx.writes.undo(sub.mark)
	s.tx.failed = false
	s.settings.values = sub.settings
	s.report()
	return nil
}

// outside says whether a statement stands outside any transaction: not in a
// block, alone in its query string, and first in its pipeline.
func (s *session) outside(st *statement) bool {
	return st.alone && (s.tx == nil || !s.tx.explicit && s.tx.statements == 0)
}

// standsAlone refuses a statement that can not be part of a transaction.
func (s *session) standsAlone(st *statement, what string) error {
	switch {
	case s.outside(st):
		return nil
	case s.tx != nil && s.tx.explicit:
		return pgerr.New(pgerr.ActiveTransaction, "%s cannot run inside a transaction block", what).
			WithHint("COMMIT or ROLLBACK first.")
	}
	return pgerr.New(pgerr.ActiveTransaction, "%s cannot be executed within a pipeline or together with other statements", what).
		WithHint("Send it as a query of its own.")
}

// definition readies the session for DDL, which is not part of transactions:
// in a block it is refused; among the statements of one query string it
// commits what came before it.
func (s *session) definition(ctx context.Context, what string) error {
	if s.tx == nil {
		return nil
	}
	if s.tx.explicit {
		return pgerr.New(pgerr.ActiveTransaction, "%s cannot run inside a transaction block", what).
			WithHint("COMMIT or ROLLBACK first.")
	}
	if err := s.commit(ctx); err != nil {
		return err
	}
	return nil
}
