package house

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the house in docs/architecture.md anew")

var house = plan{layers, rooms}

func TestArrows(t *testing.T) {
	for _, fault := range house.check(listPackages(t)) {
		t.Error(fault)
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// Go test caches a result by what the test itself has read, and go list is another process: walk
	// the tree, so that a new import anywhere makes the result stale.
	if err := eachFile(root, func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-tags", "real,soak", "-json=ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")
	list.Dir = root
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// The drawing stands between these lines.
const (
	drawingBegins = "<!-- go test ./internal/house -update draws this -->\n\n"
	drawingEnds   = "\n<!-- end of the drawing -->\n"
)

func TestDrawingIsCurrent(t *testing.T) {
	const path = root + "/docs/architecture.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), drawingBegins)
	drawn, after, ends := strings.Cut(rest, drawingEnds)
	if !begins || !ends {
		t.Fatalf("docs/architecture.md has no drawing between %q and %q", drawingBegins, drawingEnds)
	}
	want := house.draw()
	if drawn == want {
		return
	}
	if !*update {
		t.Fatalf("docs/architecture.md draws another house: go test ./internal/house -update\n%s", want)
	}
	if err := os.WriteFile(path, []byte(before+drawingBegins+want+drawingEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// town is a small house in order; each test breaks one thing.
func town() (plan, []goPackage) {
	p := plan{
		layers: []layer{{"high", "high middle low", "it goes through the hall", "low"}, {"middle", "low", "", ""}, {"low", "", "nobody looks up", ""}},
		rooms: []room{
			{"cmd/town", "high", "hall", "golang.org/x/sys"},
			{"hall", "middle", "cellar", ""},
			{"cellar", "low", "", ""},
			{"test/town", "high", "hall", ""},
		},
	}
	return p, []goPackage{
		{ImportPath: module + "cmd/town", GoFiles: []string{"a.go"}, Imports: []string{"fmt", "golang.org/x/sys/unix", module + "internal/hall"}},
		{ImportPath: module + "internal/hall", GoFiles: []string{"a.go"}, Imports: []string{module + "internal/cellar"}, TestImports: []string{module + "cmd/town"}},
		{ImportPath: module + "internal/cellar", GoFiles: []string{"a.go"}},
		{ImportPath: module + "test/town", TestImports: []string{module + "internal/hall"}},
	}
}

func TestArrowsAreSeen(t *testing.T) {
	for _, c := range []struct {
		name string
		to   func(p *plan, packages []goPackage) []goPackage
		want []string
	}{
		{"in order", func(_ *plan, packages []goPackage) []goPackage { return packages }, nil},
		{"a package without a room", func(_ *plan, packages []goPackage) []goPackage {
			return append(packages, goPackage{ImportPath: module + "internal/shed"})
		}, []string{"shed is no room: name it in rooms.go"}},
		{"a room without a package", func(_ *plan, packages []goPackage) []goPackage { return packages[:3] },
			[]string{"test/town is a room without a package: take it out of rooms.go"}},
		{"an arrow too many", func(_ *plan, packages []goPackage) []goPackage {
			packages[0].Imports = append(packages[0].Imports, module+"internal/cellar")
			return packages
		}, []string{"cmd/town imports the room cellar: no such arrow is in rooms.go"}},
		{"an arrow that nobody uses", func(_ *plan, packages []goPackage) []goPackage {
			packages[1].Imports = nil
			return packages
		}, []string{"hall may import cellar and does not: take the arrow out of rooms.go"}},
		{"a module too many", func(_ *plan, packages []goPackage) []goPackage {
			packages[2].Imports = []string{"golang.org/x/system"}
			return packages
		}, []string{"cellar imports the module golang.org/x/system: no such arrow is in rooms.go"}},
		{"a module that nobody uses", func(p *plan, packages []goPackage) []goPackage {
			p.rooms[1].modules = "golang.org/x/sys"
			return packages
		}, []string{"hall may import golang.org/x/sys and does not: take the arrow out of rooms.go"}},
		{"a chain upwards", func(p *plan, packages []goPackage) []goPackage {
			p.layers[1].may, p.layers[2].may = "high", "middle"
			p.rooms[1].imports, packages[1].Imports = "test/town", []string{module + "test/town"}
			p.rooms[2].imports, packages[2].Imports = "hall", []string{module + "internal/hall"}
			p.rooms[3].imports, packages[3].TestImports = "", nil
			return packages
		}, []string{"cellar imports hall imports test/town: nobody looks up"}},
		{"past the one that it goes through", func(p *plan, packages []goPackage) []goPackage {
			p.rooms[0].imports += " cellar"
			packages[0].Imports = append(packages[0].Imports, module+"internal/cellar")
			return packages
		}, []string{"cmd/town imports cellar: it goes through the hall"}},
		{"a layer that is not there", func(p *plan, packages []goPackage) []goPackage {
			p.rooms[2].layer = "lowest"
			return packages
		}, []string{
			"cmd/town imports hall imports cellar: it goes through the hall", "hall imports cellar: ", `cellar is on no layer "lowest"`,
			"test/town imports hall imports cellar: it goes through the hall",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, packages := town()
			packages = c.to(&p, packages)
			if got := p.check(packages); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDraw(t *testing.T) {
	p, _ := town()
	const want = `    high    cmd/town  ──► hall
            test/town ──► hall
    middle  hall      ──► cellar
    low     cellar
`
	if got := p.draw(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := wrap([]string{"one", "two", "three"}, "--", 9); got != " one two\n-- three\n" {
		t.Errorf("%q", got)
	}
}
