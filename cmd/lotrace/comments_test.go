package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// A comment that begins with Who or What has no subject: the reader learns last what it speaks of.
func TestCommentsNameTheirSubject(t *testing.T) {
	document(t, "README.md")
	headless := regexp.MustCompile(`(?m)(?://|/\*|^\s*\*) (?:Who|Whoever|What)\b.*`)
	files := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if entry != nil && slices.Contains([]string{".git", "bin", "build"}, entry.Name()) {
				return filepath.SkipDir
			}
			return err
		}
		if !slices.Contains([]string{".go", ".c", ".h"}, filepath.Ext(path)) {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		for _, comment := range headless.FindAll(text, -1) {
			t.Errorf("%s: %s", path, comment)
		}
		return err
	})
	if err != nil || files < 300 {
		t.Errorf("%d files, error %v", files, err)
	}
}
