package owner_test

import (
	"testing"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
)

// TestWithout plays every scene with one source of owners left out: what only that would know is
// unknown then, and nothing is wrong.
func TestWithout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config loader.Config
	}{
		{"owners", loader.Config{Learn: loader.LearnUsual &^ loader.LearnOwners}},
		{"sockets", loader.Config{Hook: hook.XDP}},
		{"scan", loader.Config{Learn: loader.LearnUsual &^ loader.LearnHolders}},
		{"anything", loader.Config{Learn: loader.LearnUsual &^ (loader.LearnOwners | loader.LearnHolders)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			playAll(t, tt.config)
		})
	}
}
