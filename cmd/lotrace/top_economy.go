package main

import (
	"runtime"
	"runtime/debug"
)

// fewFlows is up to how many flows memory and the length of a frame's work do not matter, but how much a
// process takes that mostly sleeps.
const fewFlows = 20_000

// manyPercent is by how much the heap grows, with many flows, before it is collected.
const manyPercent = 10

// economy sets the Go runtime up for what top has to do. It is for the whole process, so no other command has one.
//
// With few flows, nearly all there is to do is to wake up, see that nothing has changed, and sleep again. A
// second thread that wakes up along with the first, to see whether there is something to do for it, costs as
// much.
//
// With many, counting and drawing go on side by side, and the heap is collected when it has grown by little:
// what a frame leaves behind is little beside what is kept, and that holds few pointers, so looking often is
// cheap, and saves memory.
type economy struct {
	many           bool
	procs, percent int // before top
}

func newEconomy() *economy {
	return &economy{procs: runtime.GOMAXPROCS(1), percent: debug.SetGCPercent(100)}
}

// adjust knows how many flows there are now.
func (e *economy) adjust(flows int) {
	many := flows >= fewFlows
	if many == e.many {
		return
	}
	e.many = many
	if many {
		runtime.GOMAXPROCS(e.procs)
		debug.SetGCPercent(manyPercent) // which collects at once
	} else {
		runtime.GOMAXPROCS(1)
		debug.SetGCPercent(100)
	}
}

func (e *economy) end() {
	runtime.GOMAXPROCS(e.procs)
	debug.SetGCPercent(e.percent)
}
