package loader_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestOwnersQuick(t *testing.T) {
	for _, hook := range allHooks {
		t.Run(string(hook), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: hook})
			if _, err := testkit.PingPong(r.ns, 4, 3, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := testkit.UDPCount(r.ns, 6, 3, 1); err != nil {
				t.Fatal(err)
			}
			var reading model.Reading
			if err := r.loader.Read(&reading); err != nil {
				t.Fatal(err)
			}
			for i := range reading.Slots {
				s := &reading.Slots[i]
				fmt.Println(s.Key.Proto, s.Key.Endpoint(0), s.Key.Endpoint(1), os.Getpid())
				for _, o := range s.Owner {
					if o != nil {
						fmt.Printf("   %+v\n", *o)
					} else {
						fmt.Println("   nil")
					}
				}
			}
			h, err := r.loader.Holders()
			fmt.Println(len(h), err)
			for _, h := range h {
				fmt.Printf("%+v %+v\n", h, *h.Process)
			}
		})
	}
}
