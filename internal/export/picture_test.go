package export

import (
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

func TestPicture(t *testing.T) {
	for _, tt := range []struct {
		name     string
		o        Options
		snapshot *model.Snapshot
	}{
		{"crowd", Options{}, crowd()},
		{"crowd-80", Options{Limit: 1, Width: 80}, crowd()},
		{"empty", Options{}, empty()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if err := NewPicture(tt.o).Encode(&out, tt.snapshot); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); tt.o.Width > 0 && n > tt.o.Width {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			golden(t, tt.name+".picture", out.String())
		})
	}
}

// Every bucket is in a bar, the ends of the range included.
func TestBarsCoverEverything(t *testing.T) {
	l := took(0, 600*time.Nanosecond, time.Millisecond, time.Hour)
	var out strings.Builder
	pictureEncoder{}.bars(&out, &l)
	var percent int
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(line, " 25.0 %\n") {
			percent += 25
		}
		if strings.HasSuffix(line, " 50.0 %\n") {
			percent += 50
		}
	}
	if percent != 100 {
		t.Errorf("bars make %d %%:\n%s", percent, &out)
	}
}

func TestBar(t *testing.T) {
	for length, want := range map[float64]string{0: "", .01: "▏", .5: "▌", 1: "█", 2.25: "██▎", 2.97: "███"} {
		if got := bar(length); got != want {
			t.Errorf("%v: %q, want %q", length, got, want)
		}
	}
}
