package pcapng

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/outfile"
)

// Rotation says when the next file begins, and how much is kept. The zero value is one file.
type Rotation struct {
	Size    int64         // bytes in a file; a packet that would make it larger begins the next one
	Every   time.Duration // by the time of packets
	Packets uint64        // in a file

	// Beyond these the oldest file is removed.
	Files int
	Total int64 // bytes of all files together; half of it is the most for one
}

// Rotates reports whether there may be more than one file.
func (r *Rotation) Rotates() bool { return r.Size > 0 || r.Every > 0 || r.Packets > 0 || r.Total > 0 }

// Files writes a capture into one file, or into several, one after the other. It never touches a file
// that it has not made.
type Files struct {
	path     string
	rotation Rotation
	owner    *outfile.User
	config   Config
	comments comments

	count int    // of files made
	kept  []made // the newest last
	file  *os.File
	w     *Writer
}

// made is a file that was written.
type made struct {
	path string
	info os.FileInfo
	size int64
}

// NewFiles makes the first file, at path; of several each has a number and its time in its name, as
// Wireshark's sets of files have. Files belong to the owner; nil: to whoever runs this.
func NewFiles(path string, rotation Rotation, owner *outfile.User, config Config) (*Files, error) {
	f := &Files{path: path, rotation: rotation, owner: owner, config: config}
	return f, f.open(config.Started)
}

func (f *Files) open(at time.Time) error {
	f.count++
	path := f.path
	if f.rotation.Rotates() {
		extension := filepath.Ext(path)
		path = fmt.Sprintf("%s_%05d_%s%s", strings.TrimSuffix(path, extension), f.count, at.Format("20060102150405"), extension)
	}
	file, err := f.owner.Create(path)
	if err != nil {
		return fmt.Errorf("create capture: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file = file
	f.kept = append(f.kept, made{path: path, info: info})
	config := f.config
	config.Started = at
	var to io.Writer = file
	if !info.Mode().IsRegular() {
		to = stream{file}
	}
	f.w, err = NewWriter(to, config)
	return err
}

// stream is a file that cannot be cut.
type stream struct{ io.Writer }

// Packet appends a packet, to the next file if it is time for that. It keeps nothing of it.
func (f *Files) Packet(p *model.Packet) error { return f.add(f.comments.describe(p)) }

func (f *Files) add(p *packet) error {
	if f.isDue(p) {
		if err := f.finish(); err != nil {
			return err
		}
		if err := f.open(p.Time); err != nil {
			return err
		}
		if err := f.tidy(); err != nil {
			return err
		}
	}
	return f.name(f.w.add(p))
}

// overhead is more than what a packet's block has beside data and comment, and the file's last one.
const overhead = 256

// isDue reports whether the packet is for the next file. No file is without a packet.
func (f *Files) isDue(p *packet) bool {
	r := &f.rotation
	if !r.Rotates() || f.w.Packets() == 0 {
		return false
	}
	size := f.w.Size() + int64(len(p.Data)+len(p.Comment)+overhead)
	return r.Size > 0 && size > r.Size || r.Total > 0 && size > r.Total/2 ||
		r.Every > 0 && p.Time.Sub(f.w.config.Started) >= r.Every ||
		r.Packets > 0 && f.w.Packets() >= r.Packets
}

// tidy removes the oldest files that are too many, those that the one just begun will be too much for
// included.
func (f *Files) tidy() error {
	sum := f.rotation.Total / 2
	for i := range f.kept {
		sum += f.kept[i].size
	}
	for len(f.kept) > 1 && (f.rotation.Files > 0 && len(f.kept) > f.rotation.Files || f.rotation.Total > 0 && sum > f.rotation.Total) {
		oldest := f.kept[0]
		f.kept = f.kept[1:]
		sum -= oldest.size
		if now, err := os.Lstat(oldest.path); err != nil || !os.SameFile(now, oldest.info) {
			continue // somebody has moved it, and what is there now is not ours
		}
		if err := f.owner.Remove(oldest.path); err != nil {
			return fmt.Errorf("remove oldest capture: %w", err)
		}
	}
	return nil
}

// Flush writes all there is.
func (f *Files) Flush() error { return f.name(f.w.Flush()) }

// Close ends the last file.
func (f *Files) Close() error { return f.finish() }

func (f *Files) finish() error {
	err := errors.Join(f.name(f.w.Close()), f.file.Close())
	f.kept[len(f.kept)-1].size = f.w.Size()
	return err
}

// name says what can be read nevertheless.
func (f *Files) name(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; what is in it can be read", err)
}
