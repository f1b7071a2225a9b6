package reading

// SamplePolicy says why packets are copied to user space. Policies combine: a packet is copied once if
// any of them asks for it.
type SamplePolicy uint32

const (
	SampleAll    SamplePolicy = 1 << iota // every packet
	SampleRandom                          // one in SampleConfig.OneIn packets, by chance
	SampleFlows                           // every packet of one in SampleConfig.OneIn flows, by their key
	SampleFirst                           // the first SampleConfig.First packets of each flow
	SampleHeads                           // the first packet of each request and of each answer
	SampleErrors                          // resets, retransmissions and what the kernel dropped
	SampleConns                           // TCP packets with SYN, FIN or RST
)

// SampleConfig says what to copy and how much of it at most. The zero value copies nothing.
type SampleConfig struct {
	Policies SamplePolicy
	OneIn    uint32 // for SampleRandom and SampleFlows
	First    uint32 // for SampleFirst
	Snaplen  uint32 // bytes of each packet, MAC header included; 0: all of it

	// The budget, kept in the kernel; 0: none.
	PerSecond      uint32 // samples
	BytesPerSecond uint64 // captured bytes

	Buffer int // bytes between kernel and user space, a power of two; 0: a default
	Ahead  int // bytes more in user space, which samples are copied to as the buffer fills; 0: none
}

// NoSlot is the Slot of a sample whose packet is in no flow.
const NoSlot = ^uint32(0)

// Sample is a packet, or the head of a message, copied to user space.
type Sample struct {
	MonoNS uint64 // CLOCK_MONOTONIC at the hook
	Key    SlotKey
	Slot   uint32       // of its flow, or NoSlot
	From   uint8        // index in Key of the endpoint that sent it
	Client uint8        // index in Key of the client endpoint
	Why    SamplePolicy // every policy that asked for it
	Reason Reason       // how the counting of the packet ended
	Drop   uint32       // why the kernel dropped it, by the running kernel's numbers; 0: it did not

	Retransmit  bool
	OneIn       uint32 // how many packets this one stands for on average; 1: itself alone
	Length      uint32 // of the skb, MAC header included
	HeaderLen   uint32 // MAC, IP and transport headers; what is behind them is payload
	SegmentSize uint32 // payload bytes in each packet that the device counts; 0: the skb is one packet

	Message Message // with SampleHeads
	Data    []byte  // the first bytes from the MAC header on; valid until the next read
}

// Message is what is known when a request or an answer begins.
type Message struct {
	Number  uint32 // of the request on its flow, from 1; 0: no message begins here
	Answer  bool
	AskedNS uint64    // answer: CLOCK_MONOTONIC of its request's last payload
	TookNS  uint64    // answer: its turn; request: the response before, 0 unknown
	Sent    [2]uint64 // payload bytes so far, by endpoint of the key, without this packet
}
