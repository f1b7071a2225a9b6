package filter

import (
	"regexp"
	"strings"
)

// globToken is one piece of a shell pattern. A bracket that nothing closes, or with nothing in it,
// stands for itself.
var globToken = regexp.MustCompile(`(?s)\*+|\[[!^]?.[^\]]*\]|\\.|.`)

// globExpr translates a shell pattern, as case and find -path have it, into a regular expression:
// * is any text and ? any character, slashes included; [a-z] is one of these and [!a-z] none of
// them; \ takes what follows as it is.
func globExpr(glob string) string {
	return "(?s:" + globToken.ReplaceAllStringFunc(glob, func(token string) string {
		switch {
		case token[0] == '*':
			return ".*"
		case token == "?":
			return "."
		case token[0] == '[' && len(token) > 1:
			return setExpr(token[1 : len(token)-1])
		case token[0] == '\\' && len(token) > 1:
			return regexp.QuoteMeta(token[1:])
		}
		return regexp.QuoteMeta(token)
	}) + ")"
}

var setEscaper = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

func setExpr(set string) string {
	not := ""
	if len(set) > 1 && (set[0] == '!' || set[0] == '^') {
		not, set = "^", set[1:]
	}
	return "[" + not + setEscaper.Replace(set) + "]"
}

// globValue is a value that matches by a regular expression made of a pattern.
func globValue(text, expr string) ([]value, *Error) {
	compiled, err := regexp.Compile(expr)
	if err != nil {
		return nil, bad("a pattern is as web*, web-? or web-[0-9], not")
	}
	return []value{{text: text, glob: compiled}}, nil
}

// parseGlob takes a pattern for a whole name.
func parseGlob(s string) ([]value, *Error) { return globValue(s, "^"+globExpr(s)+"$") }

// parseCgroup takes a pattern for whole directories of a path that follow one another: from the
// root if it begins with a slash, or else anywhere. What lies below them matches too.
func parseCgroup(s string) ([]value, *Error) {
	start := "/"
	if strings.HasPrefix(s, "/") {
		start = "^"
	}
	return globValue(s, start+globExpr(strings.TrimRight(s, "/"))+"(?:/|$)")
}

// names reports whether the pattern matches a name. An unknown one, "", is matched by none.
func (v value) names(name string) bool { return name != "" && v.glob.MatchString(name) }
