package journal

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

const restoreHint = "Restore this file from a copy of the data directory."

// isNoSpace reports whether err says that the disk or a quota is full: the
// one failure of a write after which the log goes on.
func isNoSpace(err error) bool {
	return vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT)
}

// ioError is the user's form of a failed file operation.
func ioError(err error, op, path string) *pgerr.Error {
	if isNoSpace(err) {
		return pgerr.Wrap(err, pgerr.DiskFull, "could not %s journal file %q: no space left on device", op, path).
			WithHint("Free some space on the data directory's file system and try again; nothing that was acknowledged is lost.")
	}
	return pgerr.Wrap(err, pgerr.IOError, "could not %s journal file %q: %v", op, path, err).
		WithHint("Check the disk and its kernel log, then restart the server; it recovers everything that was acknowledged.")
}

// corrupted says that bytes which were once durable are no longer there.
func corrupted(path string, off int64, lsn types.LSN, format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.DataCorrupted, "journal file %q is damaged at offset %d (LSN %d): "+format,
		append([]any{path, off, lsn}, args...)...).WithHint(restoreHint)
}
