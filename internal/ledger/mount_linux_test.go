package ledger

import (
	"strconv"
	"syscall"
)

// mountSmall makes dir a file system of its own, of so many bytes. That takes root.
func mountSmall(dir string, size int) (unmount func() error, err error) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		return nil, err
	}
	return func() error { return syscall.Unmount(dir, 0) }, nil
}
