package filter

import (
	"errors"
	"maps"
	"math"
	"math/bits"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/suggest"
)

// value is one alternative of a term, or what an amount is compared with.
type value struct {
	text   string // canonical
	lo, hi uint64 // a number (lo), or a range
	prefix netip.Prefix
	glob   *regexp.Regexp
}

// Value parsers return an *Error with Msg and Suggest alone; the parser knows the place.

func bad(msg string) *Error { return &Error{Msg: msg} }

// oneOf takes the given words. aliases leads from other spellings to them. To who writes another, the nearest is
// suggested, and all of them where none is near.
func oneOf(what string, words []string, aliases map[string]string) func(string) ([]value, *Error) {
	return func(s string) ([]value, *Error) {
		w := strings.ToLower(s)
		if full, ok := aliases[w]; ok {
			w = full
		}
		if !slices.Contains(words, w) {
			known := slices.Concat(words, slices.Sorted(maps.Keys(aliases)))
			return nil, &Error{Msg: "unknown " + what, Suggest: suggest.Nearest(s, known), Known: words}
		}
		return []value{{text: w}}, nil
	}
}

var protoNames = []struct {
	name  string
	proto model.Proto
}{
	{"tcp", model.ProtoTCP},
	{"udp", model.ProtoUDP},
	{"icmp", model.ProtoICMP},
	{"icmpv6", model.ProtoICMPv6},
	{"sctp", model.ProtoSCTP},
}

func parseProto(s string) ([]value, *Error) {
	var names []string
	number, err := strconv.ParseUint(s, 10, 8)
	for _, p := range protoNames {
		if strings.EqualFold(s, p.name) || err == nil && number == uint64(p.proto) {
			return []value{{text: p.name, lo: uint64(p.proto)}}, nil
		}
		names = append(names, p.name)
	}
	if err != nil {
		return nil, &Error{Msg: "unknown protocol", Suggest: suggest.Nearest(s, names)}
	}
	return []value{{text: strconv.FormatUint(number, 10), lo: number}}, nil
}

func parsePort(s string) ([]value, *Error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	lo, err := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil {
		return nil, bad("a port is 0 to 65535, or two as 8000-8099, not")
	}
	if lo > hi {
		return nil, bad("port range runs backwards:")
	}
	v := value{text: strconv.FormatUint(lo, 10), lo: lo, hi: hi}
	if lo < hi {
		v.text += "-" + strconv.FormatUint(hi, 10)
	}
	return []value{v}, nil
}

// parseAddr takes an address, a prefix, or localhost, which is all that lo answers to by itself.
func parseAddr(s string) ([]value, *Error) {
	if strings.EqualFold(s, "localhost") {
		return []value{
			prefixValue(netip.MustParsePrefix("127.0.0.0/8")),
			prefixValue(netip.MustParsePrefix("::1/128")),
		}, nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		var addr netip.Addr
		addr, err = netip.ParseAddr(s)
		prefix = netip.PrefixFrom(addr, addr.BitLen())
		if addr.Zone() != "" {
			return nil, bad("flows know no zone, as in")
		}
	}
	if err != nil {
		return nil, bad("an address is as 127.0.0.1, ::1, 10.0.0.0/8 or localhost, not")
	}
	return []value{prefixValue(prefix)}, nil
}

// prefixValue folds v4-mapped prefixes, and drops the bits behind the prefix.
func prefixValue(p netip.Prefix) value {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	v := value{text: p.String(), prefix: p}
	if p.IsSingleIP() {
		v.text = p.Addr().String()
	}
	return v
}

var (
	countUnits = map[string]uint64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
	sizeUnits  = map[string]uint64{
		"": 1, "b": 1,
		"k": 1e3, "kb": 1e3, "kib": 1 << 10,
		"m": 1e6, "mb": 1e6, "mib": 1 << 20,
		"g": 1e9, "gb": 1e9, "gib": 1 << 30,
	}
)

func parseCount(s string) ([]value, *Error) {
	if n, ok := scaled(s, countUnits); ok {
		return number(n), nil
	}
	return nil, bad("a number is as 20, 1.5k or 3M, not")
}

func parseSize(s string) ([]value, *Error) {
	if n, ok := scaled(s, sizeUnits); ok {
		return number(n), nil
	}
	return nil, bad("a size is as 4096, 64KiB or 1.5MB, not")
}

// Size reads a number of bytes as filters have it: 4096, 64KiB or 1.5MB.
func Size(s string) (uint64, error) {
	n, ok := scaled(s, sizeUnits)
	if !ok {
		return 0, errors.New("want a size, as 4096, 64KiB or 1.5MB")
	}
	return n, nil
}

func number(n uint64) []value { return []value{{text: strconv.FormatUint(n, 10), lo: n}} }

// scaled reads digits, with a fraction or without, and a unit. Units tell no upper from lower case.
func scaled(s string, units map[string]uint64) (n uint64, ok bool) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units[strings.ToLower(s[len(digits):])]
	if !known || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	if strings.Contains(digits, ".") {
		f, err := strconv.ParseFloat(digits, 64)
		f = math.Round(f * float64(unit))
		return uint64(f), err == nil && unit > 1 && f < 1<<63
	}
	whole, err := strconv.ParseUint(digits, 10, 64)
	over, n := bits.Mul64(whole, unit)
	return n, err == nil && over == 0
}

func parseDuration(s string) ([]value, *Error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return nil, bad("a duration is as 250us, 1.5ms or 2s, not")
	}
	// ASCII, so that it can be typed again.
	return []value{{text: strings.ReplaceAll(d.String(), "µ", "u"), lo: uint64(d)}}, nil
}
