package testkit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counter is one of the kernel's counters for the namespace, by the name that nstat gives it, such as
// "TcpExtListenDrops".
func (n *Netns) Counter(name string) uint64 {
	n.tb.Helper()
	var value uint64
	err := n.Do(func() (err error) {
		value, err = readCounter(name)
		return err
	})
	if err != nil {
		n.tb.Fatal(err)
	}
	return value
}

// readCounter looks in files of pairs of lines, one with names and one with values, each behind a prefix.
func readCounter(name string) (uint64, error) {
	for _, file := range []string{"snmp", "netstat"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			return 0, err
		}
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			for j := range names {
				if strings.TrimSuffix(names[0], ":")+names[j] == name {
					return strconv.ParseUint(values[j], 10, 64)
				}
			}
		}
	}
	return 0, fmt.Errorf("no counter %s", name)
}
