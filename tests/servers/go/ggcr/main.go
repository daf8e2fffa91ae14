// Serves go-containerregistry's registry, which lives in memory, with the referrers API on a free port of the loopback,
// and prints the port.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/google/go-containerregistry/pkg/registry"
)

const module = "github.com/google/go-containerregistry"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("ggcr", version())
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, registry.New(registry.WithReferrersSupport(true))))
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, part := range info.Deps {
		if part.Path == module {
			return part.Version
		}
	}
	return "of unknown version"
}
