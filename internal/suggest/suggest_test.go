package suggest

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"proto", "port", "tcp", "icmp", "retransmits", "--duration", "established", "n"}
	for _, tt := range []struct{ word, want string }{
		{"prot", "proto"}, // as near to port, which comes later
		{"porto", "proto"},
		{"tpc", "tcp"},
		{"PORT", "port"},
		{"retrans", "retransmits"},
		{"est", "established"},
		{"--duraton", "--duration"},
		{"tcp", "tcp"},
		{"x", ""},
		{"y", ""},
		{"p", ""},
		{"", ""},
		{"pid", ""},
		{"entirely-different", ""},
	} {
		if got := Nearest(tt.word, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
	if got := Nearest("tcp", nil); got != "" {
		t.Errorf("nothing known, yet %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"kitten", "sitting", 3},
		{"tpc", "tcp", 1},
		{"ab", "ba", 1},
		{"éa", "a", 1},
		{"flaw", "lawn", 2},
	} {
		if got := distance([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
