package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
)

// tracer is a program at a tracepoint, beside the hook that counts. A kernel may refuse it: then what it
// would have told stays unknown.
type tracer struct {
	program string
	tells   string // what is unknown without it
	wanted  func(*Config) bool
}

var tracers = []tracer{
	{"lotrace_arrive", "how long requests take to reach their servers", (*Config).breaksDown},
	{"lotrace_read_tcp", "where the time of TCP turns goes", (*Config).breaksDown},
	{"lotrace_read_udp", "where the time of UDP turns goes", (*Config).breaksDown},
	{"lotrace_drop", "why packets are dropped", func(c *Config) bool { return c.Learns(LearnHealth) }},
}

func (c *Config) breaksDown() bool { return c.Learns(LearnBreakdown | LearnTurns) }

// openTracers attaches what the configuration asks for. Tracepoints know no network namespace: the
// programs go by that of the packet or socket.
func (l *Loader) openTracers(c *Config) {
	for _, t := range tracers {
		if !t.wanted(c) {
			continue
		}
		if err := l.openTracer(t.program); err != nil {
			l.warn("%v: %s stays unknown", err, t.tells)
		}
	}
}

func (l *Loader) openTracer(name string) error {
	program, err := l.loadBeside(name)
	if err != nil {
		return err
	}
	at, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return errors.Join(fmt.Errorf("attach %s: %w", name, err), program.Close())
	}
	l.onClose(func() error { return errors.Join(at.Close(), program.Close()) })
	return nil
}
