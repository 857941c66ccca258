package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// session is one connection with its prepared statements.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	// work counts statements, so that a group commit does not grow without end.
	work int
	// broken is the first error after which SQLite may have rolled back the whole transaction. Whatever came
	// next would be committed by itself, so nothing is done any more until the session is reset.
	broken error
}

func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain(err)
	}
	return &session{conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

// reset makes the session ready for the next transaction, whatever became of the last one.
func (s *session) reset() {
	s.work, s.broken = 0, nil
}

// rollback ends a transaction that SQLite may have ended before.
func (s *session) rollback() {
	s.reset()
	_ = s.exec(`ROLLBACK`)
	s.reset()
}

func (s *session) close() error {
	for _, st := range s.stmts {
		_ = st.Close()
	}
	return s.conn.Close()
}

// Statements run without the caller's context: interrupting one would roll back the transactions of others.

func (s *session) stmt(text string) (*sql.Stmt, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	s.work++
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, s.failed(err)
	}
	s.stmts[text] = st
	return st, nil
}

func (s *session) exec(text string, args ...any) error {
	_, err := s.change(text, args...)
	return err
}

// change returns how many rows it changed.
func (s *session) change(text string, args ...any) (int64, error) {
	st, err := s.stmt(text)
	if err != nil {
		return 0, err
	}
	res, err := st.Exec(args...)
	if err != nil {
		return 0, s.failed(err)
	}
	return res.RowsAffected()
}

// one scans the only row of an answer; [sql.ErrNoRows] if there is none.
func (s *session) one(text string, args []any, to ...any) error {
	st, err := s.stmt(text)
	if err != nil {
		return err
	}
	return s.failed(st.QueryRow(args...).Scan(to...))
}

type scanner interface{ Scan(...any) error }

// list scans all rows of an answer.
func list[T any](s *session, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	st, err := s.stmt(text)
	if err != nil {
		return nil, err
	}
	rows, err := st.Query(args...)
	if err != nil {
		return nil, s.failed(err)
	}
	defer func() { _ = rows.Close() }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, s.failed(rows.Err())
}

// failed explains an error and remembers it if the transaction is not what it was any more.
func (s *session) failed(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	err = explain(err)
	if !violates(err) && s.broken == nil {
		s.broken = err
	}
	return err
}

func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// violates tells errors of one statement from those of the whole transaction.
func violates(err error) bool { return code(err)&0xff == sqlite3.SQLITE_CONSTRAINT }

// explain says what an error of SQLite means for whoever runs the agent.
func explain(err error) error {
	c := code(err)
	switch {
	case c&0xff == sqlite3.SQLITE_FULL, c == sqlite3.SQLITE_IOERR_SHMSIZE:
		return fmt.Errorf("%w (%w)", ErrDiskFull, err)
	case c&0xff == sqlite3.SQLITE_CORRUPT, c&0xff == sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return err
}
