package ledger

import (
	"fmt"
)

// applicationID marks a SQLite file as a ledger: "SsLd".
const applicationID = 0x53734c64

// migrations lead from one schema to the next; user_version is how many have been made. Texts that were once
// released are never changed.
//
// Times are microseconds since 1970. The columns after dirty_since say what the Go value says of itself, so that
// the lists of work are partial indexes that hold nothing but the work.
var migrations = [][]string{{
	`CREATE TABLE ledger (
		id      TEXT NOT NULL,
		attempt INTEGER NOT NULL
	) STRICT`,
	`INSERT INTO ledger (id, attempt) VALUES ('', 0)`,

	`CREATE TABLE pools (
		id      INTEGER PRIMARY KEY,
		sku     TEXT NOT NULL,
		units   INTEGER NOT NULL DEFAULT 0,
		is_set  INTEGER NOT NULL DEFAULT 0,
		stopped TEXT NOT NULL DEFAULT '',
		edits   TEXT NOT NULL DEFAULT ''
	) STRICT`,
	`CREATE INDEX pools_stopped ON pools (id) WHERE stopped <> ''`,
	`CREATE INDEX pools_oversold ON pools (units) WHERE units < 0`,

	`CREATE TABLE keys (
		key  TEXT PRIMARY KEY,
		pool INTEGER NOT NULL REFERENCES pools (id)
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX keys_pool ON keys (pool)`,

	`CREATE TABLE placements (
		store         TEXT NOT NULL,
		pool          INTEGER NOT NULL REFERENCES pools (id),
		product       INTEGER NOT NULL,
		variation     INTEGER NOT NULL,
		object        INTEGER NOT NULL,
		sku           TEXT NOT NULL,
		enrolled      INTEGER NOT NULL,
		blocked       TEXT NOT NULL,
		contained     INTEGER NOT NULL,
		baseline      INTEGER NOT NULL,
		taken         INTEGER NOT NULL,
		counted       INTEGER NOT NULL,
		quantity      INTEGER NOT NULL,
		shown         INTEGER NOT NULL,
		read_at       INTEGER NOT NULL,
		undecided     INTEGER NOT NULL,
		restored      INTEGER NOT NULL,
		known         TEXT NOT NULL,
		attempts      TEXT NOT NULL,
		pushes        TEXT NOT NULL,
		parted_since INTEGER NOT NULL,
		unanswered_at INTEGER NOT NULL,
		todo          INTEGER NOT NULL,
		dirty_since   INTEGER NOT NULL,
		pushable      INTEGER NOT NULL,
		restless      INTEGER NOT NULL,
		pending       INTEGER NOT NULL,
		PRIMARY KEY (store, pool)
	) STRICT, WITHOUT ROWID`,
	`CREATE UNIQUE INDEX placements_object ON placements (store, object)`,
	`CREATE INDEX placements_pool ON placements (pool, store)`,
	`CREATE INDEX placements_todo ON placements (store, dirty_since, pool, pushable, todo) WHERE todo <> 0`,
	`CREATE INDEX placements_restless ON placements (store, pool) WHERE restless = 1`,
	`CREATE INDEX placements_pending ON placements (store, pool) WHERE pending = 1`,
	`CREATE INDEX placements_new ON placements (store) WHERE enrolled = 0`,

	`CREATE TABLE lines (
		store     TEXT NOT NULL,
		order_id  INTEGER NOT NULL,
		line_id   INTEGER NOT NULL,
		product   INTEGER NOT NULL,
		variation INTEGER NOT NULL,
		units     INTEGER NOT NULL,
		changes   TEXT NOT NULL,
		created   INTEGER NOT NULL,
		modified  INTEGER NOT NULL,
		newest    INTEGER NOT NULL,
		PRIMARY KEY (store, order_id, line_id)
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX lines_product ON lines (store, product, newest)`,

	`CREATE TABLE store_values (
		store TEXT NOT NULL,
		name  TEXT NOT NULL,
		value TEXT NOT NULL,
		PRIMARY KEY (store, name)
	) STRICT, WITHOUT ROWID`,

	`CREATE TABLE history (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		at       INTEGER NOT NULL,
		kind     TEXT NOT NULL,
		store    TEXT NOT NULL,
		pool     INTEGER NOT NULL,
		sku      TEXT NOT NULL,
		delta    INTEGER NOT NULL,
		units    INTEGER NOT NULL,
		quantity INTEGER NOT NULL,
		attempt  INTEGER NOT NULL,
		evidence TEXT NOT NULL,
		conflict INTEGER NOT NULL
	) STRICT`,
	`CREATE INDEX history_pool ON history (pool)`,

	`CREATE TABLE conflicts (
		id       INTEGER PRIMARY KEY,
		at       INTEGER NOT NULL,
		kind     TEXT NOT NULL,
		store    TEXT NOT NULL,
		pool     INTEGER NOT NULL,
		sku      TEXT NOT NULL,
		delta    INTEGER NOT NULL,
		units    INTEGER NOT NULL,
		quantity INTEGER NOT NULL,
		attempt  INTEGER NOT NULL,
		evidence TEXT NOT NULL,
		conflict INTEGER NOT NULL
	) STRICT`,
	`CREATE INDEX conflicts_store ON conflicts (store)`,
}, {
	`ALTER TABLE history ADD COLUMN cause TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE conflicts ADD COLUMN cause TEXT NOT NULL DEFAULT ''`,
	// What is not everyday work, so that the warnings among millions of lines are found at once.
	`CREATE INDEX history_rare ON history (id) WHERE ` + rare,
}, {
	// The fields beside the quantity. Items that manage no stock are placements too; they wait for no baseline.
	`ALTER TABLE pools ADD COLUMN registers TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE placements ADD COLUMN shelf TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE placements ADD COLUMN unlike INTEGER NOT NULL DEFAULT 0`,
	`CREATE INDEX placements_unlike ON placements (store, pool) WHERE unlike = 1`,
	`DROP INDEX placements_new`,
	`CREATE INDEX placements_waiting ON placements (store) WHERE enrolled = 0 AND blocked <> 'Unmanaged'`,
}, {
	`CREATE TABLE runs (
		id   INTEGER PRIMARY KEY AUTOINCREMENT,
		body TEXT NOT NULL
	) STRICT`,
	`CREATE TABLE findings (
		id   INTEGER PRIMARY KEY AUTOINCREMENT,
		run  INTEGER NOT NULL,
		body TEXT NOT NULL
	) STRICT`,
	`CREATE INDEX findings_run ON findings (run, id)`,
}, {
	`CREATE TABLE nonces (
		sum   BLOB PRIMARY KEY,
		until INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX nonces_until ON nonces (until)`,
}, {
	`CREATE INDEX placements_urgent ON placements (store, dirty_since, pool) WHERE todo <> 0 AND ` + urgent,
}, {
	// What must not be taken twice, as a hash, and stores that are written whole numbers.
	`CREATE TABLE remembered (
		id    INTEGER PRIMARY KEY AUTOINCREMENT,
		text  TEXT NOT NULL UNIQUE,
		until INTEGER NOT NULL
	) STRICT`,
	`CREATE INDEX remembered_until ON remembered (until)`,
	`ALTER TABLE placements ADD COLUMN absolute TEXT NOT NULL DEFAULT ''`,
}, {
	// What is known of a source's items, which of them shops sell under another SKU, and which of the shops' orders it has.
	`ALTER TABLE placements ADD COLUMN target TEXT NOT NULL DEFAULT ''`,
	`CREATE TABLE items (
		id       TEXT PRIMARY KEY,
		pool     INTEGER NOT NULL REFERENCES pools (id),
		sku      TEXT NOT NULL,
		gone     INTEGER NOT NULL,
		created  INTEGER NOT NULL,
		modified INTEGER NOT NULL,
		supplies TEXT NOT NULL,
		owed     TEXT NOT NULL
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX items_sku ON items (sku)`,
	`CREATE UNIQUE INDEX items_pool ON items (pool)`,
	`CREATE INDEX items_owed ON items (id) WHERE owed <> ''`,
	`CREATE TABLE links (
		store     TEXT NOT NULL,
		object    INTEGER NOT NULL,
		product   INTEGER NOT NULL,
		variation INTEGER NOT NULL,
		item      TEXT NOT NULL,
		made_by   TEXT NOT NULL,
		PRIMARY KEY (store, object)
	) STRICT, WITHOUT ROWID`,
	`CREATE UNIQUE INDEX links_item ON links (store, item)`,
	`CREATE TABLE imports (
		store    TEXT NOT NULL,
		order_id TEXT NOT NULL,
		item     TEXT NOT NULL,
		step     INTEGER NOT NULL,
		at       INTEGER NOT NULL,
		PRIMARY KEY (store, order_id, item)
	) STRICT, WITHOUT ROWID`,
}, {
	// The identity of what is sold, whatever its SKU, and items that are to be given another.
	`ALTER TABLE pools ADD COLUMN gid TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE pools ADD COLUMN former TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE pools ADD COLUMN renamed INTEGER NOT NULL DEFAULT 0`,
	`CREATE UNIQUE INDEX pools_gid ON pools (gid) WHERE gid <> ''`,
	`ALTER TABLE placements ADD COLUMN naming TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE placements ADD COLUMN misnamed INTEGER NOT NULL DEFAULT 0`,
	`CREATE INDEX placements_misnamed ON placements (store, pool) WHERE misnamed = 1`,
}}

// rare is a part of the schema: it must not change without a migration.
const rare = `(conflict = 1 OR kind NOT IN ('Read', 'Ordered', 'Enrolled', 'Pushed', 'Arrived'))`

// urgent is [stock.Placement.Urgent] where there is something to do. It is a part of the schema too: with another
// [stock.FewUnits] it needs a migration.
const urgent = `contained + counted + todo <= 5`

// check refuses a file that is no ledger, or one of a newer version, before anything is written to it. It
// returns how many migrations the file has had.
func check(s *session) (int, error) {
	var version, application, tables int
	for _, q := range []struct {
		text string
		to   *int
	}{
		{`PRAGMA user_version`, &version},
		{`PRAGMA application_id`, &application},
		{`SELECT count(*) FROM sqlite_schema`, &tables},
	} {
		if err := s.one(q.text, nil, q.to); err != nil {
			return 0, err
		}
	}
	switch {
	case tables > 0 && application != applicationID:
		return 0, fmt.Errorf("%w: it is a SQLite database of another program", ErrDamaged)
	case version > len(migrations):
		return 0, fmt.Errorf("%w (schema %d; this one knows up to %d)", ErrNewerSchema, version, len(migrations))
	}
	return version, nil
}

// migrate brings the schema from a version to the newest, each step in a transaction of its own.
func migrate(s *session, version int, steps [][]string, point func(string)) error {
	for ; version < len(steps); version++ {
		err := s.exec(`BEGIN IMMEDIATE`)
		for _, text := range steps[version] {
			if err == nil {
				err = s.exec(text)
			}
			point(midMigration)
		}
		if err == nil {
			err = s.exec(fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
		}
		if err == nil {
			err = s.exec(fmt.Sprintf(`PRAGMA user_version = %d`, version+1))
		}
		if err == nil {
			err = s.exec(`COMMIT`)
		}
		if err != nil {
			s.rollback()
			return fmt.Errorf("bring the ledger from schema %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}
