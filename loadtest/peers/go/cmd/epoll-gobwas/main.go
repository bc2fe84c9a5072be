// An echo server with one goroutine for all connections, which epoll tells it to read, on
// gobwas/ws: the upgrade copies nothing, and no buffer is kept for a connection.
//
// A frame that arrives in pieces keeps all others waiting until it is whole.
package main

import (
	"log"
	"net"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"peers/internal/epoll"
	"peers/internal/measured"
)

func main() {
	listener := measured.Listen()
	connections, err := epoll.New[net.Conn]()
	if err != nil {
		log.Fatal(err)
	}
	server := server{connections: connections}
	go func() { log.Fatal(connections.Serve(server.serve)) }()
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		// A slow client must not keep the next one from being accepted. The goroutine ends with
		// the handshake.
		go server.upgrade(connection)
	}
}

type server struct {
	connections *epoll.Epoll[net.Conn]
}

func (server *server) upgrade(connection net.Conn) {
	if err := handshake(connection); err != nil {
		connection.Close()
		return
	}
	if err := server.connections.Add(connection, connection); err != nil {
		log.Print(err)
		connection.Close()
	}
}

func handshake(connection net.Conn) error {
	if err := connection.SetDeadline(time.Now().Add(handshakeMax)); err != nil {
		return err
	}
	if _, err := ws.Upgrade(connection); err != nil {
		return err
	}
	return connection.SetDeadline(time.Time{})
}

func (server *server) serve(connection net.Conn) {
	if err := echo(connection); err != nil {
		if err := server.connections.Remove(connection); err != nil {
			log.Print(err)
		}
		connection.Close()
	}
}

// echo reads one message, or one control frame, and answers it.
func echo(connection net.Conn) error {
	var room [2]wsutil.Message
	messages, err := wsutil.ReadMessage(connection, ws.StateServerSide, room[:0])
	if err != nil {
		return err
	}
	for _, message := range messages {
		if message.OpCode.IsControl() {
			// Of a Close, it is an error that it was answered.
			err = wsutil.HandleClientControlMessage(connection, message)
		} else {
			err = wsutil.WriteServerMessage(connection, message.OpCode, message.Payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const handshakeMax = 5 * time.Second
