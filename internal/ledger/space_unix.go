//go:build linux || darwin

package ledger

import (
	"fmt"
	"syscall"
)

// Space tells how many bytes the file system of a directory has and how many of them we may still write.
func Space(dir string) (capacity, free int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("measure the ledger's file system: %w", err)
	}
	block := int64(s.Bsize) //nolint:unconvert // it has another type on other systems
	return int64(s.Blocks) * block, int64(s.Bavail) * block, nil
}
