//go:build unix

package file

import (
	"os"
	"syscall"
)

// inode gives the number that stays with a file while it grows, 0 if there is
// none. The device's number is left out: it may change at a reboot.
func inode(st os.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
