// Package house holds the laws of the house: which room may import which, and how large things may get. Its tests
// are what enforces them.
package house

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// root is the repository, as seen from this package's tests.
const root = "../.."

// eachFile calls f with every file of the repository that may be written by hand, named from the root.
func eachFile(root string, f func(name string) error) error {
	aside := []string{".git", "bin", "build", "testdata"}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && slices.Contains(aside, entry.Name()) {
			return filepath.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(strings.ReplaceAll(name, string(filepath.Separator), "/"))
	})
}
