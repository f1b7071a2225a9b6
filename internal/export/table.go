package export

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/lotrace/lotrace/internal/model"
)

// tableEncoder writes plain columns as ss and kubectl do. Colour says something or is not there.
type tableEncoder struct {
	request
	wide bool
}

const (
	red   = "\x1b[31m"
	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

func (e tableEncoder) Encode(w io.Writer, s *model.Window) error {
	sh, err := newSheet(e.request, s, e.wide)
	if err != nil {
		return err
	}
	twwidth.SetEastAsian(false) // or the locale would decide how wide "→" and "…" are
	out := bufio.NewWriter(w)
	for _, line := range lines(sh.title, func(alarm string) string { return e.paint(red, alarm) }) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
	if len(sh.rows) > 0 {
		if e.Width > 0 && !e.wide {
			narrow(&sh, e.Width)
		}
		if err := e.draw(out, &sh); err != nil {
			return err
		}
	}
	if sh.legend != "" {
		fmt.Fprintln(out, sh.legend)
	}
	if sh.more != "" {
		fmt.Fprintln(out, sh.more)
	}
	if err := e.drawSlow(out, s); err != nil {
		return err
	}
	return out.Flush()
}

// draw puts the sheet's rows under its heads.
func (e tableEncoder) draw(w io.Writer, sh *sheet) error {
	align := make([]tw.Align, len(sh.texts))
	padding := make([]tw.Padding, len(sh.texts))
	for i, text := range sh.texts {
		align[i] = tw.AlignRight
		if text {
			align[i] = tw.AlignLeft
		}
		padding[i] = tw.Padding{Left: " ", Overwrite: true}
	}
	padding[0] = tw.PaddingNone
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: align},
		Padding:    tw.CellPadding{Global: tw.PaddingNone, PerColumn: padding},
	}
	var drawn bytes.Buffer
	table := tablewriter.NewTable(&drawn,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: cell, Row: cell}),
	)
	table.Header(sh.heads)
	for i, row := range sh.rows {
		if sh.dim[i] {
			for j := range row {
				row[j] = e.paint(dim, row[j])
			}
		}
		if err := table.Append(row); err != nil {
			return err
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	for line := range bytes.Lines(drawn.Bytes()) {
		// One long command line must not fill everybody's rows with blanks.
		if _, err := fmt.Fprintf(w, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func (e tableEncoder) paint(color, s string) string {
	if !e.Color {
		return s
	}
	return color + s + reset
}

// narrow makes the sheet fit width columns. What may be left out goes first, from the right; then the
// widest texts are cut, but none below leastText: from there on a broken line says more than a short one.
func narrow(sh *sheet, width int) {
	const leastText = 11 // 127…1:51234
	widths := make([]int, len(sh.heads))
	total := len(sh.heads) - 1
	for i, head := range sh.heads {
		widths[i] = twwidth.Width(head)
		for _, row := range sh.rows {
			widths[i] = max(widths[i], twwidth.Width(row[i]))
		}
		total += widths[i]
	}
	for ; total > width && sh.optional > 0; sh.optional-- {
		last := len(sh.heads) - 1
		sh.heads, sh.texts = sh.heads[:last], sh.texts[:last]
		for i := range sh.rows {
			sh.rows[i] = sh.rows[i][:last]
		}
		total -= 1 + widths[last]
	}
	for ; total > width; total-- {
		widest := -1
		for i, text := range sh.texts {
			if text && widths[i] > leastText && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for _, row := range sh.rows {
		for i, text := range sh.texts {
			if text {
				row[i] = cut(row[i], widths[i])
			}
		}
	}
}

// cut takes out of s's middle what does not fit width columns: names begin, and the last digit of
// an address and its port end there.
func cut(s string, width int) string {
	if twwidth.Width(s) <= width {
		return s
	}
	const tailWidth = 7
	runes, room := []rune(s), width-1
	tail := len(runes)
	for used := 0; tail > 0; tail-- {
		w := twwidth.Width(string(runes[tail-1]))
		if used += w; used > tailWidth {
			break
		}
		room -= w
	}
	head := 0
	for ; head < tail; head++ {
		if room -= twwidth.Width(string(runes[head])); room < 0 {
			break
		}
	}
	return string(runes[:head]) + "…" + string(runes[tail:])
}
