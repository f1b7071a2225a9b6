package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// source is what programs are loaded from. To read it, and the kernel's types that they are fitted to, takes
// longer than to load them, so it is read once.
type source struct {
	spec   *ebpf.CollectionSpec
	kernel *btf.Cache
}

// errNothingToLoad is what loading returns once the rights for it are given up.
var errNothingToLoad = errors.New("load programs: privileges were dropped")

func readSource() (*source, error) {
	spec, err := loadLotrace()
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	return &source{spec, btf.NewCache()}, nil
}

// only is a specification of these programs and no others, to be changed at will.
func (s *source) only(programs ...string) *ebpf.CollectionSpec {
	spec := s.spec.Copy()
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	return spec
}

// load loads one program, on these maps and on others of its own.
func (s *source) load(name string, maps map[string]*ebpf.Map) (*ebpf.Program, error) {
	spec := s.only(name)
	for name, m := range maps {
		spec.Maps[name].MaxEntries, spec.Maps[name].ValueSize = m.MaxEntries(), m.ValueSize()
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps, Cache: s.kernel})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// loadBeside loads one program on the maps of those that count.
func (l *Loader) loadBeside(name string) (*ebpf.Program, error) {
	if l.source == nil {
		return nil, errNothingToLoad
	}
	return l.source.load(name, l.coll.Maps)
}
