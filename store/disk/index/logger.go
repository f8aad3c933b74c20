package index

import (
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// logger passes what badger says to zap, and to the ledger.
type logger struct {
	z      *zap.Logger
	ledger *ledger
}

var _ badger.Logger = logger{}

func (l logger) Errorf(format string, args ...any) {
	l.z.Error("index store reports an error", detail(format, args))
}

func (l logger) Warningf(format string, args ...any) {
	l.ledger.note(format, args)
	l.z.Warn("index store reports a problem", detail(format, args))
}

// Infof logs at debug level: badger tells about every compaction so.
func (l logger) Infof(format string, args ...any) { l.debug(format, args) }

func (l logger) Debugf(format string, args ...any) {
	l.ledger.note(format, args)
	l.debug(format, args)
}

func (l logger) debug(format string, args []any) {
	if ce := l.z.Check(zap.DebugLevel, "index store reports"); ce != nil {
		ce.Write(detail(format, args))
	}
}

func detail(format string, args []any) zap.Field {
	return zap.String("detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
