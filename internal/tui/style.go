package tui

// style is how a piece of text is meant. The terminal's own sixteen colours say it, so that a light
// background is as good as a dark one; what must not be missed is told without colour, too.
type style uint8

const (
	normal style = iota
	strong
	faint
	good
	notice
	alarm
	toServer
	toClient
	selected
)

const resetStyle = "\x1b[0m"

// attributes are shown even where colours are not wanted.
var attributes = [...]string{
	strong: "\x1b[1m", faint: "\x1b[2m", good: "", notice: "", alarm: "\x1b[1m",
	toServer: "", toClient: "", selected: "\x1b[7m",
}

var colours = [...]string{
	strong: "\x1b[1m", faint: "\x1b[2m", good: "\x1b[32m", notice: "\x1b[33m", alarm: "\x1b[1;31m",
	toServer: "\x1b[36m", toClient: "\x1b[35m", selected: "\x1b[7m",
}

func (m *Model) paint(s style, text string) string {
	set := attributes[s]
	if m.options.Color {
		set = colours[s]
	}
	if set == "" || text == "" {
		return text
	}
	return set + text + resetStyle
}
