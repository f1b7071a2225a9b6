package loader

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Listeners lists the sockets in the watched namespace that wait for others: what tells client from
// server on connections older than we are.
func (l *Loader) Listeners() ([]reading.Listener, error) {
	var found []reading.Listener
	err := l.netns.Do(func() (err error) {
		found, err = listListeners(Site, l.loadBeside)
		return err
	})
	return found, err
}

// listListeners asks sock_diag(7) for TCP: bpf/queue.bpf.h says why no iterator does. For UDP one does, and
// sock_diag where it is refused; site is what the calling thread's namespace is. What could be listed comes with an
// error, too.
func listListeners(site uint32, load func(program string) (*ebpf.Program, error)) ([]reading.Listener, error) {
	listening, tcpErr := diagListening(site, nil)
	out := make([]reading.Listener, 0, len(listening))
	for _, b := range listening {
		out = append(out, reading.Listener{Site: site, Proto: model.ProtoTCP, Addr: b.Addr, Port: b.Port, V6Only: b.V6Only})
	}
	unconnected, err := iterateUnconnected(load)
	if err != nil {
		var diagErr error
		if unconnected, diagErr = diagUnconnected(site); diagErr != nil {
			return out, errors.Join(tcpErr, err, diagErr)
		}
	}
	return append(out, unconnected...), tcpErr
}

func iterateUnconnected(load func(program string) (*ebpf.Program, error)) ([]reading.Listener, error) {
	program, err := load("lotrace_iter_udp")
	if err != nil {
		return nil, fmt.Errorf("list UDP sockets: %w", err)
	}
	found, err := runIterator(program)
	if err != nil {
		return nil, fmt.Errorf("list UDP sockets: %w", err)
	}
	return found, nil
}

// runIterator closes the program.
func runIterator(prog *ebpf.Program) ([]reading.Listener, error) {
	defer prog.Close()
	iter, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, err
	}
	defer iter.Close()
	reader, err := iter.Open()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	raw, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	return parseListeners(raw)
}

func parseListeners(raw []byte) ([]reading.Listener, error) {
	records, err := recordsIn[lotraceLtListener](raw)
	if err != nil {
		return nil, fmt.Errorf("read listeners: %w", err)
	}
	out := make([]reading.Listener, 0, len(records))
	for i := range records {
		out = append(out, decodeListener(&records[i]))
	}
	return out, nil
}

func decodeListener(from *lotraceLtListener) reading.Listener {
	return reading.Listener{
		Site:   from.Site,
		Proto:  model.Proto(from.Proto),
		Addr:   socketAddr(from.Addr, from.Family),
		Port:   from.Port,
		V6Only: from.V6only != 0,
	}
}

// diagUnconnected lists the UDP sockets that are not connected: those may hear from anybody. site is what the
// calling thread's namespace is.
func diagUnconnected(site uint32) (all []reading.Listener, err error) {
	err = diagSockets(unix.IPPROTO_UDP, 1<<unix.BPF_TCP_CLOSE, diagSKMeminfo, func(b []byte) error {
		m, err := parseDiag(b)
		if err == nil && m.remote.Port() == 0 {
			all = append(all, reading.Listener{
				Site: site, Proto: model.ProtoUDP, Addr: m.local.Addr(), Port: m.local.Port(), V6Only: m.v6only,
			})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list UDP sockets: %w", err)
	}
	return all, nil
}
