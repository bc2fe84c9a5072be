// An echo server with one goroutine, which reads the connections that epoll reports, on gobwas/ws:
// the upgrade copies nothing, and no connection keeps a buffer. A message to /broadcast goes to all
// connections to /broadcast.
//
// A frame that arrives in several parts blocks all other connections until it is complete.
package main

import (
	"log"
	"net"
	"sync"
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
	server := server{connections: connections, subscribers: make(map[net.Conn]struct{})}
	go func() { log.Fatal(connections.Serve(server.serve)) }()
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		// On a goroutine, so that a slow client does not delay the next one. It ends with the
		// handshake.
		go server.upgrade(connection)
	}
}

type server struct {
	connections *epoll.Epoll[net.Conn]
	lock        sync.Mutex
	subscribers map[net.Conn]struct{}
}

func (server *server) upgrade(connection net.Conn) {
	path, err := handshake(connection)
	if err != nil {
		connection.Close()
		return
	}
	if path == "/broadcast" {
		server.lock.Lock()
		server.subscribers[connection] = struct{}{}
		server.lock.Unlock()
	}
	if err := server.connections.Add(connection, connection); err != nil {
		log.Print(err)
		connection.Close()
	}
}

// handshake returns the path of the upgrade request.
func handshake(connection net.Conn) (string, error) {
	if err := connection.SetDeadline(time.Now().Add(handshakeMax)); err != nil {
		return "", err
	}
	var path string
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) error {
		path = string(uri)
		return nil
	}}
	if _, err := upgrader.Upgrade(connection); err != nil {
		return "", err
	}
	return path, connection.SetDeadline(time.Time{})
}

func (server *server) serve(connection net.Conn) {
	if err := server.answer(connection); err != nil {
		server.lock.Lock()
		delete(server.subscribers, connection)
		server.lock.Unlock()
		if err := server.connections.Remove(connection); err != nil {
			log.Print(err)
		}
		connection.Close()
	}
}

// answer reads one message, or one control frame, and answers it.
func (server *server) answer(connection net.Conn) error {
	var room [2]wsutil.Message
	messages, err := wsutil.ReadMessage(connection, ws.StateServerSide, room[:0])
	if err != nil {
		return err
	}
	for _, message := range messages {
		if message.OpCode.IsControl() {
			// After answering a Close, it returns an error.
			err = wsutil.HandleClientControlMessage(connection, message)
		} else {
			err = server.send(connection, message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send echoes a message, or sends it to all subscribers if its sender is one of them.
func (server *server) send(sender net.Conn, message wsutil.Message) error {
	server.lock.Lock()
	defer server.lock.Unlock()
	if _, found := server.subscribers[sender]; !found {
		return wsutil.WriteServerMessage(sender, message.OpCode, message.Payload)
	}
	// Encoded once for all subscribers.
	frame, err := ws.CompileFrame(ws.NewFrame(message.OpCode, true, message.Payload))
	if err != nil {
		return err
	}
	for subscriber := range server.subscribers {
		// A subscriber that cannot be written to fails when it is read.
		_, _ = subscriber.Write(frame)
	}
	return nil
}

const handshakeMax = 5 * time.Second
