//go:build !unix

package bench

import (
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func cpuTime() (time.Duration, error) {
	return 0, pgerr.Unsupported("measuring CPU time on this operating system")
}
