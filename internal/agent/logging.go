package agent

import (
	stdlog "log" //nolint:depguard // the only logger net/http takes

	"github.com/go-logr/logr"
)

// quietLog passes what net/http complains about (mostly peers that go away) to the debug level, without its
// text: that may hold what a peer sent.
func quietLog(log logr.Logger) *stdlog.Logger { return stdlog.New(discard{log}, "", 0) }

type discard struct{ log logr.Logger }

func (d discard) Write(p []byte) (int, error) {
	d.log.V(2).Info("a connection ended badly")
	return len(p), nil
}
