package stats

import (
	"testing"

	"github.com/lotrace/lotrace/internal/reading"
)

// Whatever there may be too little of, more than half of it taken is pressure.
func TestUnderPressure(t *testing.T) {
	plenty := Config{MaxFlows: 100, Exchanges: 100, HealthPlaces: 100}
	five := table{slots: make([]tableSlot, 6)}
	put := func(index uint32) {
		count := reading.SlotCount{Index: index, State: reading.SlotLive, Health: index + 1}
		five.put(&reading.Slot{SlotCount: count, Exchange: index + 1})
	}
	for index := range uint32(6) {
		put(index)
	}
	put(5) // once more
	five.free(5)
	for name, c := range map[string]struct {
		few  func(*Config)
		want bool
	}{
		"plenty of all": {func(*Config) {}, false},
		"few slots":     {func(c *Config) { c.MaxFlows = 9 }, true},
		"few turns":     {func(c *Config) { c.Exchanges = 9 }, true},
		"little health": {func(c *Config) { c.HealthPlaces = 9 }, true},
		"half of them":  {func(c *Config) { c.MaxFlows, c.Exchanges, c.HealthPlaces = 10, 10, 10 }, false},
		"none at all":   {func(c *Config) { c.Exchanges, c.HealthPlaces = 0, 0 }, false},
	} {
		config := plenty
		c.few(&config)
		if got := five.isUnderPressure(&config); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
