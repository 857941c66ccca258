package engine

import "time"

// RestoredValues are the store values of a ledger that is put back from a backup, written at a time: those by these
// names stay as they are, those in set are set for no store, and every other is to be forgotten. Together with pools
// that are not set, no placements and no order lines this is what [Engine] takes for a lost ledger with its old id:
// what the stores did since the backup is in their markers and numbers, and not in the ledger.
func RestoredValues(now time.Time) (stay []string, set map[string]string) {
	return []string{valueTakeOver, valueTakenOver}, map[string]string{valueRecovering: now.UTC().Format(time.RFC3339)}
}
