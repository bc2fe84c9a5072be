// Package measured holds what the measured servers share: their flags, their version, and the
// second port, on which the study reads the figures of Go's runtime.
package measured

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // heap and goroutine profiles, on the second port alone
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Listen parses the command line, serves the profiles, and returns the listener for WebSockets. With
// -certificate and -key its connections are encrypted, by crypto/tls with its defaults.
func Listen() net.Listener {
	certificate := flag.String("certificate", "", "PEM file of the certificate for TLS")
	key := flag.String("key", "", "PEM file of its key")
	address := flag.String("listen", "127.0.0.1:8080", "address for WebSockets")
	profiles := flag.String("profiles", "127.0.0.1:6060", "address for /debug/pprof")
	wantVersion := flag.Bool("version", false, "print what this is built from, and exit")
	flag.Parse()
	if *wantVersion {
		fmt.Println(version())
		os.Exit(0)
	}
	raiseFileLimit()
	// Cheaper than the goroutine profile, which stops the world and walks all stacks.
	http.HandleFunc("/debug/goroutines", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(response, "goroutines %d\n", runtime.NumGoroutine())
	})
	// net/http/pprof adds to the default mux, which serves only this port.
	profileListener := listen(*profiles)
	go func() { log.Fatal(http.Serve(profileListener, http.DefaultServeMux)) }()
	listener := listen(*address)
	if *certificate == "" {
		return listener
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"http/1.1"},
	})
}

func listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// version names the toolchain and the libraries that are in this program.
func version() string {
	line := "Go " + runtime.Version()[len("go"):]
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line
	}
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/gorilla/websocket", "github.com/gobwas/ws":
			line += ", " + module.Path[len("github.com/"):] + " " + module.Version
		}
	}
	return line
}

// raiseFileLimit raises the limit on open files as far as the machine allows.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Fatal(err)
	}
}
