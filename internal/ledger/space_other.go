//go:build !linux && !darwin

package ledger

import "errors"

// Space is not measured on this system.
func Space(string) (capacity, free int64, err error) {
	return 0, 0, errors.New("the ledger's file system cannot be measured on this system")
}
