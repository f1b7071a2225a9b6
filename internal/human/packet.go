package human

import "github.com/lotrace/lotrace/internal/model"

// PacketNotes are what the kernel knows of a packet, of few of them.
func PacketNotes(p *model.Packet) []string {
	var all []string
	if p.Retransmit {
		all = append(all, "sent again")
	}
	if p.Drop != "" {
		all = append(all, "dropped: "+p.Drop)
	}
	return all
}
