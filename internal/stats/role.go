package stats

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// listeners finds out whether an endpoint is one that waited for others when counting began.
type listeners map[listenerKey][]model.ListenKey

// listenerKey is a site, a protocol and a port in one number, the kind of key that is found fastest.
type listenerKey uint64

func listenerAt(site uint32, proto model.Proto, port uint16) listenerKey {
	return listenerKey(site)<<32 | listenerKey(proto)<<16 | listenerKey(port)
}

func newListeners(all []reading.Listener) listeners {
	l := make(listeners, len(all))
	for _, one := range all {
		key := listenerAt(one.Site, one.Proto, one.Port)
		l[key] = append(l[key], model.ListenKey{Site: one.Site, Addr: one.Addr, Port: one.Port, V6Only: one.V6Only})
	}
	return l
}

// has reports whether an end (0 or 1) of a flow is one that waited.
func (l listeners) has(key *reading.SlotKey, end int) bool {
	at := l[listenerAt(key.Site, key.Proto, key.Port[end])]
	if len(at) == 0 {
		return false
	}
	addr := key.Endpoint(end).Addr()
	for i := range at {
		if at[i].Match(key.Site, addr) > 0 {
			return true
		}
	}
	return false
}

// roleOf says which end of the slot (0 or 1) is the client, and how that is known.
func (l listeners) roleOf(slot *reading.Slot) (client int, source model.RoleSource) {
	key := &slot.Key
	first := int(slot.Client & 1)
	if slot.Role == reading.SlotRoleSYN {
		return first, model.RoleSYN
	}
	if key.Proto == model.ProtoICMP || key.Proto == model.ProtoICMPv6 {
		// Echo: the side with the identifier is the one that pings.
		if key.Port[0] != 0 || key.Port[1] != 0 {
			first = 0
			if key.Port[1] != 0 {
				first = 1
			}
		}
		return first, model.RoleFirst
	}
	zero, one := l.has(key, 0), l.has(key, 1)
	switch {
	case zero && !one:
		return 1, model.RoleListener
	case one && !zero:
		return 0, model.RoleListener
	case slot.Role == reading.SlotRoleFirst:
		return first, model.RoleFirst
	default:
		return guessByPort(key.Port), model.RolePort
	}
}

// ephemeralFrom is where Linux begins to pick ports for clients (ip_local_port_range).
const ephemeralFrom = 32768

// guessByPort takes the end whose port a client would be given; of two alike, the larger.
func guessByPort(port [2]uint16) (client int) {
	zero, one := port[0] >= ephemeralFrom, port[1] >= ephemeralFrom
	if zero != one {
		if zero {
			return 0
		}
		return 1
	}
	if port[0] > port[1] {
		return 0
	}
	return 1
}
