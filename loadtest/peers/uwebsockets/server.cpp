// An echo server on uWebSockets, as its examples show. A message to /broadcast goes to all connections
// to /broadcast. With --deflate the server compresses, without context takeover; with --certificate and
// --key it speaks TLS. Nothing is dropped: maxBackpressure is larger than what the load has in flight.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "App.h"

struct Connection {
    bool isBroadcast;
};

struct Options {
    std::string host = "127.0.0.1";
    int port = 8080;
    std::string certificate, key;
    bool isDeflating = false;
};

static Options parse(int count, char **values) {
    Options options;
    for (int index = 1; index < count; index++) {
        std::string_view name = values[index];
        if (name == "--version") {
            puts(VERSION);
            exit(0);
        } else if (name == "--deflate") {
            options.isDeflating = true;
        } else if (index + 1 == count) {
            fprintf(stderr, "%s needs a value\n", values[index]);
            exit(2);
        } else if (name == "--listen") {
            std::string address = values[++index];
            size_t colon = address.rfind(':');
            options.host = address.substr(0, colon);
            options.port = atoi(address.c_str() + colon + 1);
        } else if (name == "--certificate") {
            options.certificate = values[++index];
        } else if (name == "--key") {
            options.key = values[++index];
        }
    }
    return options;
}

template <bool SSL>
static int serve(const Options &options) {
    uWS::SocketContextOptions context;
    if (SSL) {
        context.cert_file_name = options.certificate.c_str();
        context.key_file_name = options.key.c_str();
    }
    uWS::TemplatedApp<SSL> app(context);
    bool compress = options.isDeflating;
    typename uWS::TemplatedApp<SSL>::template WebSocketBehavior<Connection> behavior;
    behavior.compression = compress
        ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR)
        : uWS::DISABLED;
    behavior.maxPayloadLength = 16 * 1024 * 1024;
    behavior.maxBackpressure = 256 * 1024 * 1024;
    behavior.idleTimeout = 960;
    behavior.upgrade = [](auto *response, auto *request, auto *context) {
        response->template upgrade<Connection>(
            {request->getUrl() == "/broadcast"}, request->getHeader("sec-websocket-key"),
            request->getHeader("sec-websocket-protocol"),
            request->getHeader("sec-websocket-extensions"), context);
    };
    behavior.open = [](auto *socket) {
        if (socket->getUserData()->isBroadcast) {
            socket->subscribe("all");
        }
    };
    // The library answers pings and the closing handshake.
    behavior.message = [&app, compress](auto *socket, std::string_view message, uWS::OpCode code) {
        if (socket->getUserData()->isBroadcast) {
            // Unlike socket->publish, it includes the sender.
            app.publish("all", message, code, compress);
        } else {
            socket->send(message, code, compress);
        }
    };
    bool isListening = false;
    app.template ws<Connection>("/*", std::move(behavior))
        .listen(options.host, options.port, [&](auto *socket) { isListening = socket; });
    if (!isListening) {
        fprintf(stderr, "cannot listen on %s:%d\n", options.host.c_str(), options.port);
        return 1;
    }
    app.run();
    return 0;
}

int main(int count, char **values) {
    Options options = parse(count, values);
    return options.certificate.empty() ? serve<false>(options) : serve<true>(options);
}
