package testkit

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Record adds one of length d to l.
func Record(l *model.Latency, d time.Duration) {
	one := model.Single(d)
	l.Add(&one)
}
