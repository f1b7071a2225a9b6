package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

// Sockets that cannot be walked over are a warning, once until they can.
func TestUnknownQueuesAreSaid(t *testing.T) {
	var stderr bytes.Buffer
	var c watching
	for _, err := range []error{nil, errors.New("one"), errors.New("two"), nil, errors.New("three")} {
		c.sayQueues(&invocation{stderr: &stderr}, &model.Window{QueuesFailed: err})
	}
	const want = "lotrace: warning: one: what waits in sockets is unknown until this succeeds\n" +
		"lotrace: warning: three: what waits in sockets is unknown until this succeeds\n"
	if stderr.String() != want {
		t.Errorf("got %q", stderr.String())
	}
}
