// An echo server with one goroutine, which reads the connections that epoll reports, on
// gorilla/websocket.
//
// The library reads whole messages and blocks until they are complete, so a client that sends half
// a message, or a ping and nothing after it, blocks all other connections. The published design has
// this flaw, and the measured server keeps it.
package main

import (
	"log"
	"net/http"

	"github.com/gorilla/websocket"

	"peers/internal/epoll"
	"peers/internal/measured"
)

func main() {
	listener := measured.Listen()
	connections, err := epoll.New[*websocket.Conn]()
	if err != nil {
		log.Fatal(err)
	}
	server := server{connections: connections}
	go func() { log.Fatal(connections.Serve(server.echo)) }()
	log.Fatal(http.Serve(listener, http.HandlerFunc(server.upgrade)))
}

type server struct {
	upgrader    websocket.Upgrader
	connections *epoll.Epoll[*websocket.Conn]
}

// upgrade ends, and its goroutine with it, as soon as epoll watches the connection.
func (server *server) upgrade(response http.ResponseWriter, request *http.Request) {
	connection, err := server.upgrader.Upgrade(response, request, nil)
	if err != nil {
		// Upgrade has answered the client.
		return
	}
	if err := server.connections.Add(connection.NetConn(), connection); err != nil {
		log.Print(err)
		connection.Close()
	}
}

func (server *server) echo(connection *websocket.Conn) {
	kind, message, err := connection.ReadMessage()
	if err == nil {
		err = connection.WriteMessage(kind, message)
	}
	if err != nil {
		// ReadMessage has answered a Close already.
		if err := server.connections.Remove(connection.NetConn()); err != nil {
			log.Print(err)
		}
		connection.Close()
	}
}
