// Package epoll waits for many connections at once, with one epoll instance and a map from
// descriptors to connections.
package epoll

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// Epoll watches connections of type C.
type Epoll[C any] struct {
	descriptor  int
	lock        sync.RWMutex
	connections map[int]C
}

// New makes an instance without connections.
func New[C any]() (*Epoll[C], error) {
	descriptor, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Epoll[C]{descriptor: descriptor, connections: make(map[int]C)}, nil
}

// Add watches socket. Serve passes connection on when the socket is readable.
func (epoll *Epoll[C]) Add(socket net.Conn, connection C) error {
	descriptor, err := descriptorOf(socket)
	if err != nil {
		return err
	}
	epoll.lock.Lock()
	epoll.connections[descriptor] = connection
	epoll.lock.Unlock()
	// Level-triggered: epoll reports input again that one call does not read.
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(descriptor)}
	return syscall.EpollCtl(epoll.descriptor, syscall.EPOLL_CTL_ADD, descriptor, &event)
}

// Remove stops watching socket. Call it before closing the socket: afterwards its descriptor may
// belong to another one.
func (epoll *Epoll[C]) Remove(socket net.Conn) error {
	descriptor, err := descriptorOf(socket)
	if err != nil {
		return err
	}
	err = syscall.EpollCtl(epoll.descriptor, syscall.EPOLL_CTL_DEL, descriptor, nil)
	epoll.lock.Lock()
	delete(epoll.connections, descriptor)
	epoll.lock.Unlock()
	return err
}

// Serve calls serve with every connection that is readable, one after the other, for ever.
func (epoll *Epoll[C]) Serve(serve func(C)) error {
	events := make([]syscall.EpollEvent, eventsPerWait)
	for {
		count, err := syscall.EpollWait(epoll.descriptor, events, waitForever)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for _, event := range events[:count] {
			epoll.lock.RLock()
			connection, found := epoll.connections[int(event.Fd)]
			epoll.lock.RUnlock()
			if found {
				serve(connection)
			}
		}
	}
}

func descriptorOf(socket net.Conn) (int, error) {
	withDescriptor, ok := socket.(syscall.Conn)
	if !ok {
		return 0, errors.New("a connection without a descriptor")
	}
	raw, err := withDescriptor.SyscallConn()
	if err != nil {
		return 0, err
	}
	var descriptor int
	err = raw.Control(func(fd uintptr) { descriptor = int(fd) })
	return descriptor, err
}

const (
	eventsPerWait = 128
	waitForever   = -1
)
