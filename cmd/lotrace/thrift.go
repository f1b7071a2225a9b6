package main

import "runtime/debug"

// thrift keeps the heap of a command near what its windows need.
type thrift struct {
	many bool // there were many flows
	few  int  // windows in a row that had few since
}

// letGoAfter is after how many windows what many flows needed is let go of: lists of rows are used again in turn.
const letGoAfter = 4

// adjust knows how many flows the newest window has.
func (t *thrift) adjust(flows int) {
	switch {
	case flows >= fewFlows:
		if !t.many { // what a window leaves behind is little beside what is kept
			debug.SetGCPercent(manyPercent)
		}
		t.many, t.few = true, 0
	case t.many:
		if t.few++; t.few == letGoAfter {
			debug.FreeOSMemory()
			debug.SetGCPercent(100)
			t.many = false
		}
	}
}
