// Package room has one of each thing that is too large, and one that is just not.
package room

import "io"

type wide struct {
	a, b, c, d, e, f, g, h, i, j int
	k, l, m, n, o, p, q, r, s    int
	io.Reader
	t string
}

type fits struct {
	a, b, c, d, e, f, g, h, i, j int
	k, l, m, n, o, p, q, r, s, t int
}

var nested = struct {
	inner struct{ a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u int }
}{}

type small interface {
	One()
	Two()
}

type sum interface {
	small
	io.Closer
	Three()
	Four()
}

type four interface {
	small
	Three()
	Four()
}

type pair[A, B any] struct{}

func (p *pair[A, B]) long() {
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
}

func justShort() {
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
	println()
}
