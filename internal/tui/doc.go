// Package tui is the live view. A Model takes messages (frames, keys, the size of the screen) and draws
// itself; it has no clock, no goroutine and no I/O. Time is what the frames say, so that whoever sends them
// may as well play a recording.
package tui
