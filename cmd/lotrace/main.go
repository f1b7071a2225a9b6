// Command lotrace shows what the services on one machine say to each other over lo.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lotrace/lotrace/internal/hook"
)

func main() {
	hook.Guard()
	ctx, stop := untilSignalled(context.Background())
	// The first signal asks for an orderly end; a second one finds its default action again.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// untilSignalled returns a context that ends with the first signal to stop. Signals that the
// process was started to ignore (nohup, a shell's background job) stay ignored.
func untilSignalled(parent context.Context) (context.Context, context.CancelFunc) {
	// With a handler in place, writing to a closed pipe is an error that run can see instead of a
	// silent death. Ignoring the signal would do the same, but children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	var stops []os.Signal
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			stops = append(stops, sig)
		}
	}
	if len(stops) == 0 { // NotifyContext takes an empty list for every signal there is
		return context.WithCancel(parent)
	}
	return signal.NotifyContext(parent, stops...)
}
