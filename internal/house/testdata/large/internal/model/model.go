package model

// Flow is what a user sees, as wide as that is.
type Flow struct {
	a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u int
}
