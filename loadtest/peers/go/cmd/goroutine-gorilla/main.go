// An echo server with a goroutine for each connection, on gorilla/websocket, as its documentation
// shows and most Go servers do.
package main

import (
	"log"
	"net/http"

	"github.com/gorilla/websocket"

	"peers/internal/measured"
)

func main() {
	log.Fatal(http.Serve(measured.Listen(), http.HandlerFunc(echo)))
}

var upgrader websocket.Upgrader

func echo(response http.ResponseWriter, request *http.Request) {
	connection, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		// Upgrade has answered the client.
		return
	}
	defer connection.Close()
	for {
		// ReadMessage answers pings and the closing handshake.
		kind, message, err := connection.ReadMessage()
		if err != nil {
			return
		}
		if err := connection.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
