//go:build !linux

package ledger

import "errors"

func mountSmall(string, int) (func() error, error) {
	return nil, errors.New("only known on Linux")
}
