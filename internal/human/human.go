// Package human writes numbers, names and pictures for people, the same on every face.
package human

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/lotrace/lotrace/internal/model"
)

// Commas prints n exactly, its digits in groups of three.
func Commas(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Signed is Commas with a sign, also before what is not negative.
func Signed(n int64) string {
	if n < 0 {
		return "-" + Commas(-uint64(n))
	}
	return "+" + Commas(uint64(n))
}

// Amount prints n exactly while that takes nine columns at most, which is how wide "→ PACKETS" is.
func Amount(n uint64) string {
	if n < 10_000_000 {
		return Commas(n)
	}
	return scaled(float64(n), "")
}

// Short prints n in five columns at most: exactly up to 9999, then as 82.9k.
func Short(n uint64) string {
	if n < 10_000 {
		return strconv.FormatUint(n, 10)
	}
	return strings.ReplaceAll(scaled(float64(n), ""), " ", "")
}

// Size prints bytes in decimal units, in seven columns at most.
func Size(n uint64) string { return scaled(float64(n), "B") }

// scaled prints v with a decimal prefix before unit: 999 B, 1.2 kB, 45.6 kB, 123 kB.
func scaled(v float64, unit string) string {
	const prefixes = " kMGTPE"
	i := 0
	for ; v >= 999.5 && i < len(prefixes)-1; i++ {
		v /= 1000
	}
	s := threeDigits(v, min(i, 1))
	return strings.TrimSpace(s + " " + strings.TrimSpace(prefixes[i:i+1]) + unit)
}

// Span prints how long something went on: 850 ns, 12.3 µs, 1.0 s; from a minute on as 1m40s.
func Span(d time.Duration) string { return duration(d, 1) }

// Latency is Span to three digits: 850 ns, 3.19 µs, 45.1 ms, 1.20 s. It is no wider.
func Latency(d time.Duration) string { return duration(d, 2) }

// duration prints d in the unit that fits, with so many decimals at most, and three digits at most.
func duration(d time.Duration, decimals int) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	v, units := float64(d), []string{"ns", "µs", "ms", "s"}
	for v >= 999.5 && len(units) > 1 {
		v /= 1000
		units = units[1:]
	}
	if units[0] == "ns" {
		decimals = 0
	}
	return threeDigits(v, decimals) + " " + units[0]
}

// threeDigits prints v with so many decimals at most, and of those what three digits leave room for.
func threeDigits(v float64, decimals int) string {
	switch {
	case v >= 99.95:
		decimals = 0
	case v >= 9.995:
		decimals = min(decimals, 1)
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// Rate prints n per second over d; "-" where there is no time to divide by.
func Rate(n uint64, d time.Duration, format func(uint64) string) string {
	if d <= 0 {
		return "-"
	}
	return format(uint64(float64(n)/d.Seconds() + 0.5))
}

// Frequency is Rate of what may be seldom: 0.02, 12.3, 1,204.
func Frequency(n uint64, d time.Duration) string {
	if perSecond := float64(n) / d.Seconds(); perSecond < 99.95 {
		return threeDigits(perSecond, 2)
	}
	return Rate(n, d, Amount)
}

// Age prints how long before end t was.
func Age(t, end time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Span(max(0, end.Sub(t)))
}

// OrDash prints "-" for nothing.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Plain makes a string from somewhere else safe to show: what does not print, moves the cursor or
// turns the writing direction is escaped as Go does it.
func Plain(s string) string {
	unsafe := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// Counted names how many of something there are.
func Counted(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Commas(n) + " " + noun + "s"
}

// NoFlows says why a window has no flow to show, which is not that the device was silent where a filter chose among its
// flows, or --exclude-self left some out.
func NoFlows(s *model.Window) string {
	on := "on " + Plain(s.Origin.Site().Device)
	if s.Hidden.Packets > 0 {
		on += " but lotrace's own"
	}
	switch {
	case s.Origin.Filter != "":
		return "no flow " + on + " matches " + Plain(s.Origin.Filter) + " in this window"
	case s.Totals.Packets == 0:
		return "no packets " + on + " in this window"
	}
	return "no flows " + on + " in this window"
}
