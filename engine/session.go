package engine

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// maxSessions bounds the sessions of an engine.
const maxSessions = 10_000

// sessionSet is the open sessions. The zero value is ready.
type sessionSet struct {
	mu     sync.Mutex
	open   map[*session]struct{}
	closed bool

	// rollbacks counts the rollbacks of the database: a transaction that began
	// before the newest one has lost its ground.
	rollbacks atomic.Uint64
	abort     atomic.Pointer[pgerr.Error] // what such a transaction is told

	lanes [64]chan struct{} // of statements that are run again, made by need
}

// lane gives the turnstile of the statements that contend for the first row
// that b changes: without it a statement among many may lose for ever.
func (ss *sessionSet) lane(b *writeBuffer) chan struct{} {
	h := uint64(0)
	for _, t := range b.order {
		for i := range t.writes {
			if t.writes[i].diff != 0 {
				h = t.writes[i].hash ^ uint64(t.id[0])
				break
			}
		}
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	l := &ss.lanes[h%uint64(len(ss.lanes))]
	if *l == nil {
		*l = make(chan struct{}, 1)
	}
	return *l
}

func (ss *sessionSet) add(s *session) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	switch {
	case ss.closed:
		return pgerr.New(pgerr.CannotConnectNow, "the database system is shutting down")
	case len(ss.open) >= maxSessions:
		return pgerr.New(pgerr.TooManyConnections, "sorry, too many clients already")
	case ss.open == nil:
		ss.open = map[*session]struct{}{}
	}
	ss.open[s] = struct{}{}
	return nil
}

func (ss *sessionSet) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, s)
}

// closeAll ends what all sessions do and lets no new ones in. Their
// connections close them.
func (ss *sessionSet) closeAll() {
	ss.mu.Lock()
	ss.closed = true
	open := maps.Clone(ss.open)
	ss.mu.Unlock()
	for s := range open {
		s.cancel(errShutdown)
	}
}

// abortAll makes all open transactions fail with err at their next statement:
// the database was rolled back under them.
func (ss *sessionSet) abortAll(err error) {
	ss.abort.Store(pgerr.From(err))
	ss.rollbacks.Add(1)
}

// session is one connection's conversation. Its calls come from one goroutine
// at a time.
type session struct {
	en             *Engine
	client         wire.Client
	user, database string
	pid            int32

	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc

	settings settings
	prepared map[string]*namedStatement // PREPARE's
	low      types.Epoch                // reads are not below what was read or committed last
	tx       *transaction               // nil: none is open
	cursors  []*queryRows               // open, and reading the transaction's writes
}

// Connect implements wire.Engine.
func (en *Engine) Connect(_ context.Context, st wire.Startup) (wire.Session, error) {
	if err := en.err(); err != nil {
		return nil, pgerr.New(pgerr.CannotConnectNow, "the database system is shutting down")
	}
	database := st.Database
	if database == "" {
		database = st.User
	}
	if !knownName(st.User) {
		return nil, pgerr.New(pgerr.InvalidAuthorization, "role \"%s\" does not exist", st.User).
			WithHint("Connect as user streamdb or postgres.")
	}
	if !knownName(database) {
		return nil, pgerr.New(pgerr.InvalidCatalogName, "database \"%s\" does not exist", database).
			WithHint("Connect to database streamdb.")
	}
	s := &session{en: en, client: st.Client, user: st.User, database: database, pid: st.PID,
		prepared: map[string]*namedStatement{},
		// What was acknowledged to anyone before, also before a restart, is in
		// the first read: a client that connects anew finds its own commits.
		low: en.closed.Load().ID}
	if err := s.settings.start(st.User, st.Params); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	if err := en.sessions.add(s); err != nil {
		s.cancel(err)
		return nil, err
	}
	return s, nil
}

// knownName holds for the users and databases there are.
func knownName(n string) bool { return n == "streamdb" || n == "postgres" }

// Parameters implements wire.Session.
func (s *session) Parameters() [][2]string { return s.settings.reported() }

// Close implements wire.Session.
func (s *session) Close() {
	s.endTransaction(false)
	s.cancel(errShutdown)
	s.en.sessions.remove(s)
}

// TxStatus implements wire.Session.
func (s *session) TxStatus() byte {
	switch {
	case s.tx == nil || !s.tx.explicit:
		return 'I'
	case s.tx.failed:
		return 'E'
	}
	return 'T'
}

// Fail implements wire.Session.
func (s *session) Fail() {
	switch {
	case s.tx == nil:
	case s.tx.explicit:
		s.tx.failed = true
	default:
		s.endTransaction(false)
	}
}

// Sync implements wire.Session.
func (s *session) Sync(ctx context.Context) error {
	if s.tx == nil || s.tx.explicit {
		return nil
	}
	return s.commit(ctx)
}

// statement is one statement of a query string. Alone says that it is the
// only one.
type statement struct {
	stmt  sql.Stmt
	text  string
	alone bool
}

// SQL implements wire.Statement.
func (s *statement) SQL() string { return s.text }

// Parse implements wire.Session.
func (s *session) Parse(_ context.Context, query string) ([]wire.Statement, error) {
	texts, err := sql.Parse(query)
	if err != nil {
		return nil, err
	}
	out := make([]wire.Statement, len(texts))
	for i, t := range texts {
		out[i] = &statement{stmt: t.Stmt, text: t.SQL, alone: len(texts) == 1}
	}
	return out, nil
}

// notice tells the client something that is no error.
func (s *session) notice(severity string, n *pgerr.Error) {
	if s.client != nil && s.settings.wants(severity) {
		s.client.Notice(severity, n)
	}
}

func (s *session) notices(ns []*pgerr.Error) {
	for _, n := range ns {
		severity := "NOTICE"
		if n.Code == pgerr.Warning {
			severity = "WARNING"
		}
		s.notice(severity, n)
	}
}

func (s *session) warn(code pgerr.Code, format string, args ...any) {
	s.notice("WARNING", pgerr.New(code, format, args...))
}
