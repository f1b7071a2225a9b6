package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/pcapng"
	"github.com/lotrace/lotrace/internal/reading"
)

// oneInValue is a flag that takes a fraction: 1/N.
type oneInValue struct{ dst *uint32 }

func (v *oneInValue) Type() string { return "1/N" }

func (v *oneInValue) String() string {
	if *v.dst == 0 {
		return ""
	}
	return fmt.Sprintf("1/%d", *v.dst)
}

func (v *oneInValue) Set(s string) error {
	text, ok := strings.CutPrefix(s, "1/")
	n, err := strconv.ParseUint(text, 10, 32)
	if !ok || err != nil || n == 0 {
		return errors.New("want one in so many, as 1/100")
	}
	*v.dst = uint32(n)
	return nil
}

// sizeValue is a flag that takes a number of bytes above zero.
type sizeValue struct{ dst *int64 }

func (v *sizeValue) Type() string { return "SIZE" }

func (v *sizeValue) String() string {
	if *v.dst == 0 {
		return ""
	}
	return strconv.FormatInt(*v.dst, 10)
}

func (v *sizeValue) Set(s string) error {
	n, err := filter.Size(s)
	if err == nil && (n == 0 || n > math.MaxInt64/2) {
		err = errors.New("want more than zero, and no more than there is")
	}
	if err == nil {
		*v.dst = int64(n)
	}
	return err
}

// roomValue is a flag that takes KiB, or bytes with their unit.
type roomValue struct{ dst *int }

func (v *roomValue) Type() string { return "KiB" }

func (v *roomValue) String() string {
	if *v.dst == 0 {
		return ""
	}
	return strconv.Itoa(*v.dst >> 10)
}

func (v *roomValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil {
		n <<= 10
	} else {
		n, err = filter.Size(s)
	}
	if err != nil || n < 1<<10 || n > maxRoom {
		return errors.New("want KiB, or a size as 64MiB, up to 2GiB")
	}
	*v.dst = int(n)
	return nil
}

// budgetValue is a flag that takes packets a second, bytes a second, or both: 1000/s,10MB/s.
type budgetValue struct{ dst *reading.SampleConfig }

func (v *budgetValue) Type() string { return "N/s" }

func (v *budgetValue) String() string {
	var parts []string
	if n := v.dst.PerSecond; n > 0 {
		parts = append(parts, fmt.Sprintf("%d/s", n))
	}
	if n := v.dst.BytesPerSecond; n > 0 {
		parts = append(parts, fmt.Sprintf("%dB/s", n))
	}
	return strings.Join(parts, ",")
}

func (v *budgetValue) Set(s string) error {
	packets, bytes := uint32(0), uint64(0)
	for part := range strings.SplitSeq(s, ",") {
		text, ok := strings.CutSuffix(part, "/s")
		if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > 0 {
			packets = uint32(n)
			continue
		}
		n, err := filter.Size(text)
		if !ok || err != nil || n == 0 || !strings.HasSuffix(strings.ToLower(text), "b") {
			return errors.New("want packets or bytes a second, as 1000/s, 10MB/s or 1000/s,10MB/s")
		}
		bytes = n
	}
	v.dst.PerSecond, v.dst.BytesPerSecond = packets, bytes
	return nil
}

// keepValue is a flag that takes how much is kept: a number of files, or bytes with their unit.
type keepValue struct{ dst *pcapng.Rotation }

func (v *keepValue) Type() string { return "N|SIZE" }

func (v *keepValue) String() string {
	switch {
	case v.dst.Files > 0:
		return strconv.Itoa(v.dst.Files)
	case v.dst.Total > 0:
		return strconv.FormatInt(v.dst.Total, 10) + "B"
	}
	return ""
}

func (v *keepValue) Set(s string) error {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n > 0 {
		v.dst.Files, v.dst.Total = int(n), 0
		return nil
	}
	var total int64
	if err := (&sizeValue{&total}).Set(s); err != nil || total < minTotal {
		return errors.New("want a number of files, or the size of all, from 1MB on")
	}
	v.dst.Files, v.dst.Total = 0, total
	return nil
}

// minTotal leaves room for packets of any size in each of two files.
const minTotal = 1e6
