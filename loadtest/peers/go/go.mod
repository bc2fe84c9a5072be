// The Go servers that the memory study measures. scripts/install-peers builds them.
module peers

go 1.21

require (
	github.com/gobwas/ws v1.4.0
	github.com/gorilla/websocket v1.5.3
)
