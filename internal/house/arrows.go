package house

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/lotrace/lotrace/"

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath                string
	GoFiles                   []string
	Imports                   []string
	TestImports, XTestImports []string
}

// arrows are all packages that count as imported: a test may hold one room against another, but where there are
// tests alone, they are the room.
func (p *goPackage) arrows() []string {
	if len(p.GoFiles) > 0 {
		return p.Imports
	}
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

func isOurs(importPath string) bool { return strings.HasPrefix(importPath, module) }

func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// nameOf is how rooms name a package of ours.
func nameOf(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "internal/")
}

// plan is a table of rooms on layers.
type plan struct {
	layers []layer
	rooms  []room
}

func (p *plan) room(name string) *room {
	for i := range p.rooms {
		if p.rooms[i].name == name {
			return &p.rooms[i]
		}
	}
	return nil
}

// check compares the plan with the packages that there are, and with its own layers. It returns a sentence per
// difference.
func (p *plan) check(packages []goPackage) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	built := make(map[string]bool)
	for i := range packages {
		name := nameOf(packages[i].ImportPath)
		built[name] = true
		if r := p.room(name); r == nil {
			fault("%s is no room: name it in rooms.go", name)
		} else {
			faults = append(faults, r.compare(&packages[i])...)
		}
	}
	for _, r := range p.rooms {
		if !built[r.name] {
			fault("%s is a room without a package: take it out of rooms.go", r.name)
		}
	}
	return append(faults, p.checkLayers()...)
}

// compare holds what a room may import against what it does import.
func (r *room) compare(from *goPackage) []string {
	var faults []string
	used := make(map[string]bool)
	for _, path := range from.arrows() {
		allowed, kind := strings.Fields(r.modules), "module"
		name := path
		switch {
		case isStandard(path):
			continue
		case isOurs(path):
			allowed, kind, name = strings.Fields(r.imports), "room", nameOf(path)
		}
		i := slices.IndexFunc(allowed, func(a string) bool {
			return name == a || kind == "module" && strings.HasPrefix(name, a+"/")
		})
		if i < 0 {
			faults = append(faults, fmt.Sprintf("%s imports the %s %s: no such arrow is in rooms.go", r.name, kind, name))
		} else {
			used[allowed[i]] = true
		}
	}
	for _, allowed := range slices.Concat(strings.Fields(r.imports), strings.Fields(r.modules)) {
		if !used[allowed] {
			faults = append(faults, fmt.Sprintf("%s may import %s and does not: take the arrow out of rooms.go", r.name, allowed))
		}
	}
	return faults
}

// checkLayers follows every chain of arrows.
func (p *plan) checkLayers() []string {
	var faults []string
	for i := range p.rooms {
		r := &p.rooms[i]
		at := slices.IndexFunc(p.layers, func(l layer) bool { return l.name == r.layer })
		if at < 0 {
			faults = append(faults, fmt.Sprintf("%s is on no layer %q", r.name, r.layer))
			continue
		}
		p.follow([]*room{r}, func(chain []*room) {
			last := chain[len(chain)-1]
			may := slices.Contains(strings.Fields(p.layers[at].may), last.layer)
			if !may || len(chain) == 2 && slices.Contains(strings.Fields(p.layers[at].through), last.layer) {
				faults = append(faults, fmt.Sprintf("%s: %s", describe(chain), p.layers[at].why))
			}
		})
	}
	return faults
}

// follow calls visit with the shortest chain from a room to each that it reaches.
func (p *plan) follow(start []*room, visit func(chain []*room)) {
	seen := map[string]bool{start[0].name: true}
	for chains := [][]*room{start}; len(chains) > 0; chains = chains[1:] {
		chain := chains[0]
		for _, name := range strings.Fields(chain[len(chain)-1].imports) {
			next := p.room(name)
			if next == nil || seen[name] {
				continue
			}
			seen[name] = true
			longer := append(slices.Clone(chain), next)
			visit(longer)
			chains = append(chains, longer)
		}
	}
}

func describe(chain []*room) string {
	var names []string
	for _, r := range chain {
		names = append(names, r.name)
	}
	return strings.Join(names, " imports ")
}

// draw makes the drawing of docs/architecture.md: the layers from the top, and which rooms each room imports.
func (p *plan) draw() string {
	const columns = 120
	layerWidth, nameWidth := 0, 0
	for _, r := range p.rooms {
		layerWidth, nameWidth = max(layerWidth, len(r.layer)), max(nameWidth, len(r.name))
	}
	margin := strings.Repeat(" ", 4+layerWidth+2+nameWidth+4)
	var b strings.Builder
	for _, l := range p.layers {
		head := l.name
		for i := range p.rooms {
			r := &p.rooms[i]
			if r.layer != l.name {
				continue
			}
			line := fmt.Sprintf("    %-*s  %-*s", layerWidth, head, nameWidth, r.name)
			head = ""
			if r.imports == "" {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
				continue
			}
			b.WriteString(line + " ──►" + wrap(strings.Fields(r.imports), margin, columns-len(margin)))
		}
	}
	return b.String()
}

// wrap sets words in lines of a width; each line but the first begins with the margin.
func wrap(words []string, margin string, width int) string {
	var b strings.Builder
	used := 0
	for _, word := range words {
		if used > 0 && used+1+len(word) > width {
			b.WriteString("\n" + margin)
			used = 0
		}
		b.WriteString(" " + word)
		used += 1 + len(word)
	}
	return b.String() + "\n"
}
