package ledger

import (
	"bytes"
	"context"
	"slices"
	"time"
)

// Nonce is the fingerprint of a signed request that must not come again until a time.
type Nonce struct {
	Sum   [16]byte
	Until time.Time
}

// Nonces are those to be remembered after now, by fingerprint.
func (s *SQLite) Nonces(ctx context.Context, now time.Time) (nonces []Nonce, err error) {
	err = s.view(ctx, func(tx *sqliteTx) error {
		nonces, err = list(tx.s, func(from scanner) (n Nonce, err error) {
			var sum []byte
			var until int64
			if err := from.Scan(&sum, &until); err != nil {
				return Nonce{}, err
			}
			copy(n.Sum[:], sum)
			n.Until = moment(until)
			return n, nil
		}, `SELECT sum, until FROM nonces WHERE until > ? ORDER BY sum`, now.UnixMicro())
		return err
	})
	return nonces, err
}

// KeepNonces remembers nonces, the later time of two, and forgets those whose time is over.
func (s *SQLite) KeepNonces(ctx context.Context, now time.Time, nonces []Nonce) error {
	return s.update(ctx, func(tx *sqliteTx) error {
		for _, n := range nonces {
			err := tx.s.exec(`INSERT INTO nonces (sum, until) VALUES (?, ?) ON CONFLICT (sum) DO UPDATE SET until = max(until, excluded.until)`,
				n.Sum[:], n.Until.UnixMicro())
			if err != nil {
				return err
			}
		}
		return tx.s.exec(`DELETE FROM nonces WHERE until <= ?`, now.UnixMicro())
	})
}

// Nonces is [SQLite.Nonces].
func (m *Memory) Nonces(_ context.Context, now time.Time) (nonces []Nonce, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for sum, until := range m.nonces {
		if until.After(at(now)) {
			nonces = append(nonces, Nonce{sum, until})
		}
	}
	slices.SortFunc(nonces, func(a, b Nonce) int { return bytes.Compare(a.Sum[:], b.Sum[:]) })
	return nonces, nil
}

// KeepNonces is [SQLite.KeepNonces].
func (m *Memory) KeepNonces(_ context.Context, now time.Time, nonces []Nonce) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range nonces {
		if until := at(n.Until); until.After(m.nonces[n.Sum]) || m.nonces[n.Sum].IsZero() {
			m.nonces[n.Sum] = until
		}
	}
	for sum, until := range m.nonces {
		if !until.After(at(now)) {
			delete(m.nonces, sum)
		}
	}
	return nil
}
