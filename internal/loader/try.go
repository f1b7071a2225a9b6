package loader

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/reading"
)

// tryLoad makes a loader whose programs are in the kernel and attached nowhere.
func tryLoad(n hook.Netns, kind hook.Kind) (*Loader, error) {
	l := &Loader{netns: n}
	if err := l.load(Config{Hook: kind, MaxFlows: MinFlows}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// TryTC attaches the TC program to the namespace's device in both ways, one after the other, for a moment. It
// leaves nothing behind, and changes nothing that was there before. Each error says why its way is barred.
func TryTC(n hook.Netns, device *hook.Device) (tcx, clsact error) {
	l, err := tryLoad(n, hook.Auto)
	if err != nil {
		return err, err
	}
	err = n.Do(func() error {
		clsact = device.TryClsact(l.programs().Egress)
		at, err := device.Attach(hook.TCX, l.programs())
		if tcx = err; err == nil {
			tcx = at.Close()
		}
		return nil
	})
	if err = errors.Join(err, l.Close()); err != nil {
		return errors.Join(tcx, err), errors.Join(clsact, err)
	}
	return tcx, clsact
}

// TryXDP loads the XDP program and attaches it nowhere: on lo it slows everybody's traffic while it is there.
func TryXDP(n hook.Netns) error {
	l, err := tryLoad(n, hook.XDP)
	if err != nil {
		return err
	}
	return l.Close()
}

// TryListeners goes the way of Listeners, without a loader that is open and so without a site. What could be listed
// comes with an error, too.
func TryListeners(n hook.Netns) (found []reading.Listener, err error) {
	load := func(program string) (*ebpf.Program, error) {
		source, err := readSource()
		if err != nil {
			return nil, err
		}
		return source.load(program, nil)
	}
	err = n.Do(func() (err error) {
		found, err = listListeners(0, load)
		return err
	})
	return found, err
}
