package pcapng

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// maxComments bounds how many of them are kept at once.
const maxComments = 1 << 12

// comments makes the texts that stand beside packets. It keeps them, since most packets have the same.
type comments struct {
	kept map[commentKey]string
}

type commentKey struct {
	client, server *model.Owner
	netns          uint32
	toServer       bool
	oneIn          uint32
}

// of returns who sent a packet of the flow to whom, the client first: "curl[311] /user.slice → nginx[99]
// /system.slice/nginx.service, netns 4026531840". OneIn is how many packets it stands for.
func (c *comments) of(f *model.Flow, toServer bool, oneIn uint32) string {
	key := commentKey{f.Client.Owner, f.Server.Owner, f.Netns, toServer, oneIn}
	if text, ok := c.kept[key]; ok {
		return text
	}
	if c.kept == nil || len(c.kept) == maxComments {
		c.kept = make(map[commentKey]string)
	}
	text := key.String()
	c.kept[key] = text
	return text
}

// describe says of a packet what a file says of it. Data stays that of p.
func (c *comments) describe(p *model.Packet) *packet {
	text := c.of(p.Flow, p.ToServer, p.OneIn)
	for _, note := range human.PacketNotes(p) {
		text += ", " + note
	}
	return &packet{Time: p.Time, Data: p.Data, Length: p.Length, ToServer: p.ToServer, Comment: text}
}

func (k *commentKey) String() string {
	arrow := " ← "
	if k.toServer {
		arrow = " → "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s%s, netns %d", process(k.client), arrow, process(k.server), k.netns)
	if k.oneIn > 1 {
		fmt.Fprintf(&b, ", one in %d", k.oneIn)
	}
	return b.String()
}

func process(o *model.Owner) string {
	if human.Nameless(o) {
		return "unknown"
	}
	text := human.Plain(o.Comm)
	if o.PID != 0 {
		text += "[" + strconv.FormatUint(uint64(o.PID), 10) + "]"
	}
	if o.Cgroup != "" {
		text += " " + human.Plain(o.Cgroup)
	}
	return text
}
