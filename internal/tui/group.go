package tui

import (
	"slices"
)

// group is what rows stand for.
type group uint8

const (
	groupService group = iota
	groupPair
	groupFlow
	groupProcess
	groupCgroup
)

var groupNames = []string{"service", "pair", "flow", "process", "cgroup"}

// Groups lists what Options.By takes, the default first.
func Groups() []string { return slices.Clone(groupNames) }

func (g group) String() string { return groupNames[g] }

func (g group) top() kind {
	return [...]kind{kindService, kindPair, kindFlow, kindProcess, kindCgroup}[g]
}

func (g group) isUsage() bool { return g == groupProcess || g == groupCgroup }
