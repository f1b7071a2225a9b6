package house

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// budget is what is bounded, and by how much.
type budget struct {
	name  string
	limit int
	unit  string
}

// The budgets. Generated files have none.
var (
	fileLines     = budget{"a file", 400, "lines"}
	functionLines = budget{"a function", 60, "lines"}
	structFields  = budget{"a struct", 20, "fields"}
	methods       = budget{"an interface", 4, "methods"}
	parameters    = budget{"a C function", 5, "parameters"}
)

// size is how large something is.
type size struct {
	budget budget
	of     string // "internal/stats.Source", "internal/stats/engine.go", "bpf/flow.bpf.h lt_find"
	is     int
}

// exception is something that may be larger than its budget.
type exception struct {
	of   string
	most int
	why  string
}

// judge returns a sentence for each size beyond its budget that is no exception, or is beyond that too, and for each
// exception that nothing needs.
func judge(sizes []size, exceptions []exception) []string {
	var faults []string
	allowed := make(map[string]exception)
	for _, e := range exceptions {
		if _, twice := allowed[e.of]; twice || e.why == "" {
			faults = append(faults, fmt.Sprintf("%s is an exception twice, or without a reason", e.of))
		}
		allowed[e.of] = e
	}
	needed := make(map[string]bool)
	for _, s := range sizes {
		if s.is <= s.budget.limit {
			continue
		}
		needed[s.of] = true
		if limit := max(s.budget.limit, allowed[s.of].most); s.is > limit {
			faults = append(faults, fmt.Sprintf("%s: %d %s, at most %d for %s", s.of, s.is, s.budget.unit, limit, s.budget.name))
		}
	}
	for _, e := range exceptions {
		if !needed[e.of] {
			faults = append(faults, fmt.Sprintf("%s is no exception any more: take it out of exceptions.go", e.of))
		}
	}
	return faults
}

var generated = regexp.MustCompile(`(?m)^(//|/\*| \*) (Code generated .* DO NOT EDIT\.|Generated from )`)

// measure measures everything that is written by hand below a folder.
func measure(root string) ([]size, error) {
	var sizes []size
	all := &interfaces{methods: make(map[string]*ast.InterfaceType)}
	err := eachFile(root, func(name string) error {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !isCode(name, text) || generated.Match(text) {
			return err
		}
		sizes = append(sizes, size{fileLines, name, bytes.Count(text, []byte("\n"))})
		switch path.Ext(name) {
		case ".go":
			more, err := measureGo(name, text, all)
			sizes = append(sizes, more...)
			return err
		case ".c", ".h":
			sizes = append(sizes, measureC(name, string(text))...)
		}
		return nil
	})
	return append(sizes, all.measure()...), err
}

// isCode goes by the file's name, and for one without an extension by its first line.
func isCode(name string, text []byte) bool {
	switch path.Ext(name) {
	case ".go", ".c", ".h", ".sh", ".py":
		return true
	case "":
		return bytes.HasPrefix(text, []byte("#!"))
	}
	return false
}

// measureGo measures functions and structs, and collects interfaces.
func measureGo(name string, text []byte, all *interfaces) ([]size, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	folder := path.Dir(name)
	isModel := folder == "internal/model"
	var sizes []size
	for _, decl := range file.Decls {
		of := folder + "." + declared(decl)
		if function, ok := decl.(*ast.FuncDecl); ok {
			lines := files.Position(function.End()).Line - files.Position(function.Type.Func).Line + 1
			sizes = append(sizes, size{functionLines, of, lines})
		}
		owner := of
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				owner = folder + "." + n.Name.Name
			case *ast.ValueSpec:
				owner = folder + "." + n.Names[0].Name
			case *ast.StructType:
				if !isModel {
					sizes = append(sizes, size{structFields, owner, n.Fields.NumFields()})
				}
			case *ast.InterfaceType:
				all.add(file.Name.Name, owner, n)
			}
			return true
		})
	}
	return sizes, nil
}

// declared is the name of a function, "(*Loader).Open" of a method, "" of another declaration.
func declared(decl ast.Decl) string {
	function, ok := decl.(*ast.FuncDecl)
	if !ok {
		return ""
	}
	if function.Recv == nil {
		return function.Name.Name
	}
	receiver, star := function.Recv.List[0].Type, ""
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver, star = pointer.X, "*"
	}
	switch generic := receiver.(type) {
	case *ast.IndexExpr:
		receiver = generic.X
	case *ast.IndexListExpr:
		receiver = generic.X
	}
	return fmt.Sprintf("(%s%s).%s", star, receiver, function.Name.Name)
}

// interfaces are those of all files, as one may be part of another.
type interfaces struct {
	methods map[string]*ast.InterfaceType // by package.Name
	found   []foundInterface
}

type foundInterface struct {
	pkg, of string
	is      *ast.InterfaceType
}

func (all *interfaces) add(pkg, of string, is *ast.InterfaceType) {
	all.methods[pkg+"."+of[strings.LastIndex(of, ".")+1:]] = is
	all.found = append(all.found, foundInterface{pkg, of, is})
}

func (all *interfaces) measure() []size {
	var sizes []size
	for _, f := range all.found {
		sizes = append(sizes, size{methods, f.of, all.count(f.pkg, f.is)})
	}
	return sizes
}

// count counts the methods of an interface and of ours that it embeds. Another's counts as one.
func (all *interfaces) count(pkg string, is *ast.InterfaceType) int {
	n := 0
	for _, field := range is.Methods.List {
		embedded := ""
		switch t := field.Type.(type) {
		case *ast.Ident:
			embedded = pkg + "." + t.Name
		case *ast.SelectorExpr:
			embedded = fmt.Sprintf("%s.%s", t.X, t.Sel)
		}
		if part := all.methods[embedded]; part != nil {
			embeddedPackage, _, _ := strings.Cut(embedded, ".")
			n += all.count(embeddedPackage, part)
		} else {
			n++
		}
	}
	return n
}

var (
	// The first to begin decides: there are comments in quotations, and quotation marks in comments.
	asides   = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"(\\.|[^"\\])*"|'(\\.|[^'\\])*'`)
	lastName = regexp.MustCompile(`\w+\s*$`)
)

// withoutAsides leaves out what C's comments and quotations say.
func withoutAsides(text string) string {
	return asides.ReplaceAllStringFunc(text, func(aside string) string {
		if aside[0] == '/' {
			return ""
		}
		return `""`
	})
}

// measureC counts the parameters of functions that are defined or declared at the top of a file. Macros are not
// functions.
func measureC(name, text string) []size {
	var code strings.Builder
	lines := bufio.NewScanner(strings.NewReader(withoutAsides(text)))
	for inMacro := false; lines.Scan(); {
		line := lines.Text()
		if isMacro := inMacro || strings.HasPrefix(strings.TrimSpace(line), "#"); isMacro {
			inMacro = strings.HasSuffix(line, `\`)
			continue
		}
		code.WriteString(line + "\n")
	}
	var sizes []size
	depth, from := 0, 0
	for i, c := range code.String() {
		switch c {
		case '{', ';':
			if depth == 0 {
				if function, list, ok := signature(code.String()[from:i]); ok {
					sizes = append(sizes, size{parameters, name + " " + function, len(list)})
				}
				from = i + 1
			}
			if c == '{' {
				depth++
			}
		case '}':
			depth--
			from = i + 1
		}
	}
	return sizes
}

// signature reads what stands before a body or a semicolon, as in "static int lt_find(struct a *a, int (*f)(int))":
// the name before the last brackets, and what is in them. A program's name is the first argument of its macro.
func signature(text string) (name string, parameter []string, ok bool) {
	text, ok = strings.CutSuffix(strings.TrimSpace(text), ")")
	if !ok {
		return "", nil, false
	}
	depth, end := 0, len(text)
	for i := end - 1; i >= 0 && depth >= 0; i-- {
		switch {
		case text[i] == ')':
			depth++
		case text[i] == '(':
			if depth--; depth < 0 {
				name = strings.TrimSpace(lastName.FindString(text[:i]))
			}
		}
		if depth == 0 && text[i] == ',' || depth < 0 {
			parameter = append([]string{strings.TrimSpace(text[i+1 : end])}, parameter...)
			end = i
		}
	}
	if len(parameter) == 1 && (parameter[0] == "" || parameter[0] == "void") {
		parameter = nil
	}
	if strings.HasPrefix(name, "BPF_") && len(parameter) > 0 {
		name, parameter = parameter[0], parameter[1:]
	}
	return name, parameter, name != ""
}
