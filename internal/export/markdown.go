package export

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// markdownEncoder writes a GitHub-flavoured Markdown table below the title, for issues and notes.
type markdownEncoder struct{ request }

func (e markdownEncoder) Encode(w io.Writer, s *model.Window) error {
	sh, err := newSheet(e.request, s, false)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	title := lines(sh.title, func(alarm string) string { return alarm })
	fmt.Fprintf(out, "%s\n\n", escape(strings.Join(title, "  \n"))) // two blanks: a line break
	writeSheet(out, &sh)
	if s.SlowFrom > 0 {
		slow := slowSheet(s, e.SlowLimit)
		fmt.Fprintf(out, "\n%s\n\n", escape(slowTitle(s)))
		writeSheet(out, &slow)
	}
	return out.Flush()
}

func writeSheet(w io.Writer, sh *sheet) {
	if len(sh.rows) > 0 {
		writeTable(w, sh)
	}
	if sh.more != "" && len(sh.rows) > 0 {
		fmt.Fprintln(w)
	}
	if sh.more != "" {
		fmt.Fprintf(w, "%s\n", strings.ReplaceAll(escape(sh.more), "\n", "  \n"))
	}
}

func writeTable(w io.Writer, sh *sheet) {
	rule := make([]string, len(sh.heads))
	for i, text := range sh.texts {
		rule[i] = "--:"
		if text {
			rule[i] = ":--"
		}
	}
	writeRow(w, sh.heads)
	writeRow(w, rule)
	for _, row := range sh.rows {
		for i := range row {
			row[i] = escape(row[i])
		}
		writeRow(w, row)
	}
}

func writeRow(w io.Writer, cells []string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

var markdownMeaning = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `<`, `\<`, `>`, `\>`, `|`, `\|`, `~`, `\~`, `&`, `\&`, `#`, `\#`, `@`, `\@`,
)

// escape takes from s what Markdown would read as its own, so that a process's name cannot become
// a link, a tag or another column.
func escape(s string) string { return markdownMeaning.Replace(s) }
