package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/services"
)

// crowd is many TCP connections. A process may have only so many open files, so several hold them.
type crowd struct {
	holders []*holder
	each    int // connections of a holder; the last may have fewer
}

// holder is a process that runs hold.
type holder struct {
	*services.Proc
	asked int
}

// spareFiles is how many open files a holder may have beside its connections.
const spareFiles = 100

// newCrowd opens the connections. All share one CPU, so that nobody wakes anybody up on another.
func newCrowd(connections int) (*crowd, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("read limit of open files: %w", err)
	}
	c := &crowd{each: min(connections, int(limit.Max-spareFiles)/2)}
	for left := connections; left > 0; left -= c.each {
		err := services.OnCPU(0, func() error {
			p, err := services.Start(exec.Command("/proc/self/exe", "hold", strconv.Itoa(min(left, c.each))))
			if err == nil {
				c.holders = append(c.holders, &holder{Proc: p})
			}
			return err
		})
		if err == nil {
			err = last(c.holders).await(1)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

var done = regexp.MustCompile(`(?m)^done$`)

// await waits until the holder has opened its connections, and done what it was asked.
func (h *holder) await(times int) error {
	_, err := h.Await(done, times)
	return err
}

func (h *holder) around(trips, connections int) error {
	if err := h.Send(fmt.Sprint(trips, connections)); err != nil {
		return err
	}
	h.asked++
	return h.await(1 + h.asked)
}

// around makes round trips, one connection after the other in so many of them.
func (c *crowd) around(trips, connections int) error {
	if connections <= c.each {
		return c.holders[0].around(trips, connections)
	}
	for trips > 0 {
		lap := min(trips, connections)
		trips -= lap
		for i := 0; lap > 0; i++ {
			part := min(lap, c.each)
			if err := c.holders[i].around(part, part); err != nil {
				return err
			}
			lap -= part
		}
	}
	return nil
}

// Close ends the holders, and so closes the connections.
func (c *crowd) Close() error {
	for _, h := range c.holders {
		h.Kill()
	}
	return nil
}

// hold opens so many TCP connections and has both ends of each. For every line of standard input, which has a
// number of round trips and one of connections, it makes as many, over as many, and says that it is done.
func hold(_ context.Context, args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("hold %q: how many", args)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	pairs := make([]pair, n)
	for i := range pairs {
		if pairs[i], err = tcpPairVia(listener); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
	}
	fmt.Fprintln(stdout, "done")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var trips, over int
		if _, err := fmt.Sscan(lines.Text(), &trips, &over); err != nil {
			return err
		}
		for i := range trips {
			if err := pairs[i%over].trip(); err != nil {
				return err
			}
		}
		fmt.Fprintln(stdout, "done")
	}
	return nil
}

// trip is one of pingPong, with both ends on the calling thread.
func (p pair) trip() error {
	var buf [message]byte
	for _, leg := range [][2]int{{p.client, p.server}, {p.server, p.client}} {
		if err := write(leg[0], buf[:]); err != nil {
			return err
		}
		if err := read(leg[1], message, buf[:]); err != nil {
			return err
		}
	}
	return nil
}
