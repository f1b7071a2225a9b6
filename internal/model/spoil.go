package model

// Spoil overwrites a list that nobody may read any more: its rows are junk, so that a reader shows.
func (p *Flows) Spoil() {
	const junk = 0xdbdbdbdb
	for i := range p.rows {
		sent := packedCounter{junk, junk, junk, junk}
		p.rows[i] = packedFlow{addr: [2]uint32{junk, junk}, port: [2]uint16{junk >> 16, junk >> 16}, sent: [2]packedCounter{sent, sent}}
	}
	for i := range p.counts {
		p.counts[i] = junk
	}
	for which := range p.histograms {
		for i := range p.histograms[which] {
			p.histograms[which][i] = junk
		}
	}
	p.flow = Flow{Tally: Tally{ToServer: Counters{Packets: junk}, ToClient: Counters{Packets: junk}}}
}
