// Package hook is being at a device and leaving no trace: it finds the loopback device of a network
// namespace, puts programs where they see every packet, reads the device's own counters, and takes away what is
// ours and nothing else, even when the process is killed.
package hook
