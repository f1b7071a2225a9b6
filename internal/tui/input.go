package tui

import (
	"slices"
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"
)

// input is a line that is typed, with those that were before.
type input struct {
	text    []rune
	at      int // the cursor is before that one
	history []string
	recall  int // how far back in history; 0: not at all
	draft   string
}

const (
	longestInput = 500 // characters
	mostHistory  = 50  // lines
)

func (in *input) String() string { return string(in.text) }

func (in *input) set(text string) {
	in.text = []rune(text)
	in.at, in.recall = len(in.text), 0
}

// remember puts the line into the history.
func (in *input) remember() {
	text := strings.TrimSpace(in.String())
	if text == "" {
		return
	}
	in.history = slices.DeleteFunc(in.history, func(s string) bool { return s == text })
	in.history = append(in.history, text)
	in.history = in.history[max(0, len(in.history)-mostHistory):]
}

// older goes back in the history, or forward with a negative number.
func (in *input) older(by int) {
	recall := in.recall + by
	if recall < 0 || recall > len(in.history) {
		return
	}
	if in.recall == 0 {
		in.draft = in.String()
	}
	text := in.draft
	if recall > 0 {
		text = in.history[len(in.history)-recall]
	}
	in.set(text)
	in.recall = recall
}

func (in *input) insert(text string) {
	var typed []rune
	for _, r := range text {
		if unicode.IsPrint(r) {
			typed = append(typed, r)
		}
	}
	typed = typed[:max(0, min(len(typed), longestInput-len(in.text)))]
	in.text = slices.Insert(in.text, in.at, typed...)
	in.at += len(typed)
}

// cut removes from up to the cursor.
func (in *input) cut(from int) {
	in.text = slices.Delete(in.text, from, in.at)
	in.at = from
}

// word is where the word before the cursor begins.
func (in *input) word() int {
	at := in.at
	for at > 0 && in.text[at-1] == ' ' {
		at--
	}
	for at > 0 && in.text[at-1] != ' ' {
		at--
	}
	return at
}

func (in *input) press(k tea.KeyPressMsg) {
	switch k.String() {
	case "left", "ctrl+b":
		in.at = max(0, in.at-1)
	case "right", "ctrl+f":
		in.at = min(len(in.text), in.at+1)
	case "home", "ctrl+a":
		in.at = 0
	case "end", "ctrl+e":
		in.at = len(in.text)
	case "backspace", "ctrl+h":
		in.cut(max(0, in.at-1))
	case "delete", "ctrl+d":
		in.text = slices.Delete(in.text, in.at, min(len(in.text), in.at+1))
	case "ctrl+u":
		in.cut(0)
	case "ctrl+w", "alt+backspace":
		in.cut(in.word())
	case "ctrl+k":
		in.text = in.text[:in.at]
	case "up", "ctrl+p":
		in.older(1)
	case "down", "ctrl+n":
		in.older(-1)
	default:
		in.insert(k.Text)
	}
}
